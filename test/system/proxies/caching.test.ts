// Real caches in front of the service: docs/protocol.md, 80.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressOf, pushAs, pushed, TOML } from '../../fixtures/caching.ts';
import { get, head } from '../../fixtures/client.ts';
import { startTestService } from '../../fixtures/in-process.ts';
import { makePackage } from '../../fixtures/nar.ts';
import { offer } from '../../fixtures/static-cache.ts';
import { startUpstream } from '../../fixtures/upstream.ts';
import { type CachingProxy, nginx, squid, varnish } from '../fixtures/caching-proxy.ts';
import { need } from '../fixtures/need.ts';

const FRONTS: readonly (readonly [string, CachingProxy, string | false])[] = [
  ['nginx', nginx, need('nginx')],
  ['squid', squid, need('squid')],
  ['varnish', varnish, need('varnishd')],
];

for (const [name, start, skip] of FRONTS) {
  test(`80: through ${name} as a cache in front, what was missing is there once it is pushed`, {
    skip,
  }, async (t) => {
    const service = await startTestService(t, { toml: TOML });
    const front = await start(t, Number(new URL(service.url).port));
    for (let i = 0; i < 2; i++) assert.equal((await get(front, pushed.narInfoPath)).status, 404);
    assert.equal((await head(front, pushed.narPath)).status, 404);
    await pushAs(front);
    assert.equal((await get(front, pushed.narInfoPath)).text, pushed.narInfo);
    assert.deepEqual((await get(front, pushed.narPath)).body, pushed.file);
  });

  test(`${name} as a cache in front answers the second round by itself`, { skip }, async (t) => {
    const upstream = await startUpstream(t);
    const many = Array.from({ length: 20 }, (_, i) => makePackage(`caching-${i}`, { size: 10_000 }));
    offer(upstream, ...many);
    const service = await startTestService(t, { upstreams: [upstream.url], toml: TOML });
    const front = await start(t, Number(new URL(service.url).port));
    const round = async (): Promise<void> => {
      for (const one of many) {
        const nar = await addressOf(front, one.narInfoPath);
        assert.deepEqual((await get(front, nar)).body, one.file);
      }
    };
    await round();
    const lines = () => service.log.filter((line) => / GET /.test(line)).length;
    const before = lines();
    assert.equal(before, 2 * many.length);
    await round();
    assert.equal(lines(), before);
  });
}
