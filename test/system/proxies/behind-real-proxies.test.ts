// Section 8 of docs/protocol.md, 81: of two upstreams behind one proxy one is dead, denied or unknown to it. The other is served,
// whatever the proxy's way to say so.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { parseProxy } from '../../../lib/config/proxy.ts';
import { get } from '../../fixtures/client.ts';
import { startTestService } from '../../fixtures/in-process.ts';
import { field, makePackage } from '../../fixtures/nar.ts';
import { deadPort } from '../../fixtures/origin.ts';
import { makeAuthority } from '../../fixtures/tls.ts';
import { redirect, startUpstream, type TestUpstream, whole } from '../../fixtures/upstream.ts';
import { upstreamConfig } from '../../fixtures/upstream-config.ts';
import { need } from '../fixtures/need.ts';
import { needRoot } from '../fixtures/need-root.ts';
import {
  CREDENTIALS,
  FORBIDDEN_PORT,
  startMicrosocks,
  startPrivoxy,
  startSquid,
  startTinyproxy,
} from '../fixtures/real-proxy.ts';
import { startDante, startShadowsocks, startSsh, startV2ray } from '../fixtures/tunnel-proxies.ts';

const packages = Array.from({ length: 12 }, (_, index) => makePackage(`one-${index}`));
const deadlines = { connectMs: 20_000, firstByteMs: 20_000, stallMs: 20_000 };

interface Proxy {
  readonly program: string;
  readonly skip: string | false;
  /** Its URL, given the port of the upstream that is alive. */
  readonly start: (t: TestContext, port: number) => Promise<string>;
  /** Upstreams that are denied, or unknown to it. */
  readonly others?: readonly string[];
}

const UNKNOWN = 'http://no-such-name.invalid:8080';
const PROXIES: readonly Proxy[] = [
  {
    program: 'squid',
    skip: need('squid', 'openssl'),
    start: async (t) => {
      const squid = await startSquid(t, makeAuthority().issue('IP:127.0.0.1'));
      return `http://${CREDENTIALS}@127.0.0.1:${squid.port}`;
    },
    others: [`http://127.0.0.1:${FORBIDDEN_PORT}`],
  },
  {
    program: 'tinyproxy',
    skip: need('tinyproxy'),
    start: async (t, port) => `http://user:secret@127.0.0.1:${await startTinyproxy(t, port)}`,
    others: [`http://127.0.0.1:${FORBIDDEN_PORT}`],
  },
  {
    program: 'privoxy',
    skip: need('privoxy'),
    start: async (t) => `http://127.0.0.1:${await startPrivoxy(t)}`,
  },
  {
    program: 'microsocks',
    skip: need('microsocks'),
    start: async (t) => `socks5://${CREDENTIALS}@127.0.0.1:${await startMicrosocks(t)}`,
  },
  {
    program: 'dante',
    skip: needRoot('danted'),
    start: async (t) => `socks5://127.0.0.1:${await startDante(t)}`,
  },
  {
    program: 'ssh -D',
    skip: needRoot('sshd', 'ssh', 'ssh-keygen'),
    start: async (t) => `socks5://127.0.0.1:${await startSsh(t)}`,
    others: [UNKNOWN],
  },
  {
    program: 'shadowsocks',
    skip: need('ss-server', 'ss-local'),
    start: async (t) => `socks5://127.0.0.1:${await startShadowsocks(t)}`,
  },
  {
    program: 'v2ray',
    skip: need('v2ray'),
    start: async (t) => `socks5://127.0.0.1:${await startV2ray(t)}`,
  },
];

async function startFull(t: TestContext): Promise<TestUpstream> {
  const upstream = await startUpstream(t);
  for (const one of packages) {
    upstream.on(one.narInfoPath, whole(one.narInfo));
    upstream.on(one.narPath, whole(one.file));
  }
  return upstream;
}

for (const { program, skip, start, others = [] } of PROXIES) {
  test(`81: ${program}, a dead upstream behind it and one that is alive`, {
    skip,
    timeout: 120_000,
  }, async (t) => {
    const upstream = await startFull(t);
    const url = await start(t, Number(new URL(upstream.url).port));
    const proxy = parseProxy(url);
    for (const dead of [`http://127.0.0.1:${await deadPort()}`, ...others]) {
      for (const urls of [
        [dead, upstream.url],
        [upstream.url, dead],
      ]) {
        const upstreams = urls.map((one) => upstreamConfig(one, { proxy }));
        const service = await startTestService(t, { upstreams, deadlines, config: { hedgeDelayMs: 200 } });
        const replies = await Promise.all(packages.map((one) => get(service.url, one.narInfoPath)));
        for (const reply of replies) assert.equal(reply.status, 200, `${urls}`);
        for (const [index, { text }] of replies.entries())
          assert.deepEqual((await get(service.url, `/${field(text, 'URL')}`)).body, packages[index]?.file);
        const isBlamed = (line: string) => /^warn proxy .*believed dead/.test(line);
        assert.deepEqual(service.log.filter(isBlamed), [], `${urls}`);
        const about = service.log.filter(
          (line) => line.includes(new URL(dead).host) && line.startsWith('warn upstream'),
        );
        for (const line of about) assert.ok(line.includes(proxy.label), `names the proxy: ${line}`);
        await service.stop();
      }
    }
  });
}

test('81: a redirect to what squid denies is no failure of the proxy', {
  skip: need('squid', 'openssl'),
}, async (t) => {
  const upstream = await startFull(t);
  const [one, ...rest] = packages;
  for (const { narPath } of rest.slice(0, 5))
    upstream.on(narPath, redirect(`http://127.0.0.1:${FORBIDDEN_PORT}/x`));
  const squid = await startSquid(t, makeAuthority().issue('IP:127.0.0.1'));
  const proxy = parseProxy(`http://${CREDENTIALS}@127.0.0.1:${squid.port}`);
  const service = await startTestService(t, {
    upstreams: [upstreamConfig(upstream.url, { proxy })],
    deadlines,
  });
  for (const each of rest.slice(0, 5)) {
    const { text } = await get(service.url, each.narInfoPath);
    assert.equal((await get(service.url, `/${field(text, 'URL')}`)).status, 502);
  }
  const { text } = await get(service.url, one?.narInfoPath ?? '');
  assert.deepEqual((await get(service.url, `/${field(text, 'URL')}`)).body, one?.file);
});
