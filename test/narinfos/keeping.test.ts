import assert from 'node:assert/strict';
import { test } from 'node:test';
import { logSink } from '../../lib/event-log.ts';
import { createLog } from '../../lib/log.ts';
import { Keeping } from '../../lib/narinfos/keeping.ts';
import type { StoreHash } from '../../lib/nix/store-path.ts';
import type { Store } from '../../lib/store/store.ts';

const MOST = 5000;

test('on a disk that hangs so many narinfos wait, and no more; when it goes on, they are kept, and others after them', async () => {
  let goOn = () => {};
  const hangs = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  const put: string[] = [];
  const store: Partial<Store> = {
    put: async (_, { path }) => {
      await hangs;
      put.push(path);
      return 'stored';
    },
  };
  const lines: string[] = [];
  const keeping = new Keeping(store as Store, logSink(createLog((line) => lines.push(line))));
  const keep = (n: number) => keeping.keep(`${n}`.padStart(32, '0') as StoreHash, 'text', 'origin');
  const waiting = Array.from({ length: MOST }, (_, n) => keep(n));
  await Promise.all([keep(MOST), keep(MOST + 1)]);
  assert.equal(lines.length, 1);
  assert.match(
    lines[0] ?? '',
    / warn \/0+5000\.narinfo is served without being kept: 5000 others wait for the disk\n$/,
  );
  goOn();
  await Promise.all(waiting);
  assert.equal(put.length, MOST);
  await keep(MOST);
  assert.equal(put.at(-1), `/${'5000'.padStart(32, '0')}.narinfo`);
});
