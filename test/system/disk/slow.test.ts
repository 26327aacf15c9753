// A disk that hangs, and comes back, and one that crawls: whoever does not need it goes on, nothing is lost, nothing is cut.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { test } from 'node:test';
import { age, isStored } from '../../fixtures/aged.ts';
import { get, push } from '../../fixtures/client.ts';
import { field, makePackage, type Package } from '../../fixtures/nar.ts';
import { until } from '../../fixtures/patience.ts';
import { startService } from '../../fixtures/service.ts';
import { startUpstream, type TestUpstream, whole } from '../../fixtures/upstream.ts';
import { boundDisk, freezingDisk } from '../fixtures/hanging-disk.ts';
import { needDevice } from '../fixtures/need-root.ts';

const MIB = 2 ** 20;
const held = makePackage('held', { size: 300_000 });
const names = Array.from({ length: 20 }, (_, i) => `pushed${i}`);

function offer(upstream: TestUpstream, one: Package): Package {
  upstream.on(one.narInfoPath, whole(one.narInfo));
  upstream.on(one.narPath, whole(one.file));
  return one;
}

async function pull(url: string, one: Package): Promise<void> {
  const narInfo = await get(url, one.narInfoPath);
  assert.equal(narInfo.status, 200);
  const reply = await get(url, `/${field(narInfo.text, 'URL')}`);
  assert.ok(reply.complete && reply.body.equals(one.file));
}

test('while writes hang: hits go on, misses pass through, uploads wait, and are safe when they are acknowledged', {
  skip: needDevice('/dev/loop-control', 'mkfs.ext4', 'fsfreeze', 'mount'),
}, async (t) => {
  const upstream = await startUpstream(t);
  const missed = offer(upstream, makePackage('missed', { size: 3 * MIB }));
  const later = offer(upstream, makePackage('later', { size: MIB }));
  const disk = await freezingDisk(t);
  const config = `[[upstreams]]\nurl = "${upstream.url.replace('127.0.0.1', 'localhost')}"\n`;
  const service = await startService(t, { config, dir: disk.dir });
  await push(service.url, held);
  // Its use is to be noted.
  await age(disk.dir, held, 5);
  await disk.hang();
  let acknowledged = 0;
  const uploads = names.map(async (name) => {
    await push(service.url, makePackage(name, { size: 100_000 }));
    acknowledged++;
  });
  const hit = async () => {
    for (let i = 0; i < 50; i++) {
      assert.equal((await get(service.url, '/healthz')).status, 200);
      await pull(service.url, held);
    }
  };
  const started = performance.now();
  await hit();
  assert.ok(performance.now() - started < 8000, 'hits do not wait for the disk');
  await Promise.all([pull(service.url, missed), hit()]);
  await service.logged(/\/nar\/.* is passed on without being kept: the disk took no write for 10 s/);
  assert.equal(acknowledged, 0);
  await disk.goOn();
  await Promise.all(uploads);
  await pull(service.url, later);
  await until(() => isStored(disk.dir, later.narPath), 'what is fetched to be kept again');
  await service.kill();
  const again = await startService(t, { dir: disk.dir });
  for (const name of names) await pull(again.url, makePackage(name, { size: 100_000 }));
  assert.equal(await again.stop(), 0);
});

test('a download whose disk crawls: it is whole, hits are quick, and memory is bounded', {
  skip: needDevice('/dev/fuse', 'bindfs', 'mount'),
}, async (t) => {
  const upstream = await startUpstream(t);
  const large = offer(upstream, makePackage('large', { size: 48 * MIB }));
  const disk = await boundDisk(t, 8 * MIB);
  const config = `[[upstreams]]\nurl = "${upstream.url}"\n`;
  const service = await startService(t, { config, dir: disk.dir });
  await push(service.url, held);
  const before = await residentBytes(service.pid);
  let ended = false;
  const slow = pull(service.url, large).finally(() => {
    ended = true;
  });
  let most = 0;
  let slowest = 0;
  while (!ended) {
    const started = performance.now();
    await pull(service.url, held);
    slowest = Math.max(slowest, performance.now() - started);
    most = Math.max(most, await residentBytes(service.pid));
  }
  await slow;
  t.diagnostic(`${(most - before) / MIB} MiB more, slowest hit ${slowest} ms`);
  assert.ok(most - before < 100 * MIB, `${(most - before) / MIB} MiB more`);
  assert.ok(slowest < 3000, `${slowest} ms`);
  assert.equal(await service.stop(), 0);
});

test('a stop while the disk hangs ends all the same', {
  skip: needDevice('/dev/fuse', 'bindfs', 'mount'),
}, async (t) => {
  const disk = await boundDisk(t);
  const service = await startService(t, { dir: disk.dir });
  await push(service.url, held);
  await disk.hang();
  const client = connect(service.port, '127.0.0.1');
  const log = `/log/${'0'.repeat(32)}-x.drv`;
  client.write(`PUT ${log} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nsmall`);
  await once(client, 'connect');
  assert.equal((await get(service.url, '/healthz')).status, 200);
  client.resetAndDestroy();
  await service.logged(/ PUT \/log\/.* cut /);
  assert.equal(await service.stop(), null, 'ended by a signal of its own');
  assert.match(service.log(), /error stopped without waiting any longer for the disk/);
  await disk.goOn();
  const again = await startService(t, { dir: disk.dir });
  await pull(again.url, held);
  assert.equal(await again.stop(), 0);
});

async function residentBytes(pid: number): Promise<number> {
  const [, pages = ''] = (await readFile(`/proc/${pid}/statm`, 'latin1')).split(' ');
  return Number(pages) * 4096;
}
