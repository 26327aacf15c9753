// A disk that takes no more, at every moment at which it can say so, and the memory that stands in for it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { Overflow } from '../../lib/download/overflow.ts';
import { CacheError, isCacheError } from '../../lib/errors.ts';
import type { Spool } from '../../lib/store/scratch.ts';
import { stopClock } from '../fixtures/clock.ts';
import { noise } from '../fixtures/nar.ts';

const MIB = 2 ** 20;
/** What lib/download/overflow.ts holds at most before the front. */
const WINDOW = 16 * MIB;
const FULL = new CacheError('storage', 'the disk is full');
const BODY = noise(1000, 'overflow');

interface Disk {
  readonly file: Spool;
  /** Bytes it still takes; the write that needs more takes a part, and fails. */
  room: number;
  closed: number;
  /** Where it was read. */
  readonly reads: number[];
}

function diskWith(room: number): Disk {
  const bytes = Buffer.alloc(BODY.length);
  const disk: Disk = {
    room,
    closed: 0,
    reads: [],
    file: {
      write: async (chunk, at) => {
        const taken = Math.min(chunk.length, disk.room);
        if (taken > 0) bytes.set(chunk.subarray(0, taken), at);
        disk.room -= taken;
        if (taken < chunk.length) throw FULL;
      },
      read: async (buffer, at) => {
        disk.reads.push(at);
        return bytes.copy(buffer, 0, at);
      },
      ready: async () => {},
      close: async () => {
        disk.closed++;
      },
    },
  };
  return disk;
}

interface Subject {
  readonly overflow: Overflow;
  readonly reasons: string[];
  /** Where the bytes begin that are needed next. */
  front: number;
}

function over(file: Spool): Subject {
  const reasons: string[] = [];
  const options = { onFull: (reason: string) => reasons.push(reason), front: () => subject.front };
  const subject: Subject = { overflow: new Overflow(file, options), reasons, front: 0 };
  return subject;
}

/** Writes the bytes of BODY from `at` up to `end`; they are on the disk then, or it has refused them. */
async function write({ overflow }: Subject, at: number, end: number): Promise<void> {
  await overflow.write(BODY.subarray(at, end), at);
  await overflow.settled();
}

/** What can be read from `at` up to `end`, in as many reads as it takes. */
async function read({ overflow }: Subject, at: number, end: number): Promise<Buffer> {
  const buffer = Buffer.alloc(end - at);
  for (let done = 0; done < buffer.length; ) {
    const length = await overflow.read(buffer.subarray(done), at + done);
    assert.ok(length > 0, `nothing at ${at + done}`);
    done += length;
  }
  return buffer;
}

/** Whether it has settled, once all that can happen has happened. */
async function isWaiting(promise: Promise<unknown>): Promise<boolean> {
  let waiting = true;
  const settle = () => {
    waiting = false;
  };
  promise.then(settle, settle);
  await turn();
  return waiting;
}

test('while the disk takes all, nothing is held and the file is the body', async () => {
  const disk = diskWith(1000);
  const subject = over(disk.file);
  await write(subject, 0, 1000);
  assert.deepEqual(await read(subject, 0, 1000), BODY);
  subject.overflow.passed(1000);
  assert.deepEqual([subject.overflow.full, subject.overflow.whole], [false, true]);
  assert.equal(subject.overflow.file, disk.file);
  assert.deepEqual(subject.reasons, []);
});

test('where not even a file could be made, all passes through memory', async () => {
  const subject = over(diskWith(0).file);
  for (let at = 0; at < 1000; at += 100) await write(subject, at, at + 100);
  assert.deepEqual(subject.reasons, ['the disk is full']);
  assert.deepEqual(await read(subject, 0, 1000), BODY);
  assert.deepEqual(
    [subject.overflow.full, subject.overflow.whole, subject.overflow.file],
    [true, true, undefined],
  );
});

test('a disk that refuses half-way, in the middle of a write: every byte can be read, the reason is told once', async () => {
  const disk = diskWith(450);
  const subject = over(disk.file);
  for (let at = 0; at < 1000; at += 100) await write(subject, at, at + 100);
  assert.deepEqual(await read(subject, 0, 1000), BODY);
  assert.deepEqual(subject.reasons, ['the disk is full']);
  const twice = over(diskWith(0).file);
  await Promise.all([write(twice, 0, 100), write(twice, 100, 200)]);
  assert.deepEqual(twice.reasons, ['the disk is full']);
  assert.equal(subject.overflow.file, undefined);
  // A part of these is on disk, and nobody can tell which.
  disk.reads.length = 0;
  await read(subject, 400, 500);
  assert.deepEqual(disk.reads, []);
});

test('a disk that takes a write for too long hangs: the body passes through memory, also what it takes in the end', async (t) => {
  const clock = stopClock(t);
  const { file } = diskWith(1000);
  let end = (): void => {};
  const hanging = new Promise<void>((resolve) => {
    end = resolve;
  });
  const subject = over({ ...file, write: (chunk, at) => hanging.then(() => file.write(chunk, at)) });
  await subject.overflow.write(BODY.subarray(0, 100), 0);
  const second = subject.overflow.write(BODY.subarray(100, 200), 100);
  clock.move(9_999);
  assert.ok(await isWaiting(second));
  clock.move(1);
  await second;
  assert.deepEqual(subject.reasons, ['the disk took no write for 10 s']);
  assert.deepEqual(await read(subject, 0, 200), BODY.subarray(0, 200));
  end();
  await write(subject, 200, 300);
  assert.deepEqual(await read(subject, 0, 300), BODY.subarray(0, 300));
  assert.equal(subject.overflow.file, undefined);
});

test('pieces that come in any order are read in theirs, across every border between file and memory', async () => {
  const disk = diskWith(500);
  const subject = over(disk.file);
  // Workers ahead of the front had their bytes on disk before it refused.
  for (const at of [0, 300, 600, 700, 800]) await write(subject, at, at + 100);
  for (const at of [900, 200, 100, 500, 400]) await write(subject, at, at + 100);
  for (const [at, end] of [
    [0, 1000],
    [50, 350],
    [290, 610],
    [199, 201],
  ] as const) {
    assert.deepEqual(await read(subject, at, end), BODY.subarray(at, end), `${at} to ${end}`);
  }
});

test('a read stops where memory begins: behind that the file has a hole', async () => {
  const subject = over(diskWith(100).file);
  await write(subject, 0, 100);
  await write(subject, 100, 200);
  assert.equal(await subject.overflow.read(Buffer.alloc(150), 0), 100);
  assert.equal(await subject.overflow.read(Buffer.alloc(150), 100), 100);
});

test('what everybody has passed is gone; what the disk has on both sides of it stays', async () => {
  const subject = over(diskWith(300).file);
  for (const at of [0, 200, 300]) await write(subject, at, at + 100);
  await write(subject, 100, 200);
  await write(subject, 400, 500);
  subject.front = 500;
  subject.overflow.passed(199);
  assert.equal(subject.overflow.whole, true, 'a piece goes as a whole');
  subject.overflow.passed(200);
  assert.equal(subject.overflow.whole, false);
  assert.deepEqual(await read(subject, 0, 100), BODY.subarray(0, 100));
  await assert.rejects(read(subject, 50, 150), (error) => isCacheError(error, 'storage'));
  for (const [at, end] of [
    [200, 500],
    [200, 250],
  ] as const) {
    assert.deepEqual(await read(subject, at, end), BODY.subarray(at, end));
  }
});

test('a writer at the front waits for readers once they are a window behind, and only then', async () => {
  const subject = over(diskWith(0).file);
  const half = Buffer.alloc(WINDOW / 2);
  const put = async (at: number) => {
    await subject.overflow.write(half, at);
    subject.front = at + half.length;
  };
  await put(0);
  await put(half.length);
  const third = put(2 * half.length);
  assert.ok(await isWaiting(third));
  subject.overflow.passed(half.length - 1);
  assert.ok(await isWaiting(third));
  subject.overflow.passed(half.length);
  await third;
});

test('a piece larger than the window is taken where nobody has anything left to read', async () => {
  const subject = over(diskWith(0).file);
  await subject.overflow.write(Buffer.alloc(WINDOW + 1), 0);
  subject.front = WINDOW + 1;
  const next = subject.overflow.write(Buffer.alloc(1), WINDOW + 1);
  assert.ok(await isWaiting(next));
  subject.overflow.passed(WINDOW + 1);
  await next;
});

test('those ahead of the front wait at the window, and leave the one at the front a way', async () => {
  const subject = over(diskWith(0).file);
  for (const at of [MIB, MIB + WINDOW / 2]) await subject.overflow.write(Buffer.alloc(WINDOW / 2), at);
  const ahead = subject.overflow.write(Buffer.alloc(1), MIB + WINDOW);
  assert.ok(await isWaiting(ahead));
  await subject.overflow.write(Buffer.alloc(MIB), 0);
  subject.front = MIB + WINDOW;
  subject.overflow.passed(MIB);
  assert.ok(await isWaiting(ahead), 'a window is there to be read');
  subject.overflow.passed(MIB + WINDOW / 2);
  await ahead;
  // What is gone counts no more.
  subject.overflow.passed(MIB + WINDOW);
  await subject.overflow.write(Buffer.alloc(WINDOW - 1), 3 * WINDOW);
});

for (const end of ['stop', 'close'] as const) {
  test(`${end} ends the waiting of every writer, who then knows that its bytes are not there`, async () => {
    const disk = diskWith(0);
    const subject = over(disk.file);
    await subject.overflow.write(Buffer.alloc(WINDOW), MIB);
    const waiting = [MIB + WINDOW, MIB + WINDOW + 1].map((at) => subject.overflow.write(Buffer.alloc(1), at));
    for (const one of waiting) assert.ok(await isWaiting(one));
    const outcomes = Promise.all(
      waiting.map((one) => assert.rejects(one, (error) => isCacheError(error, 'aborted'))),
    );
    await subject.overflow[end]();
    await outcomes;
    assert.equal(disk.closed, end === 'close' ? 1 : 0);
  });
}
