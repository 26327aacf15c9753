import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { Overflow } from '../../lib/download/overflow.ts';
import { CacheError } from '../../lib/errors.ts';

interface Write {
  readonly at: number;
  done(): void;
  refuse(): void;
}

/** An overflow of ten bytes on a disk that takes each write when told to. */
function onSlowDisk() {
  const disk = Buffer.alloc(10, '.');
  const writes: Write[] = [];
  const reasons: string[] = [];
  const file = {
    ready: async () => {},
    read: async (buffer: Uint8Array, at: number) => disk.copy(buffer, 0, at, at + buffer.length),
    write: (chunk: Uint8Array, at: number) =>
      new Promise<void>((resolve, reject) => {
        const done = () => {
          disk.set(chunk, at);
          resolve();
        };
        writes.push({ at, done, refuse: () => reject(new CacheError('storage', 'full')) });
      }),
    close: async () => {},
  };
  let front = 0;
  const spool = new Overflow(file, { onFull: (reason) => reasons.push(reason), front: () => front });
  const read = async (at: number, length = 10 - at) => {
    const buffer = Buffer.alloc(length);
    return buffer.toString('latin1', 0, await spool.read(buffer, at));
  };
  const advance = (to: number) => {
    front = to;
  };
  return { advance, file, read, reasons, spool, writes };
}

test('what is on its way to the disk is read at once, and what is there up to it', async () => {
  const { file, read, spool, writes } = onSlowDisk();
  const first = spool.write(Buffer.from('abc'), 0);
  assert.equal(await read(0), 'abc');
  assert.equal(await read(1, 1), 'b');
  writes[0]?.done();
  await first;
  const second = spool.write(Buffer.from('def'), 3);
  assert.equal(await read(0), 'abc');
  assert.equal(await read(3), 'def');
  writes[1]?.done();
  await Promise.all([second, spool.settled()]);
  assert.equal(await read(0, 6), 'abcdef');
  assert.equal(spool.file, file);
});

test('whoever writes waits while the write before is on its way, and a close for all of them', async () => {
  const { spool, writes } = onSlowDisk();
  await spool.write(Buffer.from('abc'), 0);
  let ends = '';
  const second = spool.write(Buffer.from('def'), 3).then(() => {
    ends += 'write ';
  });
  const closed = spool.close().then(() => {
    ends += 'close';
  });
  await turn();
  assert.equal(ends, '');
  writes[0]?.done();
  await second;
  await turn();
  assert.equal(ends, 'write ');
  writes[1]?.done();
  await closed;
  assert.equal(ends, 'write close');
});

test('what the disk refuses stays readable until it is passed, and what it took ahead of that for good', async () => {
  const { advance, read, reasons, spool, writes } = onSlowDisk();
  const [front, ahead] = [spool.write(Buffer.from('abc'), 0), spool.write(Buffer.from('def'), 3)];
  writes[1]?.done();
  writes[0]?.refuse();
  await Promise.all([front, ahead, spool.settled()]);
  assert.deepEqual([spool.full, spool.file, reasons], [true, undefined, ['full']]);
  advance(6);
  assert.equal(await read(0), 'abc');
  assert.equal(await read(3, 3), 'def');
  spool.passed(3);
  assert.equal(spool.whole, false);
  await assert.rejects(read(0), /not kept/);
  assert.equal(await read(3, 3), 'def');
});
