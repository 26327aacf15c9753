// Proxies that say that they are connected before they know, exactly as shadowsocks, v2ray and trojan do; and that read no
// further than the first segment of a message, as microsocks and trojan.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { type TestContext, test } from 'node:test';
import { parseProxy } from '../../lib/config/proxy.ts';
import { get } from '../fixtures/client.ts';
import { dialTo, refusal } from '../fixtures/dialing.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { makePackage } from '../fixtures/nar.ts';
import { type Script, startScriptedProxy } from '../fixtures/scripted-proxy.ts';
import { takeCommand, takeGreeting } from '../fixtures/socks.ts';
import { startUpstream, whole } from '../fixtures/upstream.ts';
import { upstreamConfig } from '../fixtures/upstream-config.ts';

const GRANTED = Buffer.of(5, 0, 0, 1, 0, 0, 0, 0, 0, 0);
const BAD_REQUEST = 'HTTP/1.1 400 Bad Request\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbad\n';

/** A SOCKS proxy that grants everything, and then does this with the first that is sent. */
async function startEarly(t: TestContext, then: Script): Promise<string> {
  const proxy = await startScriptedProxy(t, async (peer) => {
    await takeGreeting(peer);
    await peer.send(Buffer.of(5, 0));
    await takeCommand(peer);
    await peer.send(GRANTED);
    await then(peer);
  });
  return `socks5://127.0.0.1:${proxy.port}`;
}

const answersHttp: Script = async (peer) => {
  await peer.take(5);
  await peer.send(BAD_REQUEST);
  await peer.end();
};

test('what is not TLS behind such a proxy is the target, and the message says what it looks like', async (t) => {
  const proxy = await startEarly(t, answersHttp);
  const dialled = dialTo({ host: 'cache.test', port: 443, tls: true, proxy });
  await refusal(dialled, 'upstream', `TLS with cache.test:443 through proxy ${proxy}`, 'trojan looks so');
});

test('a close before TLS, or before the first byte of an answer, is that of the target', async (t) => {
  const hangsUp = await startEarly(t, async (peer) => {
    await peer.take(1);
    await peer.end();
  });
  await refusal(
    dialTo({ host: 'cache.test', port: 443, tls: true, proxy: hangsUp }),
    'upstream',
    `TLS with cache.test:443 through proxy ${hangsUp}`,
  );
  const one = makePackage('one');
  const upstreams = [upstreamConfig('http://cache.test', { proxy: parseProxy(hangsUp) })];
  const service = await startTestService(t, { upstreams });
  assert.equal((await get(service.url, one.narInfoPath)).status, 502);
  assert.ok(
    service.log.some((line) => line.includes(` through proxy ${hangsUp}: `)),
    service.log.join('\n'),
  );
});

test('a 400 to every path is a failure of the upstream, which is believed dead and stays so', async (t) => {
  const proxy = parseProxy(await startEarly(t, answersHttp));
  const good = await startUpstream(t);
  const packages = Array.from({ length: 6 }, (_, index) => makePackage(`one-${index}`));
  for (const one of packages) good.on(one.narInfoPath, whole(one.narInfo));
  const upstreams = [upstreamConfig('http://cache.test', { proxy }), upstreamConfig(good.url)];
  const service = await startTestService(t, { upstreams });
  for (const one of packages) assert.equal((await get(service.url, one.narInfoPath)).status, 200);
  const line = await service.logged(/believed dead/);
  assert.match(line, /^warn upstream http:\/\/cache\.test.* through proxy socks5.*400 Bad Request \(trojan/);
  // What nobody has is missing for good: the dead one is looked at, and stays dead.
  await new Promise((resolve) => setTimeout(resolve, 2500));
  assert.equal((await get(service.url, makePackage('none').narInfoPath)).status, 404);
  assert.ok(!service.log.some((line) => line.includes('alive again')), service.log.join('\n'));
});

test('each message to a SOCKS proxy comes in one segment', async (t) => {
  const chunks: Buffer[] = [];
  const replies = [Buffer.of(5, 2), Buffer.of(1, 0), GRANTED];
  const server = createServer((socket) => {
    socket
      .on('error', () => {})
      .on('data', (chunk) => {
        chunks.push(chunk);
        const reply = replies[chunks.length - 1];
        if (reply !== undefined) socket.write(reply);
      });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const proxy = `socks5://user:secret@127.0.0.1:${(server.address() as AddressInfo).port}`;
  (await dialTo({ host: `${'x'.repeat(60)}.test`, port: 80, proxy })).destroy();
  assert.deepEqual(
    chunks.map(({ length }) => length),
    [4, 3 + 'user'.length + 'secret'.length, 7 + 65],
  );
});
