import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { type Arrived, Download, type Expected } from '../../lib/download/download.ts';
import { CacheError, isCacheError } from '../../lib/errors.ts';
import { createLog } from '../../lib/log.ts';
import { sha256FromBytes } from '../../lib/nix/hash.ts';
import { FolderStore } from '../../lib/store/folder-store.ts';
import { type Owner, temporaryFolder } from '../fixtures/defer.ts';
import { Gate } from '../fixtures/gate.ts';

const sha256 = (data: string) => createHash('sha256').update(data).digest();
const NOTHING: Expected = { fileHash: undefined, fileSize: undefined };

interface Running {
  readonly download: Download;
  readonly gate: Gate;
  readonly kept: (Arrived | Error)[];
}

async function start(t: Owner, size: number | undefined, expected = NOTHING): Promise<Running> {
  const store = new FolderStore(
    await temporaryFolder(t, 'download'),
    createLog(() => {}),
  );
  await store.prepare();
  const gate = new Gate();
  const kept: (Arrived | Error)[] = [];
  const download = new Download(
    { body: gate, size },
    await store.spool(),
    expected,
    'source',
    async (outcome) => {
      kept.push(outcome);
    },
  );
  return { download, gate, kept };
}

function read(download: Download, from = 0, end?: number): Promise<string> {
  assert.ok(download.hold());
  return text(download.stream(from, end));
}

test('readers get the bytes as they arrive, from any offset, each at its own pace', async (t) => {
  const { download, gate, kept } = await start(t, 10);
  assert.ok(download.hold());
  const follower = download.stream(0, undefined)[Symbol.asyncIterator]();
  const late = read(download, 3);
  const part = read(download, 1, 4);
  gate.give('abc');
  assert.equal(String((await follower.next()).value), 'abc');
  gate.give('def');
  assert.equal(String((await follower.next()).value), 'def');
  assert.equal(await part, 'bcd');
  gate.give('ghij').end();
  assert.equal(await late, 'defghij');
  assert.equal(String((await follower.next()).value), 'ghij');
  assert.equal((await follower.next()).done, true);
  await download.ended;
  assert.deepEqual(kept, [{ size: 10, sha256: sha256('abcdefghij').toString('hex') }]);
});

test('the last byte is not shown before hash and size are known to be right', async (t) => {
  const expected = { fileHash: sha256FromBytes(sha256('abcd')), fileSize: 4 };
  const { download, gate, kept } = await start(t, undefined, expected);
  assert.equal(download.size, 4);
  const seen: string[] = [];
  assert.ok(download.hold());
  const reading = (async () => {
    for await (const chunk of download.stream(0, undefined)) seen.push(String(chunk));
  })();
  gate.give('ab').give('xd').end();
  await assert.rejects(
    reading,
    (error) => isCacheError(error, 'upstream') && /SHA-256 is wrong/.test(error.message),
  );
  await download.ended;
  assert.ok(seen.join('').length < 4, seen.join(''));
  assert.ok(kept[0] instanceof Error);
});

test('a body that ends early, runs over or breaks off fails every reader', async (t) => {
  const endings: [string, (gate: Gate) => void, RegExp][] = [
    ['early', (gate) => gate.give('ab').end(), /expected 4, found 2/],
    ['over', (gate) => gate.give('abcde').end(), /expected 4, found at least 5/],
    ['broken', (gate) => gate.give('ab').fail(new CacheError('upstream', 'reset')), /reset/],
  ];
  for (const [what, finish, message] of endings) {
    const { download, gate, kept } = await start(t, 4);
    const readers = [read(download), read(download, 1)];
    finish(gate);
    for (const reader of readers) await assert.rejects(reader, message, what);
    await download.ended;
    assert.ok(kept[0] instanceof Error, what);
    assert.throws(() => download.hold(), message);
  }
});

test('a reader that leaves disturbs nobody, and without any the download goes on', async (t) => {
  const { download, gate, kept } = await start(t, 6);
  assert.ok(download.hold());
  const leaver = download.stream(0, undefined);
  const stayer = read(download);
  gate.give('abc');
  for await (const chunk of leaver) {
    assert.equal(String(chunk), 'abc');
    break;
  }
  gate.give('def').end();
  assert.equal(await stayer, 'abcdef');
  await download.ended;
  assert.equal((kept[0] as Arrived).size, 6);
});

test('a slow reader still gets everything after the download has ended; a newcomer is told to look in the store', async (t) => {
  const { download, gate } = await start(t, undefined);
  assert.ok(download.hold());
  gate.give('abc').end();
  await download.ended;
  assert.ok(download.hold(), 'the bytes are there while anybody reads them');
  assert.equal(await text(download.stream(0, undefined)), 'abc');
  assert.equal(await text(download.stream(1, undefined)), 'bc');
  assert.equal(download.hold(), false);
});

test('an empty body is a body', async (t) => {
  for (const size of [0, undefined]) {
    const { download, gate } = await start(t, size);
    const reading = read(download);
    gate.end();
    assert.equal(await reading, '');
    await download.ended;
  }
});
