// The proxies that people run, with a password, in front of http and https upstreams.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { dialTo, refusal } from '../../fixtures/dialing.ts';
import { deadPort, get, startOrigin } from '../../fixtures/origin.ts';
import { makeAuthority } from '../../fixtures/tls.ts';
import { need } from '../fixtures/need.ts';
import {
  CREDENTIALS,
  FORBIDDEN_PORT,
  NAME,
  startMicrosocks,
  startSquid,
  startTinyproxy,
} from '../fixtures/real-proxy.ts';

async function startOrigins(t: TestContext) {
  const authority = makeAuthority();
  const identity = authority.issue(`DNS:${NAME}`, 'DNS:localhost', 'IP:127.0.0.1');
  return {
    identity,
    ca: [authority.ca],
    plain: await startOrigin(t),
    secure: await startOrigin(t, identity),
  };
}

test('squid, by http and by https', { skip: need('squid', 'openssl') }, async (t) => {
  const { identity, ca, plain, secure } = await startOrigins(t);
  const squid = await startSquid(t, identity);
  for (const [scheme, proxyPort] of [
    ['http', squid.port],
    ['https', squid.tlsPort],
  ] as const) {
    const at = `127.0.0.1:${proxyPort}`;
    const proxy = `${scheme}://${CREDENTIALS}@${at}`;
    const host = NAME;

    await t.test(`${scheme}: carries both kinds of upstream`, async () => {
      for (const { port, tls } of [
        { port: plain.port, tls: false },
        { port: secure.port, tls: true },
      ]) {
        assert.equal(await get(await dialTo({ host, port, tls, ca, proxy })), 'GET /path');
      }
      assert.equal(secure.servernames.at(-1), NAME);
    });
    await t.test(`${scheme}: a wrong password and none are told apart`, async () => {
      const said = `proxy ${scheme}://${at} refused CONNECT ${host}:443: 407 Proxy Authentication Required`;
      const wrong = `${scheme}://user:wrong@${at}`;
      await refusal(dialTo({ host, port: 443, ca, proxy: wrong }), 'proxy', said, 'password is wrong');
      await refusal(dialTo({ host, port: 443, ca, proxy: `${scheme}://${at}` }), 'proxy', said, 'it wants');
    });
    await t.test(`${scheme}: a rule of the proxy is told apart from a dead upstream`, async () => {
      const forbidden = dialTo({ host, port: FORBIDDEN_PORT, ca, proxy });
      await refusal(forbidden, 'upstream', '403 Forbidden (many proxies allow CONNECT only to port 443)');
      await refusal(
        dialTo({ host, port: await deadPort(), ca, proxy }),
        'upstream',
        /refused CONNECT .*: 503 /,
      );
    });
  }
  await t.test('https: a proxy with an unknown certificate is not talked to', async () => {
    const dialled = dialTo({
      host: NAME,
      port: 443,
      proxy: `https://${CREDENTIALS}@127.0.0.1:${squid.tlsPort}`,
    });
    await refusal(dialled, 'proxy', `TLS with proxy https://127.0.0.1:${squid.tlsPort}`, 'ca_file');
  });
});

test('tinyproxy', { skip: need('tinyproxy', 'openssl') }, async (t) => {
  const { ca, plain, secure } = await startOrigins(t);
  for (const { port, tls } of [
    { port: plain.port, tls: false },
    { port: secure.port, tls: true },
  ]) {
    const at = `127.0.0.1:${await startTinyproxy(t, port)}`;
    const proxy = `http://user:secret@${at}`;
    const want = { host: 'localhost', port, tls, ca };
    assert.equal(await get(await dialTo({ ...want, proxy })), 'GET /path');
    await refusal(dialTo({ ...want, proxy: `http://${at}` }), 'proxy', `http://${at} refused`, ': 407 ');
    await refusal(
      dialTo({ ...want, proxy: `http://user:wrong@${at}` }),
      'proxy',
      `http://${at} refused`,
      ': 401 ',
      'password is wrong',
    );
    await refusal(dialTo({ ...want, port: 25, proxy }), 'upstream', ': 403 ', 'only to port 443');
  }
});

test('microsocks', { skip: need('microsocks', 'openssl') }, async (t) => {
  const { ca, plain, secure } = await startOrigins(t);
  const at = `127.0.0.1:${await startMicrosocks(t)}`;
  for (const scheme of ['socks5', 'socks5h']) {
    const proxy = `${scheme}://${CREDENTIALS}@${at}`;
    for (const host of ['localhost', '127.0.0.1']) {
      for (const { port, tls } of [
        { port: plain.port, tls: false },
        { port: secure.port, tls: true },
      ]) {
        assert.equal(await get(await dialTo({ host, port, tls, ca, proxy })), 'GET /path');
      }
    }
  }
  const port = await deadPort();
  await refusal(
    dialTo({ port, proxy: `socks5://${at}` }),
    'proxy',
    `socks5://${at}`,
    'it wants authentication',
  );
  const wrong = dialTo({ port, proxy: `socks5://user:wrong@${at}` });
  await refusal(wrong, 'proxy', `socks5://${at}`, /refused the user name or password|closed the connection/);
  const dead = dialTo({ port, proxy: `socks5://${CREDENTIALS}@${at}` });
  await refusal(dead, 'upstream', `127.0.0.1:${port}: connection refused`);
});
