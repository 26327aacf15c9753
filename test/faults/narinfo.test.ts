// The fault matrix, for narinfos.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { get } from '../fixtures/client.ts';
import {
  assertFailed,
  assertStored,
  assertWhole,
  CELLS,
  makeStock,
  NAME_CELLS,
  oneSuffices,
  startScene,
} from '../fixtures/fault-cell.ts';

const stock = makeStock('one', 1000);
const { one } = stock;
const narInfo = Buffer.from(one.narInfo);
const served = Buffer.from(one.narInfo.replace(/^URL: nar\/(.*)$/m, `URL: nar/${one.hash}-$1`));
const target = {
  path: one.narInfoPath,
  size: narInfo.length,
  // A digit that the signature covers; elsewhere a wrong byte may be one that nobody reads.
  half: narInfo.indexOf('NarHash: sha256:') + 20,
};
const deadlines = { connectMs: 5000, firstByteMs: 3000, stallMs: 500, narFirstByteMs: 3000 };
const HEDGE_MS = 50;

describe('a narinfo from faulty sources', { concurrency: 16 }, () => {
  for (const cell of [...CELLS, ...NAME_CELLS]) {
    test(`a narinfo: ${cell.name}`, { timeout: 60_000 }, async (t) => {
      const { service, spoil, mend, end, stop } = await startScene(t, cell, stock, deadlines, HEDGE_MS);
      await spoil(target);

      const reply = await get(service.url, one.narInfoPath);
      if (oneSuffices(cell)) assertWhole(reply, served);
      else {
        assertFailed(cell, reply, served, false);
        await assertStored(service, {});
      }

      if (oneSuffices(cell)) await end();
      else await mend();
      assertWhole(await get(service.url, one.narInfoPath), served);
      await stop();
      await assertStored(service, { [one.narInfoPath]: narInfo });
      assert.deepEqual(
        service.log.filter((line) => line.startsWith('error')),
        [],
      );
    });
  }
});
