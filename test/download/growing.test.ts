// What a growing file promises to those who fill it and to those who read it, without a download around it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import type { Reader } from '../../lib/bytes/streams.ts';
import { Growing, type Held } from '../../lib/download/growing.ts';
import { CacheError } from '../../lib/errors.ts';
import type { Spool } from '../../lib/store/scratch.ts';
import { noise } from '../fixtures/nar.ts';

const KIB = 1024;
const LAST = 64 * KIB;
const BODY = noise(200 * KIB, 'growing');

interface Disk extends Spool {
  /** What is to be there, whether it was written or not. */
  readonly bytes: Buffer;
  isFull: boolean;
  closed: number;
}

function disk(content: Buffer = Buffer.alloc(BODY.length)): Disk {
  const one: Disk = {
    bytes: Buffer.from(content),
    isFull: false,
    closed: 0,
    ready: async () => {},
    write: async (chunk, at) => {
      if (one.isFull) throw new CacheError('storage', 'the disk is full');
      one.bytes.set(chunk, at);
    },
    read: async (buffer, at) => one.bytes.copy(buffer, 0, at, at + buffer.length),
    close: async () => {
      one.closed++;
    },
  };
  return one;
}

interface Subject {
  readonly growing: Growing;
  readonly spool: Disk;
  /** What it told, in that order. */
  readonly told: string[];
  /** Writes BODY up to there. */
  fill(to: number): Promise<void>;
}

function subject({ size, isJudged = true }: { size?: number; isJudged?: boolean } = {}): Subject {
  const told: string[] = [];
  const spool = disk();
  const growing = new Growing(spool, {
    ...{ size, isJudged },
    onFull: (reason) => told.push(`full: ${reason}`),
    onAbandoned: () => told.push('abandoned'),
  });
  const fill = async (to: number) => {
    await growing.write(BODY.subarray(growing.front, to), growing.front);
    growing.advance(to);
  };
  return { growing, spool, told, fill };
}

function held({ growing }: Subject): Held {
  const one = growing.hold();
  assert.ok(one !== undefined);
  return one;
}

const read = (one: Subject, start = 0, end?: number) => held(one).open(start, end);

/** All that the reader has now, and whether that was its end. */
async function rest(reader: Reader): Promise<{ bytes: Buffer; ended: boolean }> {
  const pieces: Buffer[] = [];
  for (;;) {
    const next = reader.read();
    const piece = await Promise.race([next, waits()]);
    if (piece === 'waits') {
      left.set(reader, next);
      return { bytes: Buffer.concat(pieces), ended: false };
    }
    if (piece === undefined) return { bytes: Buffer.concat(pieces), ended: true };
    pieces.push(Buffer.from(piece));
  }
}

/** What a reader was asked for that it had not. */
const left = new WeakMap<Reader, Promise<Buffer | undefined>>();

/** So many bytes, which are there. */
async function take(reader: Reader, bytes: number): Promise<void> {
  for (let taken = 0; taken < bytes; ) taken += (await reader.read())?.length ?? Number.NaN;
}

async function waits(): Promise<'waits'> {
  for (let i = 0; i < 20; i++) await turn();
  return 'waits';
}

test('a reader gets what is there and then waits; each has a place of its own', async () => {
  const one = subject({ size: BODY.length });
  const [early, late] = [read(one), read(one, 5 * KIB)];
  assert.equal((await rest(early)).bytes.length, 0);
  await one.fill(10 * KIB);
  assert.deepEqual(Buffer.from((await left.get(early)) as Buffer), BODY.subarray(0, 10 * KIB));
  assert.deepEqual((await rest(late)).bytes, BODY.subarray(5 * KIB, 10 * KIB));
});

test('what completes the file is hidden but for what comes before its last piece, until it is right', async () => {
  const one = subject({ size: BODY.length });
  const [whole, part] = [read(one), read(one, 0, BODY.length - LAST)];
  await one.fill(BODY.length);
  assert.equal((await rest(part)).ended, true, 'a part that ends before it waits for no verdict');
  assert.equal((await rest(whole)).bytes.length, BODY.length - LAST);
  one.growing.end('filled');
  assert.equal(await Promise.race([left.get(whole), waits()]), 'waits', 'that no more comes is no verdict');
  one.growing.complete();
  assert.equal((await left.get(whole))?.length, LAST);
  assert.equal((await rest(whole)).ended, true);
});

test('while nobody knows where the end is, any piece may be the last; where nobody judges it, none is hidden', async () => {
  const [judged, plain] = [subject(), subject({ isJudged: false })];
  for (const one of [judged, plain]) await one.fill(100 * KIB);
  assert.equal((await rest(read(judged))).bytes.length, 100 * KIB - LAST);
  assert.equal((await rest(read(plain))).bytes.length, 100 * KIB);
});

test('the end of what is complete is where its front is, and a reader stops at an end that it knows before that', async () => {
  const one = subject();
  const reader = read(one);
  const bounded = read(one, 0, 10 * KIB);
  await one.fill(100 * KIB);
  assert.equal((await rest(bounded)).ended, true);
  one.growing.complete();
  const { bytes, ended } = await rest(reader);
  assert.deepEqual([bytes.length, ended], [100 * KIB, true]);
});

test('a failure fails every reader, also one that waits, and whoever comes after it', async () => {
  const one = subject({ size: BODY.length });
  const [waiting, behind] = [read(one, 10 * KIB), read(one)];
  await one.fill(10 * KIB);
  assert.equal((await rest(waiting)).ended, false);
  one.growing.end('broken');
  assert.equal(await Promise.race([left.get(waiting), waits()]), 'waits', 'another may come in its place');
  one.growing.fail(new Error('lost'));
  await assert.rejects(left.get(waiting) as Promise<unknown>, /lost/);
  await assert.rejects(behind.read(), /lost/);
  assert.throws(() => one.growing.hold(), /lost/);
});

test('another file in its place: whoever has seen no byte that differs goes on with it, the others fail', async () => {
  const one = subject({ size: BODY.length });
  const [none, before, behind] = [read(one), read(one), read(one)];
  await one.fill(50 * KIB);
  for (const reader of [before, behind]) await take(reader, 50 * KIB);
  await one.fill(100 * KIB);
  await take(behind, 50 * KIB);
  await one.fill(150 * KIB);
  const started = read(one, 120 * KIB);
  const right = Buffer.from(BODY);
  right.fill(7, 90 * KIB);
  const told: string[] = [];
  one.growing.end('broken');
  const other = disk(right);
  await one.growing.replace(other, right.length, () => told.push(one.growing.state.kind));
  assert.deepEqual(told, ['broken'], 'whoever is told that some are misled hears of it before they do');
  assert.deepEqual([one.spool.closed, other.closed], [1, 0]);
  await assert.rejects(behind.read(), /wrong bytes/);
  await assert.rejects(behind.read(), /wrong bytes/, 'and does not forget it');
  assert.deepEqual((await rest(none)).bytes, right);
  assert.deepEqual((await rest(started)).bytes, right.subarray(120 * KIB), 'it had seen nothing');
  assert.deepEqual((await rest(before)).bytes, right.subarray(50 * KIB));
  assert.deepEqual((await rest(read(one))).bytes, right, 'whoever comes later');
});

test('nobody is misled where all have seen is the same', async () => {
  const one = subject({ size: BODY.length });
  await one.fill(150 * KIB);
  await rest(read(one));
  await one.growing.replace(disk(BODY), BODY.length, () => assert.fail('misled'));
});

test('it is abandoned when all who came have left, while it is filled; told each time, and not before anybody came', async () => {
  const one = subject({ size: BODY.length });
  assert.equal(one.growing.isAbandoned, false);
  const [first, second] = [held(one), read(one)];
  first.close();
  assert.deepEqual([one.growing.isAbandoned, one.told], [false, []]);
  second.close();
  second.close();
  assert.deepEqual([one.growing.isAbandoned, one.told], [true, ['abandoned']]);
  const third = held(one);
  assert.equal(one.growing.isAbandoned, false);
  third.close();
  assert.deepEqual(one.told, ['abandoned', 'abandoned']);
  one.growing.done();
  assert.equal(one.growing.isAbandoned, false, 'it is over');
});

test('the spool is closed once, when the last of those who fill or read it is done; then nobody can read it from here', async () => {
  const one = subject({ size: BODY.length });
  const reader = read(one);
  await one.fill(BODY.length);
  one.growing.complete();
  one.growing.done();
  assert.equal(one.spool.closed, 0);
  const late = held(one).open(100, undefined);
  assert.equal((await rest(reader)).ended, true);
  await turn();
  assert.equal(one.spool.closed, 0);
  late.close();
  await turn();
  assert.equal(one.spool.closed, 1);
  assert.equal(one.growing.hold(), undefined);
});

test('a reader that is closed while it waits ends, and one that is closed hands out no more', async () => {
  const one = subject({ size: BODY.length });
  const reader = read(one);
  const next = reader.read();
  reader.close();
  assert.equal(await next, undefined);
  await one.fill(10 * KIB);
  assert.equal(await reader.read(), undefined);
});

test('at a full disk all is kept for who is about to come, and goes when it has been read; then nobody more can come', async () => {
  const one = subject({ size: BODY.length });
  one.spool.isFull = true;
  const coming = held(one);
  const reader = read(one);
  await one.fill(50 * KIB);
  await one.growing.file();
  assert.deepEqual([one.told, one.growing.isPassing], [['full: the disk is full'], true]);
  assert.equal(await one.growing.file(), undefined);
  assert.equal((await rest(reader)).bytes.length, 50 * KIB);
  held(one).close();
  const late = coming.open(0, undefined);
  assert.deepEqual((await rest(late)).bytes, BODY.subarray(0, 50 * KIB));
  assert.equal(one.growing.hold(), undefined, 'the beginning is gone');
});

test('how far readers have come is known', async () => {
  const one = subject({ size: BODY.length });
  await one.fill(100 * KIB);
  assert.equal(one.growing.shown, 0);
  await rest(read(one, 0, 10 * KIB));
  assert.equal(one.growing.shown, 10 * KIB);
});
