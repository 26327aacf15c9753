// No file descriptor is left for a connection: that is nobody's fault but ours, and no reason for a miss. In a file of its own,
// because all that runs beside it in this process would lack them too.
import assert from 'node:assert/strict';
import { closeSync, openSync, readdirSync } from 'node:fs';
import { devNull } from 'node:os';
import { test } from 'node:test';
import { defer, type Owner } from '../../fixtures/defer.ts';
import { codeOf, has, lacks, look, one } from '../../fixtures/lookups.ts';
import { output } from '../../fixtures/run.ts';
import { createWorld, startSite } from '../../fixtures/upstreams.ts';
import { need } from '../fixtures/need.ts';

/** Takes all that are left; what it answers gives them back. */
async function takeDescriptors(t: Owner): Promise<() => void> {
  const few = readdirSync('/proc/self/fd').length + 20;
  await output('prlimit', ['--pid', `${process.pid}`, `--nofile=${few}:`]);
  const taken: number[] = [];
  const giveBack = () => {
    for (const one of taken.splice(0)) closeSync(one);
  };
  defer(t, giveBack);
  try {
    for (;;) taken.push(openSync(devNull, 'r'));
  } catch {
    return giveBack;
  }
}

test('an upstream that can not be connected to for want of descriptors is neither dead nor without what it has', {
  skip: need('prlimit'),
}, async (t) => {
  const site = await startSite(t, has);
  for (const url of [site.url, site.url.replace('127.0.0.1', 'localhost')]) {
    const world = createWorld(t);
    const other = world.upstream((await startSite(t, lacks)).url);
    // It has a connection already.
    await one(world, other);
    const first = world.upstream(url);
    const strict = world.upstreams([first, other]);
    const lenient = world.upstreams([first, other], { onUpstreamError: 'miss' });
    const giveBack = await takeDescriptors(t);
    for (const upstreams of [strict, strict, strict, strict, lenient]) {
      assert.equal(await codeOf(look(upstreams)), 'upstream', url);
    }
    assert.equal(first.health.good, true);
    giveBack();
    assert.equal(await look(strict), url);
  }
});
