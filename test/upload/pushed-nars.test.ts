import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type NarInfo, parseNarInfo } from '../../lib/nix/narinfo.ts';
import type { Storage } from '../../lib/store/storage.ts';
import type { StoredObject } from '../../lib/store/store.ts';
import { PushedNars } from '../../lib/upload/pushed-nars.ts';
import { makePackage } from '../fixtures/nar.ts';

const one = makePackage('one', { compression: 'gzip' });
const info = parseNarInfo(one.narInfo, '/nix/store');
const { signal } = new AbortController();

/** Checks a NAR of that version; whether that read it. */
async function reads(nars: PushedNars, said: NarInfo, version: string, body = one.file): Promise<boolean> {
  let read = false;
  let closed = false;
  const nar: StoredObject = {
    meta: {
      path: one.narPath,
      kind: 'nar',
      origin: 'push',
      storedAt: new Date(),
      size: body.length,
      sha256: undefined,
    },
    version,
    freshForMs: 0,
    used: () => {},
    reader: () => {
      read = true;
      const pieces = [body];
      return { read: async () => pieces.pop(), close: () => {} };
    },
    bytes: () => assert.fail('it may be large'),
    close: async () => {
      closed = true;
    },
  };
  try {
    await nars.check(said, nar, signal);
  } finally {
    assert.ok(closed);
  }
  return read;
}

test('a NAR is unpacked once for all narinfos that say the same of it, and again if it or they differ', async () => {
  const nars = new PushedNars({} as Storage);
  assert.equal(await reads(nars, info, '1'), true);
  assert.equal(await reads(nars, info, '1'), false);
  assert.equal(
    await reads(nars, { ...info, sigs: ['x-1:a'], storePath: makePackage('b').storePath }, '1'),
    false,
  );
  assert.equal(await reads(nars, info, '2'), true, 'another file');
  for (const lie of [
    { narSize: info.narSize + 1 },
    { narHash: parseNarInfo(makePackage('b').narInfo, '/nix/store').narHash },
    { compression: 'br' as const },
  ])
    for (let i = 0; i < 2; i++)
      await assert.rejects(reads(nars, { ...info, ...lie }, '1'), { code: 'invalid' }, JSON.stringify(lie));
});
