import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, rename, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { openFolder } from '../../../lib/store/folder/folder.ts';
import type { ObjectMeta, PutOptions, Store } from '../../../lib/store/store.ts';
import type { Owner } from '../../fixtures/defer.ts';
import { Holdings, idOf } from '../../fixtures/holdings.ts';
import { sha256 } from '../../fixtures/nar.ts';
import { until } from '../../fixtures/patience.ts';

const PATH = '/log/00000000000000000000000000000000-x.drv';
const [LOWER, UPPER] = [Buffer.from('what the Go service left'), Buffer.from('what is ours')];

async function setUp(t: Owner) {
  const holdings = await Holdings.create(t);
  await holdings.flat(PATH, LOWER);
  const { scratch, store } = openFolder(holdings.dir, () => {});
  await scratch.prepare(true);
  const put = (when: PutOptions['when'], body = UPPER) =>
    store.put(body, metaOf(body), { when, durable: true });
  return { holdings, store, put, file: join(holdings.dir, idOf(PATH)) };
}

function metaOf(body: Buffer): ObjectMeta {
  const hash = sha256(body).toString('hex');
  return { path: PATH, kind: 'log', origin: 'push', storedAt: new Date(), size: body.length, sha256: hash };
}

async function bodyOf(store: Store): Promise<string | undefined> {
  return (await (await store.open(PATH))?.bytes())?.toString();
}

async function listed(store: Store): Promise<(string | undefined)[]> {
  const origins: (string | undefined)[] = [];
  for await (const { origin } of store.list()) origins.push(origin);
  return origins;
}

test('what only the lower store has is opened, listed, used, and of one version', async (t) => {
  const { file, store } = await setUp(t);
  const object = await store.open(PATH);
  assert.equal(object?.meta.origin, 'unknown');
  assert.equal((await store.version(PATH))?.version, object?.version);
  assert.equal((await object?.bytes())?.toString(), String(LOWER));
  assert.deepEqual(await listed(store), ['unknown']);
  assert.equal(await store.isGone(PATH), false);
  await utimes(file, 1000, 1000);
  (await store.version(PATH))?.used();
  await until(async () => (await stat(file)).mtimeMs > 1_000_000, 'the use');
});

test('what the upper one has goes first, and nothing is written to the lower one', async (t) => {
  const { file, store, put } = await setUp(t);
  const lower = await store.version(PATH);
  assert.equal(await put('absent'), 'stored');
  assert.notEqual((await store.version(PATH))?.version, lower?.version);
  assert.equal(await bodyOf(store), String(UPPER));
  assert.deepEqual(await listed(store), ['push', 'unknown']);
  await utimes(file, 1000, 1000);
  const { mtimeMs } = await stat(file);
  (await store.version(PATH))?.used();
  assert.equal(await put('always', Buffer.from('again')), 'stored');
  assert.ok((await readFile(file)).equals(LOWER));
  assert.equal((await stat(file)).mtimeMs, mtimeMs);
});

test('a put at the version of the lower one succeeds once', async (t) => {
  const { store, put } = await setUp(t);
  const { version = '' } = (await store.version(PATH)) ?? {};
  const bodies = ['one', 'two', 'three'].map((text) => Buffer.from(text));
  const done = await Promise.all(bodies.map((body) => put({ version }, body)));
  assert.deepEqual(done.toSorted(), ['exists', 'exists', 'stored']);
  assert.equal(await bodyOf(store), String(bodies[done.indexOf('stored')]));
  assert.equal(await put({ version }), 'exists');
  assert.equal(await put({ version: 'another' }), 'exists');
});

test('if what the upper one has is damaged, the lower one is asked', async (t) => {
  const { holdings, store, put } = await setUp(t);
  await put('absent');
  await holdings.edit(PATH, (bytes) => bytes.subarray(0, -1));
  assert.equal(await bodyOf(store), String(LOWER));
  assert.equal((await holdings.quarantined()).length, 1);
});

test('both are deleted, and each is set aside in its turn', async (t) => {
  const { holdings, store, put } = await setUp(t);
  await put('absent');
  assert.equal(await store.delete(PATH), true);
  assert.equal(await store.isGone(PATH), true);
  assert.equal(await store.delete(PATH), false);
  assert.deepEqual(await holdings.ids(), []);
  await holdings.flat(PATH, LOWER);
  await put('absent');
  assert.equal(await store.setAsideAs(PATH, 'the first'), true);
  assert.equal(await bodyOf(store), String(LOWER));
  assert.equal(await store.setAsideAs(PATH, 'the second'), true);
  assert.equal(await store.setAsideAs(PATH, 'the third'), false);
  assert.equal(await store.open(PATH), undefined);
  const reasons = (await holdings.quarantined()).map(([, reason]) => reason);
  assert.deepEqual(reasons.toSorted(), ['the first', 'the second']);
});

test('what lies in the trash is not gone, whichever it is of', async (t) => {
  const { file, holdings, store, put } = await setUp(t);
  await put('absent');
  const trash = join(holdings.dir, 'trash');
  await mkdir(trash);
  await rename(file, join(trash, `${idOf(PATH)}.flat`));
  await rename(holdings.file(PATH), join(trash, idOf(PATH)));
  assert.equal(await store.version(PATH), undefined);
  for (const name of await readdir(trash)) {
    assert.equal(await store.isGone(PATH), false, name);
    await rename(join(trash, name), join(holdings.dir, 'gone'));
  }
  assert.equal(await store.isGone(PATH), true);
});
