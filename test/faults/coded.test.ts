// Random faults of two upstreams that code plain NARs in transfer, each round drawn from its seed: `SEED=<seed> node --test <the file>`
// runs one alone. Whatever they do, a client gets the NAR, unless nobody has it or it has seen wrong bytes; then it gets it soon.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import * as zlib from 'node:zlib';
import { get } from '../fixtures/client.ts';
import { type Encoder, encoder, prose } from '../fixtures/encoder.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { field, makePackage, type Package } from '../fixtures/nar.ts';
import { pick, randomSource } from '../fixtures/random.ts';
import { withRanges } from '../fixtures/servers.ts';
import { type Handler, startUpstream, whole } from '../fixtures/upstream.ts';

const { SEED, ROUNDS = '24' } = process.env;
const deadlines = { connectMs: 2000, firstByteMs: 2000, stallMs: 1500, returnMs: 300 };

/** Answers once with a fault. */
function faults(one: Package, random: () => number): Readonly<Record<string, Handler>> {
  const at = Math.floor(random() * one.file.length);
  const cutAt = Math.floor(random() * 20_000);
  const gzipped = () => zlib.gzipSync(one.file, { level: 1 });
  const send =
    (body: () => Buffer, coding = 'gzip'): Handler =>
    (_request, response) => {
      response.writeHead(200, { 'content-encoding': coding });
      response.end(body());
    };
  const encoded = (before: (response: Parameters<Handler>[1]) => void): Encoder =>
    encoder(one.file, {
      piece: 8192,
      before: (from, response) => (from >= at ? before(response) : undefined),
    });
  return {
    reset: encoded((response) => void response.destroy()).handler,
    stall: encoder(one.file, {
      piece: 8192,
      before: (from) => (from >= at ? new Promise<void>(() => {}) : undefined),
    }).handler,
    short: send(() => gzipped().subarray(0, cutAt)),
    garbage: send(() => {
      const body = gzipped();
      body.fill(0x55, cutAt, cutAt + 200);
      return body;
    }),
    'no trailer': send(() => gzipped().subarray(0, -8)),
    'wrong trailer': send(() => {
      const body = gzipped();
      body.fill(0, body.length - 8);
      return body;
    }),
    longer: send(() => zlib.gzipSync(Buffer.concat([one.file, one.file]), { level: 1 })),
    shorter: send(() => zlib.gzipSync(one.file.subarray(0, at), { level: 1 })),
    mislabelled: send(() => one.file),
    twice: send(() => zlib.gzipSync(gzipped()), 'gzip, gzip'),
    unknown: send(gzipped, 'compress'),
    busy: (_request, response) => void response.writeHead(503).end(),
    cut: (request) => void request.socket.destroy(),
  };
}

async function round(t: TestContext, seed: number): Promise<void> {
  const random = randomSource(seed);
  const one = makePackage(`coded-${seed}`, {
    contents: prose(50_000 + Math.floor(random() * 400_000), `${seed}`),
  });
  const story: string[] = [];
  const upstreams = [await startUpstream(t), await startUpstream(t)];
  for (const [i, upstream] of upstreams.entries()) {
    let left = Math.floor(random() * 3);
    const good = pick<Handler>(random, [
      encoder(one.file).handler,
      encoder(one.file, { parts: false }).handler,
      encoder(one.file, { only: 'gzip' }).handler,
      withRanges(one.file),
      whole(one.file),
    ]);
    upstream.on(one.narInfoPath, whole(one.narInfo));
    upstream.on(one.narPath, (request, response) => {
      const name = left-- > 0 ? pick(random, Object.keys(faults(one, random))) : 'good';
      story.push(`${i}: ${name} to ${request.headers['accept-encoding']} ${request.headers.range ?? ''}`);
      (faults(one, random)[name] ?? good)(request, response);
    });
  }
  const service = await startTestService(t, { upstreams: upstreams.map(({ url }) => url), deadlines });
  const path = `/${field((await get(service.url, one.narInfoPath)).text, 'URL')}`;
  const said = () => `seed ${seed}\n${story.join('\n')}\n${service.log.join('\n')}`;
  for (let tried = 0; ; tried++) {
    const { body, complete, status } = await get(service.url, path);
    if (status === 200 && complete) {
      assert.ok(body.equals(one.file), `wrong bytes, ${said()}`);
      return;
    }
    // Only whoever has seen wrong bytes is cut: such as are decoded before it shows that they are none.
    assert.ok(status !== 200 || story.some((line) => line.includes('garbage')), `cut, ${said()}`);
    // There are few faults in all.
    assert.ok(tried < 5, `not to be had, ${said()}`);
  }
}

const first = Number(SEED ?? 1);
const last = SEED === undefined ? Number(ROUNDS) : first;
for (let seed = first; seed <= last; seed += 6) {
  const seeds = Array.from({ length: Math.min(6, last - seed + 1) }, (_, i) => seed + i);
  test(`coded NARs with random faults, seeds ${seed} to ${seeds.at(-1)}`, async (t) => {
    await Promise.all(seeds.map((each) => round(t, each)));
  });
}
