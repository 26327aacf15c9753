// A small disk that fills while clients push and pull: room is made as the configuration wants it, nobody notices.
import assert from 'node:assert/strict';
import { mkdir, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileOf, isStored } from '../../fixtures/aged.ts';
import { get, put } from '../../fixtures/client.ts';
import { defer, temporaryFolder } from '../../fixtures/defer.ts';
import { field, makePackage, type Package } from '../../fixtures/nar.ts';
import { until } from '../../fixtures/patience.ts';
import { output } from '../../fixtures/run.ts';
import { startService } from '../../fixtures/service.ts';
import { startUpstream, whole } from '../../fixtures/upstream.ts';
import { needRoot } from '../fixtures/need-root.ts';

const MIB = 2 ** 20;

test('64 MiB, filled and filled again: every answer is whole, what is old makes room, what was pushed stays', {
  skip: needRoot('mount'),
}, async (t) => {
  const mounted = join(await temporaryFolder(t, 'disk'), 'disk');
  await mkdir(mounted);
  await output('mount', ['-t', 'tmpfs', '-o', 'size=64m', 'tmpfs', mounted]);
  defer(t, () => output('umount', [mounted]));
  const upstream = await startUpstream(t);
  const config = `[gc]\nmin_free = "24 MiB"\n[[upstreams]]\nurl = "${upstream.url}"\n`;
  const dir = join(mounted, 'cache');
  const service = await startService(t, { config, dir });
  const pushed = makePackage('pushed', { size: 2 * MIB });
  assert.equal((await put(service.url, pushed.narPath, pushed.file)).status, 200);
  assert.equal((await put(service.url, pushed.narInfoPath, pushed.narInfo)).status, 200);
  const pull = async (one: Package) => {
    upstream.on(one.narInfoPath, whole(one.narInfo));
    upstream.on(one.narPath, whole(one.file));
    const { text } = await get(service.url, one.narInfoPath);
    const reply = await get(service.url, `/${field(text, 'URL')}`);
    assert.ok(reply.complete && reply.body.equals(one.file), one.storePath);
  };
  const old = ['a', 'b', 'c', 'd'].map((name) => makePackage(name, { size: 8 * MIB }));
  for (const one of old) {
    await pull(one);
    await until(() => isStored(dir, one.narPath), 'it to be stored');
    const used = new Date(Date.now() - 5 * 3_600_000);
    for (const path of [one.narInfoPath, one.narPath]) await utimes(fileOf(dir, path), used, used);
  }
  // It fits, but leaves too little free.
  await pull(makePackage('e', { size: 8 * MIB }));
  await service.logged(/collection: removed \d+ objects/);
  assert.equal(await isStored(dir, (old[0] as Package).narPath), false);
  assert.ok(await isStored(dir, pushed.narPath));
  // More at once than fits: some of it passes through.
  await Promise.all(['f', 'g', 'h', 'i'].map((name) => pull(makePackage(name, { size: 8 * MIB }))));
  const late = makePackage('late', { size: 4 * MIB });
  await until(async () => {
    await pull(late);
    return isStored(dir, late.narPath);
  }, 'room for a late one');
  const second = makePackage('second', { size: MIB });
  // What of the old ones had no time to go yet is in its way.
  await until(async () => {
    const { status } = await put(service.url, second.narPath, second.file);
    assert.ok(status === 200 || status === 507, `${status}`);
    return status === 200;
  }, 'room for another upload');
  assert.ok((await get(service.url, pushed.narPath)).body.equals(pushed.file));
  const log = await service.wholeLog();
  assert.ok((log.match(/without being kept/g)?.length ?? 0) <= 1, log);
  assert.equal(await service.stop(), 0);
});
