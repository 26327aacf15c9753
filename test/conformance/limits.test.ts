// What goes on at once is bounded: downloads wait for each other in the order they came, narinfos for nobody.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Config } from '../../lib/config.ts';
import { get, open } from '../fixtures/client.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { field, makePackage } from '../fixtures/nar.ts';
import { gated, startUpstream, whole } from '../fixtures/upstream.ts';

const first = makePackage('first', { size: 300_000 });
const second = makePackage('second', { size: 300_000 });
const third = makePackage('third', { size: 300_000 });

/** While the first NAR is under way, what of the other two is asked of the upstream, and when. */
async function inTurns(t: TestContext, config: Partial<Config>): Promise<void> {
  const upstream = await startUpstream(t);
  const gate = gated(first.file);
  for (const one of [first, second, third]) {
    upstream.on(one.narInfoPath, whole(one.narInfo));
    upstream.on(one.narPath, one === first ? gate.handler : whole(one.file));
  }
  const service = await startTestService(t, { upstreams: [upstream.url], config });
  const pathOf = async ({ narInfoPath }: { narInfoPath: string }) =>
    `/${field((await get(service.url, narInfoPath)).text, 'URL')}`;
  const paths = { first: await pathOf(first), second: await pathOf(second), third: await pathOf(third) };
  const running = await open(service.url, paths.first);
  gate.release(1000);
  await running.atLeast(1000);
  const waiting = [second, third].map(async (one) => {
    const reply = await get(service.url, one === second ? paths.second : paths.third);
    assert.ok(reply.complete && reply.body.equals(one.file));
  });
  // Narinfos, and what is here, are answered all the while.
  const fourth = makePackage('fourth');
  upstream.on(fourth.narInfoPath, whole(fourth.narInfo));
  assert.equal((await get(service.url, fourth.narInfoPath)).status, 200);
  assert.equal((await get(service.url, first.narInfoPath)).status, 200);
  assert.equal(upstream.count(second.narPath) + upstream.count(third.narPath), 0);
  gate.release(first.file.length);
  assert.ok((await running.finish()).body.equals(first.file));
  await Promise.all(waiting);
  const asked = upstream.requests.map(({ url }) => url).filter((url) => url.startsWith('/nar/'));
  assert.equal(asked[0], first.narPath);
  assert.deepEqual(asked.toSorted(), [first, second, third].map(({ narPath }) => narPath).toSorted());
}

test('no more downloads than max_downloads', (t) => inTurns(t, { maxDownloads: 1 }));

test('no more bytes than max_spool_size, but one download of any size', async (t) => {
  await inTurns(t, { maxSpoolBytes: 500_000 });
  await inTurns(t, { maxSpoolBytes: 1 });
});
