// The layers of docs/architecture.md: every import points downward, and smol-toml stays behind the configuration.
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join, normalize, relative } from 'node:path';
import { test } from 'node:test';
import { projectRoot } from './fixtures/project.ts';

/** From the bottom; what stands in one row must not import one another. */
const LAYERS: readonly (readonly string[])[] = [
  ['lib/errors.ts', 'lib/events.ts', 'lib/log.ts', 'lib/addresses.ts', 'lib/url.ts', 'lib/format.ts'],
  ['lib/event-log.ts'],
  ['lib/bytes', 'lib/sync', 'lib/disk'],
  ['lib/nix'],
  ['lib/config'],
  ['lib/wire'],
  ['lib/store', 'lib/upstream'],
  ['lib/narinfos'],
  ['lib/download'],
  ['lib/ahead'],
  ['lib/upload'],
  ['lib/cache'],
  ['lib/engine.ts'],
  ['lib/gc', 'lib/check', 'lib/carry'],
  ['lib/http'],
  ['lib/service.ts'],
  ['lib/commands'],
  ['bin'],
];

/** One group may import from itself. */
function groupOf(file: string): { layer: number; group: string } {
  for (const [layer, groups] of LAYERS.entries()) {
    const group = groups.find((one) => file === one || file.startsWith(`${one}/`));
    if (group !== undefined) return { layer, group };
  }
  throw new Error(`${file} belongs to no layer: add it to this test and to docs/architecture.md`);
}

async function sources(): Promise<string[]> {
  const all = await Promise.all(
    ['bin', 'lib'].map(async (folder) => {
      const entries = await readdir(join(projectRoot, folder), { recursive: true });
      return entries.filter((entry) => entry.endsWith('.ts')).map((entry) => join(folder, entry));
    }),
  );
  return all.flat();
}

test('imports point downward only', async () => {
  const files = await sources();
  assert.ok(files.length > 30, 'the sources were found');
  for (const file of files) {
    const text = await readFile(join(projectRoot, file), 'utf8');
    const from = groupOf(file);
    for (const [, target = ''] of text.matchAll(/(?:from |import\()'(\.[^']+)'/g)) {
      const imported = relative('.', normalize(join(dirname(file), target)));
      const to = groupOf(imported);
      assert.ok(
        to.layer < from.layer || to.group === from.group,
        `${file} imports ${imported}, which is not below it`,
      );
    }
  }
});

/** Whoever puts the layers together, and nobody else, knows what the store is. */
const COMPOSITION = 'lib/engine.ts';

test('nothing above the store knows that it is a folder', async () => {
  for (const file of await sources()) {
    if (file.startsWith('lib/store/folder/') || file === COMPOSITION) continue;
    const text = await readFile(join(projectRoot, file), 'utf8');
    for (const [, target = ''] of text.matchAll(/(?:from|import\() ?'(\.[^']+)'/g)) {
      const imported = relative('.', normalize(join(dirname(file), target)));
      assert.ok(!imported.startsWith('lib/store/folder/'), `${file} imports ${imported}`);
    }
    if (groupOf(file).group === 'lib/config') continue;
    // The command line may name the folder, for the configuration.
    const rest = text.replaceAll("cacheDir: values['cache-dir']", '');
    assert.ok(!/cacheDir/i.test(rest), `${file} names the cache folder`);
    const inside = /['/](?:tmp|partial|trash|removing|quarantine|scrub\.json)['/](?!\w*\.ts)/.exec(text)?.[0];
    assert.equal(inside, undefined, `${file} names a path in the cache folder`);
  }
});

test('nothing but the configuration imports a package', async () => {
  for (const file of await sources()) {
    const text = await readFile(join(projectRoot, file), 'utf8');
    for (const [, target = ''] of text.matchAll(/from '([^'.][^']*)'/g)) {
      if (target.startsWith('node:')) continue;
      assert.equal(target, 'smol-toml', `${file} imports ${target}`);
      assert.equal(groupOf(file).group, 'lib/config', `${file} imports ${target}`);
    }
  }
});

test('docs/architecture.md has these layers, from the top', async () => {
  const text = await readFile(join(projectRoot, 'docs/architecture.md'), 'utf8');
  const rows = [...text.matchAll(/^\| ((?:`(?:bin|lib\/[\w.-]+)`(?:, )?)+) \|/gm)].map(([, cell = '']) =>
    [...cell.matchAll(/`([^`]+)`/g)].map(([, group]) => group).sort(),
  );
  const layers = LAYERS.toReversed().map((groups) => [...groups].sort());
  assert.deepEqual(rows, layers);
});
