import assert from 'node:assert/strict';
import fs, { open, readFile, rename, rm, truncate, unlink, writeFile } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { test } from 'node:test';
import { piecesOf } from '../../../lib/bytes/streams.ts';
import type { Descriptor } from '../../../lib/store/folder/descriptor.ts';
import { fileOf } from '../../../lib/store/folder/files.ts';
import { openFolder } from '../../../lib/store/folder/folder.ts';
import { encodeHeader, HEADER_BYTES } from '../../../lib/store/folder/header.ts';
import { KeptFiles, type Known } from '../../../lib/store/folder/kept-files.ts';
import { FRESH_MS } from '../../../lib/store/folder/last-use.ts';
import { idOf } from '../../../lib/store/object-id.ts';
import type { ObjectMeta, StoredObject } from '../../../lib/store/store.ts';
import { defer, type Owner, temporaryFolder } from '../../fixtures/defer.ts';
import { onLocalDisk } from '../../fixtures/local-disk.ts';
import { noise, sha256 } from '../../fixtures/nar.ts';

const PATH = '/nar/x.nar';
const BODY = noise(20_000, 'a body');
const IDLE_MS = 30_000;
const HOT_MS = 30_000;

function metaOf(body: Buffer): ObjectMeta {
  const hash = sha256(body).toString('hex');
  return {
    ...{ path: PATH, kind: 'nar', origin: 'push', storedAt: new Date(0), size: body.length },
    sha256: hash,
  };
}

/** A taken folder with the object, whose file was asked for twice, and a clock in the hand. */
async function setUp(t: Owner & { mock: typeof test.mock }) {
  const folder = join(await temporaryFolder(t, 'kept'), 'cache');
  let now = 1000;
  t.mock.method(performance, 'now', () => now);
  const { store, take } = openFolder(folder, () => {});
  let forget = () => {};
  const hold = await onLocalDisk(() => take(() => forget()));
  forget = () => {};
  defer(t, () => hold.release());
  await store.put(BODY, metaOf(BODY), { when: 'always', durable: false });
  const serve = async (object: StoredObject | undefined): Promise<Buffer> => {
    assert.ok(object);
    const parts: Buffer[] = [];
    for await (const piece of piecesOf(object.reader(0, object.meta.size))) parts.push(Buffer.from(piece));
    return Buffer.concat(parts);
  };
  for (let times = 0; times < 2; times++) assert.ok((await serve(await store.open(PATH, true))).equals(BODY));
  const later = (ms: number) => {
    now += ms;
  };
  return { file: fileOf(folder, idOf(PATH)), folder, hold, later, serve, store };
}

const isDamaged = { code: 'damaged' };

test('a file that is read again and again is had at once, for as long as what was seen is fresh; then it is looked at', async (t) => {
  const { later, serve, store } = await setUp(t);
  for (let times = 0; times < 2; times++) {
    assert.ok((await serve(store.ready(PATH))).equals(BODY));
    later(HOT_MS);
    assert.equal(store.ready(PATH), undefined);
    await (await store.open(PATH))?.close();
  }
});

test('what was read a moment ago is looked at without a wait, and read so', async (t) => {
  const { file, later, serve, store } = await setUp(t);
  assert.equal(store.readyBody(PATH), undefined, 'it was not read from the open file yet');
  await serve(store.ready(PATH));
  for (let times = 0; times < 2; times++) {
    const ready = store.readyBody(PATH);
    assert.ok(ready);
    assert.ok(ready.body.bytes.equals(BODY));
    assert.equal(ready.meta.path, PATH);
    ready.body.giveBack();
    assert.notEqual(store.versionNow(PATH), 'none');
    later(FRESH_MS);
    await (store.ready(PATH) as StoredObject).close();
  }
  await writeFile(`${file}.new`, await readFile(file));
  await rename(`${file}.new`, file);
  assert.ok(store.readyBody(PATH), 'that it is another is seen in time');
  later(FRESH_MS);
  assert.equal(store.readyBody(PATH), undefined);
  assert.equal(store.ready(PATH), undefined);
  await rm(file);
  assert.equal(await store.version(PATH), undefined);
  assert.equal(store.versionNow(PATH), 'none');
});

test('a body of which the file ends early, and one that is not known to be right, are for whoever reads in the usual way', async (t) => {
  const { file, serve, store } = await setUp(t);
  await serve(store.ready(PATH));
  assert.ok(store.readyBody(PATH));
  await truncate(file, HEADER_BYTES + 5);
  assert.equal(store.readyBody(PATH), undefined);
});

test('what is only looked at, or read once, is not kept', async (t) => {
  const { serve, store } = await setUp(t);
  const other = { ...metaOf(BODY), path: '/nar/y.nar' };
  await store.put(BODY, other, { when: 'always', durable: false });
  for (let times = 0; times < 3; times++) await serve(await store.open(other.path));
  for (let times = 0; times < 3; times++) await (await store.open(other.path, true))?.close();
  await serve(await store.open(other.path, true));
  assert.equal(store.ready(other.path), undefined);
});

test('what somebody else replaces or removes is noticed when what was seen is fresh no more', async (t) => {
  const { file, later, serve, store } = await setUp(t);
  const another = noise(20_000, 'another body');
  await writeFile(`${file}-new`, Buffer.concat([encodeHeader(metaOf(another)), another]));
  await rename(`${file}-new`, file);
  later(FRESH_MS);
  assert.equal(store.ready(PATH), undefined);
  for (let times = 0; times < 2; times++)
    assert.ok((await serve(await store.open(PATH, true))).equals(another));
  assert.ok((await serve(store.ready(PATH))).equals(another));
  await unlink(file);
  later(FRESH_MS);
  assert.equal(store.ready(PATH), undefined);
  assert.equal(await store.open(PATH, true), undefined);
});

test('a file that somebody cut off is noticed at once, one that somebody wrote to when it is looked at again', async (t) => {
  const { file, later, serve, store } = await setUp(t);
  const handle = await open(file, 'r+');
  await handle.write(Buffer.from('damage'), 0, 6, HEADER_BYTES + 100);
  const past = new Date(Date.now() - 60_000);
  await handle.utimes(past, past);
  await handle.close();
  later(FRESH_MS);
  await assert.rejects(serve(await store.open(PATH, true)), isDamaged);
  assert.equal(await store.open(PATH, true), undefined);
  await store.put(BODY, metaOf(BODY), { when: 'always', durable: false });
  for (let times = 0; times < 2; times++) await serve(await store.open(PATH, true));
  await truncate(file, HEADER_BYTES + 100);
  await assert.rejects(serve(store.ready(PATH)), isDamaged);
  assert.equal(store.ready(PATH), undefined);
});

test('that a use was noted in a file is no sign that somebody wrote to it', async (t) => {
  const { file, later, serve, store } = await setUp(t);
  const handle = await open(file, 'r+');
  defer(t, () => handle.close());
  const old = new Date(Date.now() - 3_600_000);
  await handle.utimes(old, old);
  later(FRESH_MS);
  const object = await store.open(PATH, true);
  object?.used();
  // Read to the end while that is noted: the file's time is another now than when it was opened.
  assert.ok(object && (await serve(object)).equals(BODY));
  while ((await handle.stat()).mtimeMs <= old.getTime()) await new Promise((turn) => setImmediate(turn));
  later(FRESH_MS);
  // Damage that leaves no trace in the file's time: nobody looks for it in what was right a moment ago.
  const { mtime } = await handle.stat();
  await handle.write(Buffer.from('damage'), 0, 6, HEADER_BYTES + 100);
  await handle.utimes(mtime, mtime);
  assert.ok(!(await serve(await store.open(PATH, true))).equals(BODY));
});

test('files are let go when there are no more descriptors, and with the folder', async (t) => {
  const { hold, serve, store } = await setUp(t);
  const own = fs.open;
  let failures = 0;
  const opening = t.mock.method(fs, 'open', async (...args: Parameters<typeof own>) => {
    if (store.ready(PATH) === undefined) return own(...args);
    failures++;
    throw Object.assign(new Error('EMFILE'), { code: 'EMFILE' });
  });
  syncBuiltinESMExports();
  try {
    assert.equal(await store.open('/nar/not-here.nar', true), undefined);
    assert.equal(failures, 1);
  } finally {
    opening.mock.restore();
    syncBuiltinESMExports();
  }
  for (let times = 0; times < 3; times++) await serve(await store.open(PATH, true));
  assert.ok(store.ready(PATH));
  await hold.release();
  assert.equal(store.ready(PATH), undefined);
});

/** Files that are no files, and which of them are open. */
function keeping(t: Owner & { mock: typeof test.mock }, most: number) {
  t.mock.timers.enable({ apis: ['setInterval'] });
  let now = 1000;
  t.mock.method(performance, 'now', () => now);
  const kept = new KeptFiles();
  kept.begin(most);
  const open = new Set<string>();
  const keep = (path: string) => {
    const descriptor = {
      share: () => open.add(path),
      done: async () => void open.delete(path),
    } as unknown as Descriptor;
    const known: Known = {
      ...{
        file: `file of ${path}`,
        descriptor,
        meta: metaOf(BODY),
        bodyAt: 0,
        version: '1',
        mtimeMs: 0,
        hotUntil: 0,
      },
    };
    for (let times = 0; times < 2; times++) kept.keep(path, known, now, kept.changes);
  };
  const later = (ms: number) => {
    now += ms;
    t.mock.timers.tick(ms);
  };
  return { keep, kept, later, open };
}

test('no more are kept than may be: those that were used last', (t) => {
  const { keep, kept, later, open } = keeping(t, 2);
  keep('a');
  keep('b');
  later(1000);
  kept.get('a');
  keep('c');
  assert.deepEqual([...open], ['a', 'c']);
});

test('what nobody uses for half a minute is closed', (t) => {
  const { keep, kept, later, open } = keeping(t, 10);
  keep('a');
  keep('b');
  later(IDLE_MS - 10_000);
  kept.get('a');
  later(20_000);
  assert.deepEqual([...open], ['a']);
  later(IDLE_MS + 10_000);
  assert.deepEqual([...open], []);
});

test('what was opened before something changed is not kept, nor believed', (t) => {
  const { keep, kept, open } = keeping(t, 10);
  keep('a');
  const known = kept.get('a') as Known;
  const { changes } = kept;
  kept.recheck();
  assert.equal(kept.ready('a'), undefined);
  kept.seen('a', known, performance.now(), changes);
  assert.equal(kept.ready('a'), undefined, 'that was seen before');
  kept.seen('a', known, performance.now(), kept.changes);
  assert.equal(kept.ready('a'), known);
  for (let times = 0; times < 2; times++) kept.keep('b', known, performance.now(), changes);
  assert.equal(kept.get('b'), undefined);
  kept.dropFile('file of a');
  assert.deepEqual([[...open], kept.get('a')], [[], undefined]);
});
