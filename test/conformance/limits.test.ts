// What goes on at once is bounded: downloads wait for each other in the order they came, narinfos for nobody.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Config } from '../../lib/config/config.ts';
import { get, open } from '../fixtures/client.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { field, makePackage } from '../fixtures/nar.ts';
import { gated, startUpstream, whole } from '../fixtures/upstream.ts';

const first = makePackage('first', { size: 300_000 });
const second = makePackage('second', { size: 300_000 });
const third = makePackage('third', { size: 300_000 });

/** While the first NAR is under way, nothing is asked of the other two, of which one is another upstream's. */
async function inTurns(t: TestContext, config: Partial<Config>): Promise<void> {
  const upstream = await startUpstream(t);
  const other = await startUpstream(t);
  const gate = gated(first.file);
  for (const one of [first, second, third]) {
    const its = one === third ? other : upstream;
    its.on(one.narInfoPath, whole(one.narInfo));
    its.on(one.narPath, one === first ? gate.handler : whole(one.file));
  }
  const service = await startTestService(t, { upstreams: [upstream.url, other.url], config });
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
  assert.equal(upstream.count(second.narPath) + other.count(third.narPath), 0);
  gate.release(first.file.length);
  assert.ok((await running.finish()).body.equals(first.file));
  await Promise.all(waiting);
  const asked = ({ requests }: typeof upstream) =>
    requests.map(({ url }) => url).filter((url) => url.startsWith('/nar/'));
  assert.deepEqual(asked(upstream), [first.narPath, second.narPath]);
  assert.deepEqual(asked(other), [third.narPath]);
}

test('no more downloads than max_downloads', (t) => inTurns(t, { maxDownloads: 1 }));

test('no more connections than max_connections, to whichever upstream', (t) =>
  inTurns(t, { maxConnections: 2 }));

test('no more bytes than max_spool_size, but one download of any size', async (t) => {
  // Else the second might come before a client asks for anything, and give way when one asks for the first.
  const readAhead = 'narinfos';
  await inTurns(t, { maxSpoolBytes: 500_000, readAhead });
  await inTurns(t, { maxSpoolBytes: 1, readAhead });
});
