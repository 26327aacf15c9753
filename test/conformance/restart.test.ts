// A download that a stop of the service interrupts is continued after the next start, not begun again.
import assert from 'node:assert/strict';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { get, open } from '../fixtures/client.ts';
import { startTestService, type TestService } from '../fixtures/in-process.ts';
import { field, makePackage } from '../fixtures/nar.ts';
import { startService } from '../fixtures/service.ts';
import {
  gated,
  type Handler,
  startUpstream,
  status,
  type TestUpstream,
  whole,
} from '../fixtures/upstream.ts';

const MIB = 2 ** 20;
const one = makePackage('interrupted', { size: 6 * MIB });

/** Sends what is asked for, and notes what that was. */
function ranged(asked: (string | undefined)[], file = one.file): Handler {
  return (req, res) => {
    asked.push(req.headers.range);
    const { length } = file;
    const [, first = 0, last = length - 1] = /^bytes=(\d+)-(\d+)?$/.exec(req.headers.range ?? '') ?? [];
    const [start, end] = [Number(first), Math.min(Number(last) + 1, length)];
    if (start > 0) res.writeHead(206, { 'content-range': `bytes ${start}-${end - 1}/${length}` });
    res.end(file.subarray(start, end));
  };
}

/** A service that was stopped in the middle of the NAR and started again. */
async function interrupted(
  t: Parameters<typeof startUpstream>[0],
): Promise<{ upstream: TestUpstream; service: TestService; path: string }> {
  const upstream = await startUpstream(t);
  const gate = gated(one.file);
  upstream.on(one.narInfoPath, (_, res) => res.end(one.narInfo));
  upstream.on(one.narPath, gate.handler);
  const service = await startTestService(t, { upstreams: [upstream.url] });
  const path = `/${field((await get(service.url, one.narInfoPath)).text, 'URL')}`;
  const client = await open(service.url, path);
  gate.release(4 * MIB);
  await client.atLeast(3 * MIB);
  await service.restart();
  return { upstream, service, path };
}

test('what had arrived is not asked for again, and the whole is checked', async (t) => {
  const { upstream, service, path } = await interrupted(t);
  const asked: (string | undefined)[] = [];
  upstream.on(one.narPath, ranged(asked));
  const reply = await get(service.url, path);
  assert.ok(reply.complete && reply.body.equals(one.file));
  assert.equal(asked.length, 1);
  assert.ok(Number(/^bytes=(\d+)-$/.exec(asked[0] ?? '')?.[1]) >= 3 * MIB, `asked for ${asked[0]}`);
  assert.deepEqual(await readdir(join(service.dir, 'partial')), []);
  assert.ok((await get(service.url, path)).body.equals(one.file));
  assert.equal(asked.length, 1, 'it is kept');
});

test('while nobody can continue it, the beginning stays', async (t) => {
  const { upstream, service, path } = await interrupted(t);
  upstream.on(one.narPath, status(500));
  assert.equal((await get(service.url, path)).status, 502);
  const asked: (string | undefined)[] = [];
  upstream.on(one.narPath, ranged(asked));
  assert.ok((await get(service.url, path)).body.equals(one.file));
  assert.match(asked[0] ?? '', /^bytes=/);
});

test('a beginning that is wrong never becomes a whole, and is not kept', async (t) => {
  const { upstream, service, path } = await interrupted(t);
  const folder = join(service.dir, 'partial');
  const file = join(folder, (await readdir(folder))[0] ?? '');
  const bytes = await readFile(file);
  bytes[2 * MIB] = (bytes[2 * MIB] ?? 0) ^ 1;
  await writeFile(file, bytes);
  upstream.on(one.narPath, ranged([]));
  assert.equal((await get(service.url, path)).complete, false);
  assert.ok((await get(service.url, path)).body.equals(one.file));
});

test('a source that answers with another part than asked for does not write over what had arrived', async (t) => {
  const { upstream, service, path } = await interrupted(t);
  const asked: (string | undefined)[] = [];
  const rest = ranged(asked);
  upstream.on(one.narPath, (req, res) => {
    if (asked.length > 0) return rest(req, res);
    asked.push(req.headers.range);
    res.writeHead(206, { 'content-range': `bytes 0-99/${one.file.length}` }).end(Buffer.alloc(100, 7));
  });
  assert.ok((await get(service.url, path)).body.equals(one.file));
  // Whoever gives no such part is asked once for the whole, of which the beginning is skipped.
  assert.deepEqual(asked.slice(1), [undefined], asked.join(', '));
});

test('also when the service is killed, which can say nothing any more', async (t) => {
  const large = makePackage('killed', { size: 24 * MIB });
  const upstream = await startUpstream(t);
  const gate = gated(large.file);
  upstream.on(large.narInfoPath, whole(large.narInfo));
  upstream.on(large.narPath, gate.handler);
  const config = `connections = 1\n[[upstreams]]\nurl = "${upstream.url}"\n`;
  const killed = await startService(t, { config });
  const path = `/${field((await get(killed.url, large.narInfoPath)).text, 'URL')}`;
  const client = await open(killed.url, path);
  gate.release(20 * MIB);
  await client.atLeast(19 * MIB);
  await killed.kill();
  const asked: (string | undefined)[] = [];
  upstream.on(large.narPath, ranged(asked, large.file));
  const service = await startService(t, { config, dir: killed.dir });
  const reply = await get(service.url, path);
  assert.ok(reply.complete && reply.body.equals(large.file));
  assert.ok(Number(/^bytes=(\d+)-$/.exec(asked[0] ?? '')?.[1]) >= 12 * MIB, `asked for ${asked[0]}`);
  // The last bytes go out before the whole is in its place.
  await service.stop();
  assert.deepEqual(await readdir(join(service.dir, 'tmp')), []);
});

test('what is known to be wrong is not continued', async (t) => {
  const [first, second] = [await startUpstream(t), await startUpstream(t)];
  first.on(one.narInfoPath, whole(one.narInfo));
  first.on(one.narPath, whole(Buffer.from(one.file).fill(7, MIB)));
  second.on(one.narPath, gated(one.file).handler);
  const service = await startTestService(t, { upstreams: [first.url, second.url] });
  const path = `/${field((await get(service.url, one.narInfoPath)).text, 'URL')}`;
  const client = await open(service.url, path);
  await second.asked(one.narPath);
  await service.restart();
  assert.equal((await client.finish()).complete, false);
  assert.deepEqual(await readdir(join(service.dir, 'partial')).catch(() => []), []);
});
