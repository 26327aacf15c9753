// Section 8 of docs/protocol.md, 33: a NAR that nobody has right is gone, and costs no more than one path; while somebody is in doubt, it
// is a failure. Whoever has seen wrong bytes is not given the rest of the right ones.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { get, type Options, open } from '../fixtures/client.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { field, makePackage } from '../fixtures/nar.ts';
import {
  chunked,
  gated,
  type Handler,
  reset,
  startUpstream,
  status,
  truncated,
  whole,
} from '../fixtures/upstream.ts';

const small = makePackage('small', { size: 1000, compression: 'xz' });
const large = makePackage('large', { size: 2 ** 20, compression: 'xz' });

function flipped(file: Buffer, at: number): Buffer {
  const bytes = Buffer.from(file);
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  return bytes;
}

const CUT = truncated(small.file, 400);
const WRONG: Record<string, Handler> = {
  'a wrong byte': whole(flipped(small.file, 500)),
  'another size': whole(small.file.subarray(1)),
  nothing: whole(''),
};
describe('33: what comes of wrong bytes', { concurrency: 15 }, () => {
  for (const [what, handler] of Object.entries(WRONG)) {
    for (const [other, second, expected] of [
      ['nobody else has it', status(404), 404],
      ['another has it wrong too', whole(flipped(small.file, 7)), 404],
      ['another fails', status(503), 502],
      ['another is cut', CUT, 502],
      ['another resets', reset(), 502],
    ] as const) {
      test(`33: the whole has ${what}, and ${other} → ${expected}, with a sentence`, async (t) => {
        const upstreams = [await startUpstream(t), await startUpstream(t)] as const;
        const [first, next] = upstreams;
        first.on(small.narInfoPath, whole(small.narInfo));
        first.on(small.narPath, handler);
        if (expected === 502) next.on(small.narInfoPath, whole(small.narInfo));
        next.on(small.narPath, second);
        const service = await startTestService(t, { upstreams: upstreams.map(({ url }) => url) });
        const path = `/${field((await get(service.url, small.narInfoPath)).text, 'URL')}`;
        const reply = await get(service.url, path);
        if (reply.status === 200) assert.ok(expected === 502 && !reply.complete);
        else {
          assert.equal(reply.status, expected, reply.text);
          assert.match(reply.text, /^(Not Found|Bad Gateway): .{10}/);
          assert.ok(reply.body.length < 1024);
        }
        first.on(small.narPath, whole(small.file));
        assert.ok((await get(service.url, path)).body.equals(small.file), 'as soon as it is right');
      });
    }
  }
});

for (const [what, second, expected] of [
  ['nobody else has it', status(404), 404],
  ['another fails', status(503), 502],
] as const) {
  test(`33: a small NAR in chunks, without FileHash, is wrong, and ${what} → ${expected}, nothing is shown`, async (t) => {
    const fields = { FileHash: undefined, FileSize: undefined };
    const untold = makePackage('untold', { size: 30_000, fields });
    const upstreams = [await startUpstream(t), await startUpstream(t)] as const;
    for (const one of expected === 404 ? upstreams.slice(0, 1) : upstreams)
      one.on(untold.narInfoPath, whole(untold.narInfo));
    upstreams[0].on(untold.narPath, chunked(flipped(untold.file, 20_000)));
    upstreams[1].on(untold.narPath, second);
    const service = await startTestService(t, { upstreams: upstreams.map(({ url }) => url) });
    const path = `/${field((await get(service.url, untold.narInfoPath)).text, 'URL')}`;
    assert.equal((await get(service.url, path)).status, expected);
    upstreams[0].on(untold.narPath, chunked(untold.file));
    assert.ok((await get(service.url, path)).body.equals(untold.file), 'as soon as it is right');
  });
}

test('33: readers of wrong bytes are cut, get 404 for the rest for a minute, and the log says who sent them', async (t) => {
  let passed = 0;
  const now = () => performance.now() + passed;
  const [liar, honest] = [await startUpstream(t), await startUpstream(t)];
  liar.on(large.narInfoPath, whole(large.narInfo));
  const gate = gated(flipped(large.file, 1000));
  liar.on(large.narPath, gate.handler);
  honest.on(large.narPath, whole(large.file));
  const service = await startTestService(t, { upstreams: [liar.url, honest.url], now });
  const path = `/${field((await get(service.url, large.narInfoPath)).text, 'URL')}`;
  const opened = open(service.url, path);
  gate.release(300_000);
  const client = await opened;
  await client.atLeast(200_000);
  gate.release();
  const { body, complete } = await client.finish();
  assert.equal(complete, false);
  await service.logged(new RegExp(`${liar.url}\\S*: sent wrong bytes`));
  const rest: Options = { headers: { range: `bytes=${body.length}-` } };
  assert.equal((await get(service.url, path, rest)).status, 404);
  assert.ok((await get(service.url, path)).body.equals(large.file));
  assert.equal((await get(service.url, path, { headers: { range: 'bytes=0-99' } })).status, 206);
  assert.equal((await get(service.url, path, rest)).status, 404, 'also once it is here');
  passed += 60_000;
  assert.ok((await get(service.url, path, rest)).body.equals(large.file.subarray(body.length)));
});

test('33: a narinfo that is malformed seconds later too counts as missing there, and is had elsewhere', async (t) => {
  let passed = 0;
  const now = () => performance.now() + passed;
  const [damaged, second] = [await startUpstream(t), await startUpstream(t)];
  damaged.on(small.narInfoPath, whole(small.narInfo.slice(0, 40)));
  const service = await startTestService(t, { upstreams: [damaged.url, second.url], now });
  assert.equal((await get(service.url, small.narInfoPath)).status, 502);
  passed += 5000;
  assert.equal((await get(service.url, small.narInfoPath)).status, 404);
  damaged.on(small.narInfoPath, whole(small.narInfo));
  passed += 10 * 60_000;
  assert.equal((await get(service.url, small.narInfoPath)).status, 200);
});
