// A clock that is set while the service runs, and between two starts: what was used lately stays, what is old goes, and whatever
// lasts for a while lasts no longer than that.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { age, isStored } from '../../fixtures/aged.ts';
import { get, push } from '../../fixtures/client.ts';
import { commandsOn } from '../../fixtures/command.ts';
import { field, makePackage, type Package } from '../../fixtures/nar.ts';
import { until } from '../../fixtures/patience.ts';
import { type Service, startService } from '../../fixtures/service.ts';
import { startUpstream, type TestUpstream, whole } from '../../fixtures/upstream.ts';
import { need } from '../fixtures/need.ts';
import { clockToSet } from '../fixtures/set-clock.ts';

const YEAR = 365;
const skip = need('faketime');

/** Fetches the package from the upstream, through the service, which keeps it. */
async function fetch(service: Service, upstream: TestUpstream, name: string): Promise<Package> {
  const one = makePackage(name, { size: 200_000 });
  upstream.on(one.narInfoPath, whole(one.narInfo));
  upstream.on(one.narPath, whole(one.file));
  await pull(service, one);
  for (const path of [one.narInfoPath, one.narPath]) {
    await until(() => isStored(service.dir, path), `${path} to be stored`);
  }
  return one;
}

async function pull({ url }: Service, one: Package): Promise<void> {
  const { status, text } = await get(url, one.narInfoPath);
  assert.equal(status, 200);
  const reply = await get(url, `/${field(text, 'URL')}`);
  assert.ok(reply.complete && reply.body.equals(one.file));
}

const isWhole = async ({ dir }: Service, one: Package) =>
  (await isStored(dir, one.narInfoPath)) && (await isStored(dir, one.narPath));

test('a year forward: what was used within the last hour stays, what is too old goes', {
  skip,
}, async (t) => {
  const upstream = await startUpstream(t);
  const { env, set } = await clockToSet(t);
  const gc = '[gc]\nmin_free = "1 B"\nmax_age = "30d"\nevery = "5s"\n';
  const service = await startService(t, { env, config: `${gc}[[upstreams]]\nurl = "${upstream.url}"\n` });
  const old = await fetch(service, upstream, 'old');
  await age(service.dir, old, 5);
  const lately = await fetch(service, upstream, 'lately');
  await set(YEAR);
  await until(async () => !(await isStored(service.dir, old.narPath)), 'the old one to go');
  await service.logged(/warn the clock was set, by more than a minute/);
  assert.ok(await isWhole(service, lately));
  await pull(service, lately);
  const own = makePackage('own', { size: 10_000 });
  await push(service.url, own);
  await pull(service, own);
  await pull(service, old);
  const year = new Date().getFullYear() + 1;
  await service.logged(new RegExp(`^${year}-`));
  assert.equal(await service.stop(), 0);
});

test('a year back, while it runs and at the next start: the same, and what is removed is missed at once', {
  skip,
}, async (t) => {
  const upstream = await startUpstream(t);
  const { env, set } = await clockToSet(t);
  const config = `[gc]\nmin_free = "1 B"\nmax_size = "500 kB"\n[[upstreams]]\nurl = "${upstream.url}"\n`;
  const service = await startService(t, { env, config });
  const lately = await fetch(service, upstream, 'lately');
  const gone = makePackage('gone', { size: 10_000 });
  await push(service.url, gone);
  await pull(service, gone);
  await set(-YEAR);
  await (await commandsOn(t, service.dir)).run('rm', gone.storePath);
  await until(async () => (await get(service.url, gone.narInfoPath)).status === 404, 'it to be missed');
  await push(service.url, gone);
  await pull(service, gone);
  const next = await fetch(service, upstream, 'next');
  const more = await fetch(service, upstream, 'more');
  await service.logged(/collection: removed 0 objects/);
  for (const one of [lately, next, more]) assert.ok(await isWhole(service, one), one.storePath);
  assert.equal(await service.stop(), 0);
  await set(-2 * YEAR);
  const again = await startService(t, { env, config, dir: service.dir });
  await until(() => again.log().includes('collection: removed 0 objects'), 'a collection');
  for (const one of [lately, next, more]) await pull(again, one);
  assert.equal(await again.stop(), 0);
});
