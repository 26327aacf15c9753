import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseProxy } from '../../lib/config/proxy.ts';
import { CacheError } from '../../lib/errors.ts';
import { logSink } from '../../lib/event-log.ts';
import { WayOut } from '../../lib/upstream/way-out.ts';
import { get } from '../fixtures/client.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { makePackage } from '../fixtures/nar.ts';
import { startTunnels } from '../fixtures/tunnels.ts';
import { startUpstream } from '../fixtures/upstream.ts';
import { upstreamConfig } from '../fixtures/upstream-config.ts';

test('that a proxy leads nowhere is said once, of several destinations, and again only when it led somewhere meanwhile', () => {
  const lines: string[] = [];
  const say = (line: string) => void lines.push(line);
  const way = new WayOut('proxy http://p:1', logSink({ info: say, warn: say, error: say }));
  const error = new CacheError('upstream', 'refused: 403');
  for (let i = 0; i < 5; i++) way.missed('a:443', error);
  assert.deepEqual(lines, [], 'one destination may be the reason itself');
  way.missed('b:443', error);
  way.missed('c:443', error);
  assert.equal(lines.length, 1);
  assert.match(lines[0] ?? '', /^proxy http:\/\/p:1: .*none .*a:443, b:443.*refused: 403/);
  way.reached();
  assert.match(lines[1] ?? '', /again/);
  way.missed('a:443', error);
  way.reached();
  way.missed('b:443', error);
  assert.equal(lines.length, 2);
  way.missed('a:443', error);
  assert.equal(lines.length, 3);
});

test('a proxy that refuses every destination is named in one line, one that refuses some is not', async (t) => {
  const upstreams = [await startUpstream(t), await startUpstream(t)];
  const proxy = await startTunnels(t, 'CONNECT');
  const ports = upstreams.map(({ url }) => Number(new URL(url).port));
  const start = () =>
    startTestService(t, {
      upstreams: upstreams.map(({ url }) => upstreamConfig(url, { proxy: parseProxy(proxy.url) })),
    });
  const about = (log: readonly string[]) => log.filter((line) => line.includes('led to none'));
  for (const port of ports) proxy.deny(port);
  const none = await start();
  for (let i = 0; i < 8; i++) await get(none.url, makePackage(`none-${i}`).narInfoPath);
  assert.equal(about(none.log).length, 1, none.log.join('\n'));
  for (const port of ports) assert.ok(about(none.log)[0]?.includes(`127.0.0.1:${port}`));
  proxy.allow();
  await none.logged(/leads somewhere again/);
  proxy.deny(ports[0] as number);
  const some = await start();
  for (let i = 0; i < 8; i++) await get(some.url, makePackage(`some-${i}`).narInfoPath);
  assert.deepEqual(about(some.log), []);
});
