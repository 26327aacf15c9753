// What the tests pack by themselves is what the programs unpack, and clients with them.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { compress, noise } from '../../fixtures/nar.ts';
import { need } from '../fixtures/need.ts';

const BODIES = [
  Buffer.alloc(0),
  Buffer.from('x'),
  Buffer.from('aaaab'.repeat(50)),
  Buffer.alloc(70_000, 'ab'),
  Buffer.alloc(1_000_000),
  noise(1 << 16, 'even'),
  noise(200_000, 'odd'),
];

for (const program of ['xz', 'zstd', 'bzip2'] as const) {
  test(`${program} unpacks what is packed without it`, { skip: need(program) }, () => {
    for (const body of BODIES) {
      const packed = compress(body, program);
      const unpacked = execFileSync(program, ['-dc'], { input: packed, maxBuffer: 1 << 26 });
      assert.ok(unpacked.equals(body), `${body.length} bytes`);
    }
  });
}
