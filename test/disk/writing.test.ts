import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { test } from 'node:test';
import { setImmediate as immediate } from 'node:timers/promises';
import { link, makeFolder, openToWrite, rename, unlink, writing } from '../../lib/disk/writing.ts';
import { defer, temporaryFolder } from '../fixtures/defer.ts';
import { output } from '../fixtures/run.ts';

/** As many at once as this process may write. */
const atOnce = Math.max(1, (Number(process.env.UV_THREADPOOL_SIZE) || 4) - 1);

test('no more write at once than leave a thread for reading; the others follow in the order they came', async () => {
  const order: number[] = [];
  const ends: (() => void)[] = [];
  const all = Array.from({ length: atOnce + 2 }, (_, n) =>
    writing(() => {
      order.push(n);
      return new Promise<void>((resolve) => ends.push(resolve));
    }),
  );
  const began = Array.from({ length: atOnce + 2 }, (_, n) => n);
  assert.deepEqual(order, began.slice(0, atOnce));
  for (let done = 0; done < 2; done++) {
    ends[done]?.();
    await all[done];
    await immediate();
    assert.deepEqual(order, began.slice(0, atOnce + 1 + done));
  }
  for (const end of ends) end();
  await Promise.all(all);
});

test('what fails is told, and makes way for the next', async () => {
  const all = Array.from({ length: 3 * atOnce }, () => writing(() => Promise.reject(new Error('no'))));
  for (const { status } of await Promise.allSettled(all)) assert.equal(status, 'rejected');
  let free = 0;
  const ends: (() => void)[] = [];
  const more = Array.from({ length: 3 * atOnce }, () =>
    writing(() => {
      free++;
      return new Promise<void>((resolve) => ends.push(resolve));
    }),
  );
  assert.equal(free, atOnce, 'as many as before, and no more');
  while (ends.length < more.length) {
    for (const end of ends) end();
    await immediate();
  }
  for (const end of ends) end();
  await Promise.all(more);
});

for (const [threads, expected] of [
  ['1', 1],
  ['2', 1],
  ['9', 8],
  ['', 3],
] as const) {
  test(`with ${threads || 'no'} threads named, ${expected} write at once`, async () => {
    const module = new URL(`../../lib/disk/writing${extname(import.meta.filename)}`, import.meta.url);
    const script = `const { writing } = await import(${JSON.stringify(module.href)});
      let n = 0;
      for (let i = 0; i < 20; i++) writing(() => (n++, new Promise(() => {})));
      console.log(n);`;
    const env = { ...process.env, UV_THREADPOOL_SIZE: threads };
    assert.equal(
      Number(await output(process.execPath, ['--input-type=module', '-e', script], { env })),
      expected,
    );
  });
}

test('whatever changes the disk waits for its turn', async (t) => {
  const folder = await temporaryFolder(t);
  const at = (name: string) => join(folder, name);
  for (const name of ['linked', 'moved', 'removed']) await writeFile(at(name), '');
  let goOn = () => {};
  const hang = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  const writes = Array.from({ length: atOnce }, () => writing(() => hang));
  const changes = [
    link(at('linked'), at('link')),
    rename(at('moved'), at('there')),
    unlink(at('removed')),
    makeFolder(at('folder')),
    openToWrite(at('opened'), 'wx').then((handle) => handle.close()),
  ];
  for (let looks = 0; looks < 5; looks++)
    assert.deepEqual((await readdir(folder)).sort(), ['linked', 'moved', 'removed']);
  goOn();
  await Promise.all([...writes, ...changes]);
  assert.deepEqual((await readdir(folder)).sort(), ['folder', 'link', 'linked', 'opened', 'there']);
});

test('files and folders are made, linked, moved and removed', async (t) => {
  const folder = join(await temporaryFolder(t), 'a', 'b');
  await makeFolder(folder);
  const [one, two, three] = ['one', 'two', 'three'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  const umask = process.umask(0);
  defer(t, () => process.umask(umask));
  const handle = await openToWrite(one, 'wx');
  await handle.writeFile('x');
  await handle.close();
  assert.equal((await stat(one)).mode & 0o777, 0o644, 'others may read it, whatever they may by default');
  await assert.rejects(openToWrite(one, 'wx'), { code: 'EEXIST' });
  await link(one, two);
  await assert.rejects(link(one, two), { code: 'EEXIST' });
  await rename(two, three);
  await unlink(one);
  assert.equal(await readFile(three, 'utf8'), 'x');
  for (const gone of [one, two]) await assert.rejects(unlink(gone), { code: 'ENOENT' });
});

test('a folder that can not be made is refused for what is in the way', async (t) => {
  const folder = await temporaryFolder(t);
  await writeFile(join(folder, 'file'), '');
  await assert.rejects(makeFolder(join(folder, 'file', 'below')), { code: 'ENOTDIR' });
  await mkdir(join(folder, 'there'));
  await makeFolder(join(folder, 'there'));
});
