import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isCacheError } from '../../lib/errors.ts';
import { route } from '../../lib/http/route.ts';
import { pathOf } from '../../lib/nix/object-name.ts';
import { pick, randomSource } from '../fixtures/random.ts';

const H = '0123456789abcdfghijklmnpqrsvwxyz';
const HEX = 'ab'.repeat(32);

function pathFor(target: string): string {
  const found = route(target);
  return found.kind === 'object' ? pathOf(found.name) : found.kind;
}

test('every spelling of a name leads to its one path', () => {
  const cases: [string, string][] = [
    ['/', 'home'],
    ['/nix-cache-info', 'cache-info'],
    ['/some/prefix/nix-cache-info', 'cache-info'],
    [`/${H}.narinfo`, `/${H}.narinfo`],
    [`//${H}.narinfo`, `/${H}.narinfo`],
    [`/prefix/of/any/depth/${H}.narinfo`, `/${H}.narinfo`],
    [`http://host:80/${H}.narinfo`, `/${H}.narinfo`],
    [`/${H}%2Enarinfo`, `/${H}.narinfo`],
    [`/p//nar//x.nar.xz?hash=${H}`, '/nar/x.nar.xz'],
    [`/realisations/sha256:${HEX}!out.doi`, `/realisations/sha256:${HEX}!out.doi`],
    [`/realisations/sha256%3A${HEX}%21out.doi`, `/realisations/sha256:${HEX}!out.doi`],
    [`/log/${H}-a%2Bb%3Dc.drv`, `/log/${H}-a+b=c.drv`],
    [`/log/${H}-a?b.drv`, `/log/${H}-a?b.drv`],
    [`/log/${H}-a%3Fb.drv`, `/log/${H}-a?b.drv`],
    [`/cache/build-trace-v2/${H}-x.drv/out.doi`, `/build-trace-v2/${H}-x.drv/out.doi`],
  ];
  for (const [target, expected] of cases) assert.equal(pathFor(target), expected, target);
});

test('traversal, controls, broken encodings and unknown names go no further', () => {
  const bad: [string, 'bad-request' | 'not-found'][] = [
    [`/../${H}.narinfo`, 'bad-request'],
    [`/%2e%2e/${H}.narinfo`, 'bad-request'],
    [`/nar/..%2f..%2fetc%2fpasswd`, 'bad-request'],
    [`/./${H}.narinfo`, 'bad-request'],
    [`/${H}.narinfo%00`, 'bad-request'],
    [`/${H}.narinfo%0d%0aX:%20y`, 'bad-request'],
    ['/%', 'bad-request'],
    ['/%ff', 'bad-request'],
    [`/${'a'.repeat(2000)}`, 'bad-request'],
    ['/etc/passwd', 'not-found'],
    ['/nar//etc/passwd', 'not-found'],
    [`/${H}.narinfo/x`, 'not-found'],
    [`/%252e%252e/etc/passwd`, 'not-found'],
    [`/${'e'.repeat(32)}.narinfo`, 'not-found'],
    ['*', 'not-found'],
  ];
  for (const [target, code] of bad)
    assert.throws(
      () => route(target),
      (error) => isCacheError(error, code),
      target,
    );
});

test('whatever the target, the path of an object is plain', () => {
  const random = randomSource(3);
  const parts = [
    '/',
    '..',
    '.',
    '%2e',
    '%2f',
    '%00',
    '?',
    '#',
    'nar',
    'log',
    H,
    '.narinfo',
    '.nar',
    '-x',
    '.drv',
    '%',
    'é',
    ' ',
    '\\',
  ];
  for (let round = 0; round < 20_000; round++) {
    const target = Array.from({ length: 1 + Math.floor(random() * 8) }, () => pick(random, parts)).join('');
    try {
      assert.match(pathFor(target), /^(home|cache-info|(\/[0-9A-Za-z!+._:?=-]+)+)$/, target);
      assert.doesNotMatch(pathFor(target), /\/\.\.?(\/|$)/, target);
    } catch (error) {
      if (!isCacheError(error)) throw error;
    }
  }
});
