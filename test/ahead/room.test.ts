// How much may be fetched that nobody asked for.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Room } from '../../lib/ahead/room.ts';

const MIB = 2 ** 20;
const SPARE = 256 * MIB;

function roomOf(held = 0, maxBytes?: number) {
  const disk = { free: 10_000 * MIB, held: held as number | undefined, isBroken: false, looks: 0, now: 0 };
  const room = new Room({
    scratch: {
      room: async () => {
        disk.looks++;
        if (disk.isBroken) throw new Error('no such disk');
        return { free: disk.free, total: 100_000 * MIB };
      },
    },
    upkeep: {
      get totals() {
        return disk.held === undefined ? undefined : { objects: 1, bytes: disk.held };
      },
    },
    gc: { maxBytes, minFreeBytes: 1000 * MIB },
    now: () => disk.now,
  });
  return { disk, room };
}

test('nothing is taken before somebody has looked, and then what is beyond what is to stay free', async () => {
  const { room } = roomOf();
  assert.ok(!room.take(1));
  await room.look();
  const left = 9000 * MIB - SPARE;
  assert.ok(!room.take(left + 1));
  assert.ok(room.take(left - 5));
  assert.ok(!room.take(6));
  assert.ok(room.take(5));
});

test('what it would have to remove others for is not taken', async () => {
  for (const [held, left] of [
    [400, 100],
    [500, 0],
    [600, 0],
  ] as const) {
    const { room } = roomOf(held, 500);
    await room.look();
    assert.ok(!room.take(left + 1));
    assert.equal(room.take(left), left <= 500 - held);
  }
  const { disk, room } = roomOf(0, 500);
  disk.held = undefined;
  await room.look();
  assert.ok(!room.take(1), 'nobody has counted yet');
});

test('it is looked at once a second, once for all who want to know', async () => {
  const { disk, room } = roomOf();
  await Promise.all([room.look(), room.look()]);
  assert.equal(disk.looks, 1);
  disk.now += 999;
  assert.equal(room.look(), undefined);
  disk.now += 1;
  disk.free = 0;
  await room.look();
  assert.ok(!room.take(1));
  assert.equal(disk.looks, 2);
});

test('of a disk that says nothing, nothing is free', async () => {
  const { disk, room } = roomOf();
  await room.look();
  disk.isBroken = true;
  disk.now += 1000;
  await room.look();
  assert.ok(!room.take(1));
});
