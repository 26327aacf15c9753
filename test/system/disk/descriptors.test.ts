// No file descriptors left: what can't be answered fails as that and not as a miss, nothing ends, and it passes.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { isErrno } from '../../../lib/errors.ts';
import { get, push, put } from '../../fixtures/client.ts';
import { defer } from '../../fixtures/defer.ts';
import { field, makePackage, type Package } from '../../fixtures/nar.ts';
import { patiently, until } from '../../fixtures/patience.ts';
import { output } from '../../fixtures/run.ts';
import { startService } from '../../fixtures/service.ts';
import { startUpstream, whole } from '../../fixtures/upstream.ts';
import { need } from '../fixtures/need.ts';

const LOAD_MS = 4000;
const held = makePackage('held', { size: 300_000 });

test('hits that find no descriptor are no misses; with descriptors again all is as before', async (t) => {
  const service = await startService(t);
  await push(service.url, held);
  // On a connection that is there already; others would not be accepted.
  const asking = await open(service.port);
  defer(t, () => asking.destroy());
  await output('prlimit', ['--pid', String(service.pid), '--nofile=64:4096']);
  const idle: Socket[] = [];
  defer(t, () => {
    for (const socket of idle) socket.destroy();
  });
  for (let i = 0; i < 100; i++) idle.push(await open(service.port));
  const status = await ask(asking, held.narPath);
  assert.notEqual(status, 404);
  assert.ok(status === 200 || status === 500, `${status}`);
  for (const socket of idle) socket.destroy();
  await until(async () => {
    const reply = await get(service.url, held.narPath).catch(() => undefined);
    assert.notEqual(reply?.status, 404);
    if (reply?.status !== 200) return false;
    assert.ok(reply.body.equals(held.file));
    return true;
  }, 'an answer, once it has noticed that the others are gone');
  assert.equal(await service.stop(), 0);
});

test('uploads, misses and hits at once, with too few descriptors for them: no miss is made up, nothing ends, and it passes', {
  skip: need('prlimit'),
}, async (t) => {
  const upstream = await startUpstream(t);
  const make = (name: string) => makePackage(name, { size: 200_000 });
  const offer = (name: string) => {
    const one = make(name);
    upstream.on(one.narInfoPath, whole(one.narInfo));
    upstream.on(one.narPath, whole(one.file));
    return one;
  };
  // The one that has it all, and one that has nothing.
  const other = await startUpstream(t);
  const upstreams = [upstream.url.replace('127.0.0.1', 'localhost'), other.url]
    .map((url) => `[[upstreams]]\nurl = "${url}"\n`)
    .join('');
  const config = `[gc]\nmax_size = "2 MB"\nmin_free = "1 B"\nevery = "1s"\n${upstreams}`;
  const service = await startService(t, { config });
  await push(service.url, held);
  const limit = (count: number) => output('prlimit', ['--pid', `${service.pid}`, `--nofile=${count}:4096`]);
  const open = (await readdir(`/proc/${service.pid}/fd`)).length;
  await limit(open + 20);
  const seen = new Map<string, number>();
  const note = (what: string) => seen.set(what, (seen.get(what) ?? 0) + 1);
  const end = performance.now() + LOAD_MS;
  /** Asks until the time is over; what is there must never be missed, and what comes be right. */
  const client = async (kind: string, number: number) => {
    for (let i = 0; performance.now() < end; i++) {
      const one =
        kind === 'hit' ? held : kind === 'miss' ? offer(`miss${number}-${i}`) : make(`push${number}-${i}`);
      try {
        if (kind === 'push') {
          note(`PUT ${(await put(service.url, one.narPath, one.file)).status}`);
          continue;
        }
        const narInfo = await get(service.url, one.narInfoPath);
        note(`${kind} narinfo ${narInfo.status}`);
        if (narInfo.status !== 200) continue;
        const reply = await get(service.url, `/${field(narInfo.text, 'URL')}`);
        note(`${kind} ${reply.status} ${reply.complete}`);
        if (reply.status === 200 && reply.complete) assert.ok(reply.body.equals(one.file));
      } catch (error) {
        if (!isErrno(error, 'ECONNRESET', 'ECONNREFUSED', 'EPIPE')) throw error;
        note(`${kind} ${error.code}`);
      }
    }
  };
  const kinds = ['hit', 'miss', 'push'];
  await Promise.all(Array.from({ length: 45 }, (_, i) => client(kinds[i % 3] as string, i)));
  t.diagnostic(JSON.stringify([...seen]));
  for (const what of seen.keys()) assert.doesNotMatch(what, / 404/);
  assert.ok(
    [...seen.keys()].some((what) => /ECONN|EPIPE| 50\d/.test(what)),
    'it was too few',
  );
  await limit(4096);
  const late = offer('late');
  for (const one of [held, make('last')]) await push(service.url, one);
  await patiently(pulled(service.url, late), 'a miss');
  await pulled(service.url, held);
  assert.equal(await service.stop(), 0);
  assert.doesNotMatch(service.log(), /believed dead|defect/);
  const why = service.log().match(/ warn .*(?:EMFILE|descriptor)/g)?.length ?? 0;
  assert.ok(why < 20, `${why} lines say why`);
});

/** Asks until it is there. */
async function pulled(url: string, one: Package): Promise<void> {
  for (;;) {
    const narInfo = await get(url, one.narInfoPath);
    assert.notEqual(narInfo.status, 404);
    if (narInfo.status !== 200) continue;
    const reply = await get(url, `/${field(narInfo.text, 'URL')}`);
    assert.notEqual(reply.status, 404);
    if (reply.complete && reply.body.equals(one.file)) return;
  }
}

async function open(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

/** The status of the answer, whose body is not read. */
async function ask(socket: Socket, path: string): Promise<number> {
  socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
  const [chunk] = (await once(socket, 'data')) as [Buffer];
  return Number(chunk.toString('latin1', 9, 12));
}
