// What the documents say of the repository is so: files that they name exist, links lead somewhere, every key of the configuration
// is described, and the README stays short.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { projectRoot } from './fixtures/project.ts';

const read = (file: string) => readFile(join(projectRoot, file), 'utf8');

async function documents(): Promise<string[]> {
  const folders = await Promise.all(
    ['.', 'docs', 'test/outside'].map(async (folder) =>
      (await readdir(join(projectRoot, folder))).map((name) => join(folder, name)),
    ),
  );
  return folders.flat().filter((name) => name.endsWith('.md'));
}

/** What the heading's anchor is called: small letters and digits, spaces as hyphens, everything else left out. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-');
}

async function anchorsOf(file: string): Promise<string[]> {
  const text = (await read(file)).replace(/^```.*?^```/gms, '');
  return [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) => anchorOf(heading));
}

test('files that documents name exist', async () => {
  const files = await documents();
  assert.ok(files.length >= 10, files.join());
  for (const file of files) {
    for (const [, built, path = ''] of (await read(file)).matchAll(
      /(?<![\w/.])(dist\/)?((?:lib|test|bin|docs|scripts)\/[\w./-]*\w\/?)/g,
    )) {
      const source = built === undefined ? path : path.replace(/\.js$/, '.ts');
      assert.ok(existsSync(join(projectRoot, source)), `${file} names ${path}`);
    }
  }
});

test('what documents name in a file is there', async () => {
  let named = 0;
  for (const file of await documents()) {
    const text = await read(file);
    const pairs = [
      ...[...text.matchAll(/`((?:lib|test)\/[\w./-]+\.ts)`,? \(?`(#?\w+)`/g)].map(([, path, name]) => [
        path,
        name,
      ]),
      ...[...text.matchAll(/`(#?\w+)`\s(?:in|of)\s`((?:lib|test)\/[\w./-]+\.ts)`/g)].map(([, name, path]) => [
        path,
        name,
      ]),
    ];
    for (const [path = '', name = ''] of pairs) {
      assert.match(await read(path), new RegExp(`(?<!\\w)${name}\\b`), `${file} names ${name} in ${path}`);
      named++;
    }
  }
  assert.ok(named >= 8, `found ${named}`);
});

test('links between documents lead somewhere', async () => {
  for (const file of await documents()) {
    const text = (await read(file)).replace(/^```.*?^```/gms, '');
    for (const [, target = ''] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^\w+:/.test(target)) continue;
      const [path = '', anchor] = target.split('#');
      const to = path === '' ? file : join(dirname(file), path);
      assert.ok(existsSync(join(projectRoot, to)), `${file} links to ${target}`);
      if (anchor !== undefined)
        assert.ok((await anchorsOf(to)).includes(anchor), `${file} links to ${target}`);
    }
  }
});

test('comments name documents that are in the repository', async () => {
  for (const folder of ['bin', 'lib', 'test', '.ci', '.github']) {
    for (const name of await readdir(join(projectRoot, folder), { recursive: true })) {
      if (!/\.(?:ts|mjs|sh|yml)$|^run$/.test(name)) continue;
      const text = await read(join(folder, name));
      for (const [path] of text.matchAll(/(?<![\w/.])(?:docs\/)?[\w-]+\.md\b/g))
        assert.ok(existsSync(join(projectRoot, path)), `${folder}/${name} names ${path}`);
    }
  }
});

test('every key of the configuration is described, and no other', async () => {
  const known = new Set(['key_files']);
  for (const file of ['config', 'upstreams', 'access', 'signing']) {
    const text = await read(`lib/config/${file}.ts`);
    for (const [, key = ''] of text.matchAll(
      /(?<!, \{ )\b([a-z]+(?:_[a-z]+)*): (?:(?:string|integer|choice|array)\(|(?:path|delay|timeout|boolean|addresses|keys)(?:,| \}))/g,
    ))
      known.add(key);
  }
  assert.ok(known.size > 40, 'the keys were found');
  const rows = (await read('docs/configuration.md')).match(/^\| `.*$/gm) ?? [];
  const described = rows.flatMap((row) =>
    [...(row.split('|')[1] ?? '').matchAll(/`(?:[\w[\]]+\.)?(\w+)`/g)].map(([, key = '']) => key),
  );
  const tables = ['upstreams', 'tokens'];
  assert.deepEqual([...new Set([...described, ...tables])].sort(), [...known].sort());
  const shipped = await read('cache.toml');
  for (const key of known) assert.match(shipped, new RegExp(`\\b${key}\\b`), `cache.toml has ${key}`);
});

test('the README is short, and sends nobody to the package of another in the registry', async () => {
  assert.ok((await read('README.md')).split('\n').length <= 161);
  for (const file of await documents())
    assert.doesNotMatch(await read(file), /npm (?:i|install) (?:-g )?nix-binary-cache\b/, file);
});
