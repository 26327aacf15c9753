// Section 8 of docs/protocol.md, 70 and 31 to 33: an upstream that refuses a Range, in whatever way, still gives the whole: when a
// large NAR is begun, when one has broken off, and when a beginning was kept over a restart.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { get, open } from '../../fixtures/client.ts';
import {
  type Deviation,
  type Faulty,
  ODD_PARTS,
  REFUSALS_OF_PARTS,
  sourceFile,
  startFaulty,
} from '../../fixtures/faulty.ts';
import { startTestService, type TestService } from '../../fixtures/in-process.ts';
import { field, makePackage, type Package } from '../../fixtures/nar.ts';

const MIB = 2 ** 20;
/** Large enough to be begun with a Range. */
const LARGE = [1, 2, 3].map((number) => makePackage(`large-${number}`, { size: 9 * MIB }));
const [FIRST] = LARGE as [Package];
const SMALL = makePackage('small', { size: 3 * MIB });

const FILES = new Map(
  [...LARGE, SMALL].flatMap((one) => [
    [one.narInfoPath, sourceFile(Buffer.from(one.narInfo))],
    [one.narPath, sourceFile(one.file)],
  ]),
);

interface Scene {
  readonly source: Faulty;
  readonly service: TestService;
  /** How the source answers for a NAR, by how often it was asked for it. */
  deviate(deviation: (ask: number) => Deviation): void;
  /** How often it was asked for a NAR. */
  asks(): number;
}

async function startScene(t: TestContext): Promise<Scene> {
  const source = await startFaulty(t, FILES);
  const service = await startTestService(t, { upstreams: [source.url] });
  let asks = 0;
  return {
    source,
    service,
    deviate: (deviation) => {
      asks = 0;
      source.behaviour = (path) => (path.startsWith('/nar/') ? deviation(++asks) : {});
    },
    asks: () => asks,
  };
}

async function assertHad(service: TestService, one: Package): Promise<void> {
  const path = `/${field((await get(service.url, one.narInfoPath)).text, 'URL')}`;
  const reply = await get(service.url, path);
  assert.equal(reply.status, 200, reply.text.slice(0, 300));
  assert.ok(reply.complete, `cut after ${reply.body.length} bytes`);
  assert.ok(reply.body.equals(one.file), 'complete, but wrong');
}

for (const part of REFUSALS_OF_PARTS) {
  test(`70: a large NAR whose source makes of a Range: ${part} → whole, and soon no Range is sent`, async (t) => {
    const { asks, deviate, service } = await startScene(t);
    deviate(() => ({ part }));
    const requests: number[] = [];
    for (const one of LARGE) {
      const before = asks();
      await assertHad(service, one);
      requests.push(asks() - before);
    }
    assert.equal(requests.at(-1), 1, `requests for each NAR: ${requests}`);
    assert.ok(!service.log.some((line) => /believed dead|not kept/.test(line)), service.log.join('\n'));
  });

  test(`70: a NAR that breaks off, and the rest is refused: ${part} → one unbroken answer`, async (t) => {
    const { asks, deviate, service } = await startScene(t);
    deviate((ask) => ({ part, ...(ask === 1 && { stop: { at: SMALL.file.length >> 1, how: 'reset' } }) }));
    await assertHad(service, SMALL);
    assert.ok(asks() <= 7, `${asks()} requests`);
  });
}

for (const part of [404, 416, 'reset', 'gzip', 'ends at once'] as const) {
  test(`70: a beginning kept over a restart, and the rest is refused: ${part} → whole`, async (t) => {
    const { deviate, service } = await startScene(t);
    deviate(() => ({ whole: true, stop: { at: FIRST.file.length >> 1, how: 'stall' } }));
    const path = `/${field((await get(service.url, FIRST.narInfoPath)).text, 'URL')}`;
    await (await open(service.url, path)).atLeast(4 * MIB);
    await service.stop();
    deviate(() => ({ part }));
    await service.restart();
    await assertHad(service, FIRST);
    assert.ok(service.log.some((line) => /is continued from byte/.test(line)));
  });
}

for (const part of ODD_PARTS) {
  test(`70: a part that comes as "${part}" → used as what it says it is`, async (t) => {
    const { asks, deviate, service } = await startScene(t);
    deviate(() => ({ part }));
    await assertHad(service, FIRST);
    assert.ok(asks() > 2, `${asks()} requests`);
    deviate((ask) => ({ part, ...(ask === 1 && { stop: { at: SMALL.file.length >> 1, how: 'reset' } }) }));
    await assertHad(service, SMALL);
    assert.ok(asks() >= 2);
  });
}

test('31, 32, 33: whatever a refused part is answered with, bytes of another file never make a whole body', async (t) => {
  const other = Buffer.from(SMALL.file).reverse();
  const files = new Map([...FILES, [SMALL.narPath, sourceFile(other)]]);
  for (const part of [416, '200'] as const) {
    const { service, source } = await startScene(t);
    let asks = 0;
    const path = `/${field((await get(service.url, SMALL.narInfoPath)).text, 'URL')}`;
    source.behaviour = (asked) => {
      if (asked !== SMALL.narPath) return {};
      asks++;
      if (asks > 1) FILES.set(SMALL.narPath, files.get(SMALL.narPath) as never);
      return { part, ...(asks === 1 && { stop: { at: SMALL.file.length >> 1, how: 'reset' as const } }) };
    };
    const reply = await get(service.url, path);
    FILES.set(SMALL.narPath, sourceFile(SMALL.file));
    assert.equal(reply.complete, false, `complete with ${reply.body.length} bytes`);
  }
});

test('70: a source that is down, or has lost the file, is not taken for one that gives no parts', async (t) => {
  const { deviate, service, source } = await startScene(t);
  const path = `/${field((await get(service.url, FIRST.narInfoPath)).text, 'URL')}`;
  for (const status of [404, 500]) {
    deviate(() => ({ status }));
    for (let time = 0; time < 3; time++) assert.notEqual((await get(service.url, path)).status, 200);
  }
  await source.down();
  assert.equal((await get(service.url, path)).status, 502);
  await source.up();
  await service.restart();
  deviate(() => ({ status: 500 }));
  assert.notEqual((await get(service.url, path)).status, 200);
  // It comes in parts still.
  let asks = 0;
  deviate((ask) => {
    asks = ask;
    return {};
  });
  await assertHad(service, FIRST);
  assert.ok(asks > 2, `${asks} requests`);
});
