import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import fs, {
  type FileHandle,
  mkdir,
  readdir,
  readFile,
  rm,
  stat,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { writing } from '../../../lib/disk/writing.ts';
import { isCacheError } from '../../../lib/errors.ts';
import { logSink } from '../../../lib/event-log.ts';
import { createLog } from '../../../lib/log.ts';
import { sha256FromBytes } from '../../../lib/nix/hash.ts';
import { type Folder, openFolder } from '../../../lib/store/folder/folder.ts';
import type { ListedObject, ObjectMeta, PutOptions, Store, StoredObject } from '../../../lib/store/store.ts';
import { type Owner, temporaryFolder } from '../../fixtures/defer.ts';
import { until } from '../../fixtures/patience.ts';
import { streamOf } from '../../fixtures/reader.ts';
import { output } from '../../fixtures/run.ts';

const hex = (data: string | Buffer) => createHash('sha256').update(data).digest('hex');
const REPLACE: PutOptions = { when: 'always', durable: true };
const KEEP: PutOptions = { when: 'absent', durable: false };
const H = '0123456789abcdfghijklmnpqrsvwxyz';
const PATH = `/${H}.narinfo`;

async function setUp(t: Owner): Promise<Folder & { folder: string; log: string[] }> {
  const folder = join(await temporaryFolder(t, 'store'), 'cache');
  const log: string[] = [];
  const opened = openFolder(folder, logSink(createLog((line) => log.push(line))));
  await opened.scratch.prepare(true);
  return { ...opened, folder, log };
}

async function put(
  { scratch, store }: Pick<Folder, 'scratch' | 'store'>,
  path: string,
  body: Buffer,
  options = REPLACE,
): Promise<string> {
  const spool = scratch.spool();
  try {
    await spool.write(body, 0);
    const meta: ObjectMeta = {
      ...{ path, kind: 'narinfo', origin: 'push', storedAt: new Date(), size: body.length },
      sha256: hex(body),
    };
    return await store.put(spool, meta, options);
  } finally {
    await spool.close();
  }
}

function stream(object: StoredObject | undefined, start: number, end: number): Readable {
  assert.ok(object);
  return streamOf(object.reader(start, end));
}

async function bodyOf(store: Store, path: string): Promise<string | undefined> {
  return (await (await store.open(path))?.bytes())?.toString();
}

test('an object is one file, named by the SHA-256 of its path, explained by its first line, then the body', async (t) => {
  const opened = await setUp(t);
  const { folder } = opened;
  await put(opened, PATH, Buffer.from('hello\n'));
  const name = hex(PATH);
  const file = await readFile(join(folder, name.slice(0, 2), name));
  const end = file.indexOf('\n');
  const header = JSON.parse(file.toString('utf8', 0, end));
  assert.equal(header.path, PATH);
  assert.equal(header.origin, 'push');
  assert.equal(header.size, 6);
  assert.equal(header.sha256, hex('hello\n'));
  assert.equal(file.toString('utf8', end + 1), 'hello\n');
  assert.deepEqual(await readdir(join(folder, 'tmp')), []);
});

test('what is stored is read back, whole and in parts, and survives a new start', async (t) => {
  const opened = await setUp(t);
  const { folder } = opened;
  const body = Buffer.alloc(700_000, 'abcdefghij');
  await put(opened, PATH, body);
  const { scratch, store: again } = openFolder(folder, () => {});
  await scratch.prepare(true);
  for (const [start, end] of [
    [0, body.length],
    [5, 6],
    [300_000, 700_000],
    [10, 10],
  ] as const) {
    const object = await again.open(PATH);
    assert.deepEqual(await buffer(stream(object, start, end)), body.subarray(start, end));
  }
});

test('an object that is replaced or deleted can still be read by whoever has it open', async (t) => {
  const opened = await setUp(t);
  const { store } = opened;
  await put(opened, PATH, Buffer.from('old'));
  const open = await store.open(PATH);
  const before = await store.version(PATH);
  await put(opened, PATH, Buffer.from('new'));
  assert.notEqual(await store.version(PATH), before);
  await store.delete(PATH);
  assert.equal((await open?.bytes())?.toString(), 'old');
  assert.equal(await store.open(PATH), undefined);
});

test('keep leaves what is there, replace does not', async (t) => {
  const opened = await setUp(t);
  const { store, folder } = opened;
  assert.equal(await put(opened, PATH, Buffer.from('first'), KEEP), 'stored');
  assert.equal(await put(opened, PATH, Buffer.from('second'), KEEP), 'exists');
  assert.equal(await bodyOf(store, PATH), 'first');
  assert.equal(await put(opened, PATH, Buffer.from('third'), REPLACE), 'stored');
  assert.equal(await bodyOf(store, PATH), 'third');
  assert.deepEqual(await readdir(join(folder, 'tmp')), []);
});

test('many at once put the same path: one of them is there, whole', async (t) => {
  const opened = await setUp(t);
  const { store, folder } = opened;
  const bodies = Array.from({ length: 20 }, (_, i) => Buffer.alloc(1000, `${i % 10}`));
  await Promise.all(bodies.map((body, i) => put(opened, PATH, body, i % 2 ? KEEP : REPLACE)));
  const found = await bodyOf(store, PATH);
  assert.ok(bodies.some((body) => body.toString() === found));
  assert.deepEqual(await readdir(join(folder, 'tmp')), []);
});

test('a start removes what a crash left half-written, and nothing else', async (t) => {
  const opened = await setUp(t);
  const { store, folder } = opened;
  await put(opened, PATH, Buffer.from('kept'));
  await writeFile(join(folder, 'tmp', 'left'), 'half');
  await opened.scratch.prepare(true);
  assert.deepEqual(await readdir(join(folder, 'tmp')), []);
  assert.equal(await bodyOf(store, PATH), 'kept');
});

test('a damaged object is absent, set aside with a word in the log, and can be put again', async (t) => {
  const name = hex(PATH);
  const damages: [string, (file: string) => Promise<void>][] = [
    ['cut off', (file) => truncate(file, 1026)],
    [
      'longer than it says',
      async (file) => writeFile(file, Buffer.concat([await readFile(file), Buffer.from('x')])),
    ],
    ['empty', (file) => truncate(file, 0)],
    ['not ours', (file) => writeFile(file, 'something else\n')],
    [
      'of another path',
      async (file) => writeFile(file, (await readFile(file, 'utf8')).replace(H, H.replace('0', '1'))),
    ],
  ];
  for (const [what, damage] of damages) {
    const opened = await setUp(t);
    const { store, folder, log } = opened;
    await put(opened, PATH, Buffer.from('hello\n'));
    await damage(join(folder, name.slice(0, 2), name));
    assert.equal(await store.open(PATH), undefined, what);
    assert.equal((await readdir(join(folder, 'quarantine'))).length, 2, what);
    assert.match(log.join(''), /damaged/, what);
    assert.equal(await put(opened, PATH, Buffer.from('again'), KEEP), 'stored');
    assert.equal(await bodyOf(store, PATH), 'again');
  }
});

test('a use is noted in the file time, at most every ten minutes', async (t) => {
  const opened = await setUp(t);
  const { store, folder } = opened;
  await put(opened, PATH, Buffer.from('x'));
  const file = join(folder, hex(PATH).slice(0, 2), hex(PATH));
  const age = async (seconds: number) => {
    const then = Date.now() / 1000 - seconds;
    await utimes(file, then, then);
    await bodyOf(store, PATH);
    await store.version(PATH);
  };
  const use = async () => {
    const object = await store.open(PATH);
    object?.used();
    await object?.close();
    (await store.version(PATH))?.used();
  };
  await age(3600);
  const looked = (await stat(file)).mtimeMs;
  assert.ok(Date.now() - looked > 3_500_000, 'whoever only looks leaves no trace');
  await age(300);
  await use();
  assert.ok(Date.now() - (await stat(file)).mtimeMs > 290_000, 'five minutes ago is recent enough');
  await age(3600);
  await use();
  await until(async () => Date.now() - (await stat(file)).mtimeMs < 60_000, 'the use to be noted');
});

test('files of the Go service are served as they stand', async (t) => {
  const opened = await setUp(t);
  const { store, folder } = opened;
  const nar = Buffer.from('nar bytes');
  const narPath = `/nar/${sha256FromBytes(createHash('sha256').update(nar).digest())}.nar.xz`;
  await writeFile(join(folder, hex(PATH)), 'any text');
  await writeFile(join(folder, hex(narPath)), nar);
  await writeFile(join(folder, hex('/etc/passwd')), 'not a name');
  assert.equal(await bodyOf(store, PATH), 'any text');
  const object = await store.open(narPath);
  assert.equal(object?.meta.origin, 'unknown');
  assert.equal(object?.meta.sha256, hex(nar));
  assert.deepEqual(await object?.bytes(), nar);
  assert.equal(await store.open('/etc/passwd'), undefined);
});

test('a NAR of the Go service that is not what its name says is never served', async (t) => {
  const opened = await setUp(t);
  const { store, folder, log } = opened;
  const narPath = `/nar/0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73.nar`;
  await writeFile(join(folder, hex(narPath)), 'cut off');
  assert.equal(await store.open(narPath), undefined);
  assert.match(log.join(''), /damaged \(its SHA-256/);
  assert.equal((await readdir(join(folder, 'quarantine'))).length, 2);
});

test('list names what is stored, and of the Go service what narinfos explain', async (t) => {
  const opened = await setUp(t);
  const { store, folder } = opened;
  await put(opened, '/log/x', Buffer.from('log'));
  const narinfo = `StorePath: /nix/store/${H}-a\nURL: nar/b.nar.xz\nNarHash: x\n`;
  await writeFile(join(folder, hex(PATH)), narinfo);
  await writeFile(join(folder, hex('/nar/b.nar.xz')), 'nar');
  await writeFile(join(folder, hex('/nar/unknown.nar')), 'nar2');
  const listed: ListedObject[] = [];
  for await (const object of store.list()) listed.push(object);
  const byPath = new Map(listed.map((object) => [object.path, object]));
  assert.deepEqual([...byPath.keys()].sort(), [PATH, '/log/x', '/nar/b.nar.xz', undefined]);
  assert.equal(byPath.get('/log/x')?.origin, 'push');
  assert.equal(byPath.get('/nar/b.nar.xz')?.size, 3);
  assert.equal(byPath.get(undefined)?.size, 4);
});

test('a folder that can not be used is said in one startup error', async (t) => {
  const home = await temporaryFolder(t, 'store');
  await writeFile(join(home, 'file'), '');
  const { scratch } = openFolder(join(home, 'file', 'cache'), () => {});
  await assert.rejects(
    scratch.prepare(true),
    (error) => isCacheError(error, 'startup') && error.message.includes(home),
  );
});

test('a file that shrinks while it is read breaks off; it does not end as if it were whole', async (t) => {
  const opened = await setUp(t);
  const { store, folder } = opened;
  await put(opened, PATH, Buffer.alloc(1_000_000, 'x'));
  const object = await store.open(PATH);
  await truncate(join(folder, hex(PATH).slice(0, 2), hex(PATH)), 500_000);
  await assert.rejects(buffer(stream(object, 0, 1_000_000)), (error) => isCacheError(error, 'damaged'));
});

test('the fan-out folders are made when they are needed, also after somebody removed them', async (t) => {
  const opened = await setUp(t);
  const { store, folder } = opened;
  await put(opened, PATH, Buffer.from('1'));
  await rm(join(folder, hex(PATH).slice(0, 2)), { recursive: true });
  await put(opened, PATH, Buffer.from('2'), KEEP);
  assert.equal(await bodyOf(store, PATH), '2');
});

test('what fails the second time, when its folder has been made, says so once', async (t) => {
  const opened = await setUp(t);
  const own = fs.link;
  const link = t.mock.method(fs, 'link', async (...names: [string, string]) => {
    if (link.mock.callCount() > 0) throw Object.assign(new Error('EIO'), { code: 'EIO' });
    return own(...names);
  });
  syncBuiltinESMExports();
  try {
    await assert.rejects(put(opened, PATH, Buffer.from('x'), KEEP), /^CacheError: can't write [^:]*: EIO$/);
  } finally {
    link.mock.restore();
    syncBuiltinESMExports();
  }
});

test('what a start has left undone is done a few things at a time, like all that changes the disk', async (t) => {
  const folder = join(await temporaryFolder(t, 'store'), 'cache');
  const said: string[] = [];
  const { scratch } = openFolder(folder, logSink(createLog((line) => said.push(line))));
  const left = join(folder, 'tmp', 'left');
  await mkdir(left, { recursive: true });
  const handle = await fs.open(folder);
  const full = t.mock.method(Object.getPrototypeOf(handle), 'writeFile', async () => {
    throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' });
  });
  await handle.close();
  await scratch.prepare(true);
  full.mock.restore();
  await mkdir(left);
  let goOn = () => {};
  const busy = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  const others = Array.from({ length: 8 }, () => writing(() => busy));
  const spool = scratch.spool();
  await delay(100);
  assert.deepEqual(await readdir(join(folder, 'tmp')), ['left']);
  goOn();
  await Promise.all(others);
  await until(() => said.some((line) => line.includes('takes writes again')), 'the rest to be done');
  await spool.close();
  assert.deepEqual(await readdir(join(folder, 'tmp')), []);
});

test('what is no file is no object, and does not stand in the way of one', async (t) => {
  const opened = await setUp(t);
  const { store, folder, log } = opened;
  const file = join(folder, hex(PATH).slice(0, 2), hex(PATH));
  const makers = [() => output('mkfifo', [file]), () => mkdir(file)];
  for (const make of makers) {
    await mkdir(dirname(file), { recursive: true });
    await make();
    assert.equal(await store.version(PATH), undefined);
    assert.equal(await store.open(PATH), undefined);
    assert.match(log.pop() ?? '', /is damaged \(it is no file\); moved to /);
    await put(opened, PATH, Buffer.from('x'), KEEP);
    assert.equal(await bodyOf(store, PATH), 'x');
    await store.delete(PATH);
  }
});

test('a filesystem that can not sync its folders takes what is put all the same', async (t) => {
  const opened = await setUp(t);
  const { folder } = opened;
  const handle = await fs.open(folder);
  const handles = Object.getPrototypeOf(handle) as FileHandle;
  await handle.close();
  const { sync } = handles;
  let code = 'EINVAL';
  t.mock.method(handles, 'sync', async function (this: FileHandle) {
    if ((await this.stat()).isDirectory()) throw Object.assign(new Error(code), { code });
    return sync.call(this);
  });
  assert.equal(await put(opened, PATH, Buffer.from('x')), 'stored');
  code = 'EIO';
  await assert.rejects(put(opened, PATH, Buffer.from('x')), (error) => isCacheError(error, 'storage'));
});
