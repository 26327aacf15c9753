import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { parseConfig } from '../../lib/config/config.ts';
import { isCacheError } from '../../lib/errors.ts';
import { FILE, messageOf, mistakes } from '../fixtures/config-text.ts';
import { pick, randomSource } from '../fixtures/random.ts';

test('what is no TOML is reported with line, column and the lines around it', () => {
  assert.equal(
    mistakes('priority = 30', 'listen = :8080', '', '[[upstreams]]'),
    '2:10: not valid TOML: invalid value\n1:  priority = 30\n2:  listen = :8080\n             ^',
  );
  assert.equal(
    mistakes(...Array(8).fill('#'), 'a\t= 1', 'a = "2"\r', '\t# 3'),
    '10:1: not valid TOML: trying to redefine an already defined table or value\n' +
      '9 :  a = 1\n10:  a = "2"\n     ^\n11:   # 3',
  );
});

test('a masked line keeps its caret in place', () => {
  assert.equal(
    mistakes('proxy = "http://user:password@host:1" ?'),
    '1:39: not valid TOML: each key-value declaration must be followed by an end-of-line\n' +
      '1:  proxy = "http://***@host:1" ?\n' +
      '                                ^',
  );
});

test('no text makes it throw anything but a configuration error (seeded)', async () => {
  const shipped = await readFile('cache.toml', 'utf8');
  const uncommented = shipped.replaceAll(/^# (?=(?!proxy)\w+ = |proxy = "socks5)/gm, '');
  const pieces = [
    ...[
      'listen',
      'cache_dir',
      'upstreams',
      'url',
      'proxy',
      'priority',
      'constructor',
      '__proto__',
      'toString',
    ],
    ...[
      '[[',
      ']]',
      '[',
      ']',
      '{',
      '}',
      '=',
      ' = ',
      '.',
      ',',
      '"',
      "'",
      '"""',
      "'''",
      '\\',
      '#',
      '\n',
      '\r\n',
      '\r',
    ],
    ...[
      'https://',
      'socks5://',
      'u:p@',
      '%',
      '%40',
      '@',
      ':',
      '/',
      '?',
      '::1',
      '[::1]:80',
      ':8080',
      '/nix/store',
    ],
    ...[
      '0',
      '-1',
      '1.5',
      '1e999',
      'nan',
      'true',
      '1979-05-27',
      '07:32:00',
      '0x1F',
      '[[upstreams]]\nurl = "https://a',
    ],
    ...['\0', '\u001b', '\u0085', '\ufeff', '\ud800', '\u{10ffff}', 'ü', ' ', '\t', '\\u0000', '\\U00110000'],
  ];
  const counts = { valid: 0, invalid: 0 };
  for (let seed = 0; seed < 20_000; seed++) {
    const random = randomSource(seed);
    let text = '';
    if (seed % 2 === 0) {
      for (let length = 1 + random() * 25; length > 0; length--) text += pick(random, pieces);
    } else {
      text = uncommented;
      for (let edits = random() * 4 - 1; edits > 0; edits--) {
        const at = Math.floor(random() * text.length);
        text = text.slice(0, at) + pick(random, [...pieces, '']) + text.slice(at + Math.floor(random() * 3));
      }
    }
    try {
      parseConfig(text, { file: FILE });
      counts.valid++;
    } catch (error) {
      if (!isCacheError(error, 'config'))
        assert.fail(`seed ${seed} threw ${error} for ${JSON.stringify(text)}`);
      assert.ok(error.message.startsWith(`${FILE}:`), error.message);
      counts.invalid++;
    }
  }
  assert.ok(counts.valid > 100 && counts.invalid > 1000, JSON.stringify(counts));
});

test('deep and long texts are refused in one line, not by exhausting the stack', () => {
  for (const text of [
    `a = ${'['.repeat(100_000)}`,
    `a = ${'['.repeat(900)}${']'.repeat(900)}`,
    `a = ${'{ b = '.repeat(900)}1${' }'.repeat(900)}`,
    `${'a.'.repeat(20_000)}a = 1`,
    `listen = "${'x'.repeat(1_000_000)}"`,
    `url = "${'@'.repeat(1_000_000)}`,
  ]) {
    assert.match(
      messageOf(() => parseConfig(text, { file: FILE })),
      /^.{1,300}\n?.{0,100}$/,
    );
  }
});
