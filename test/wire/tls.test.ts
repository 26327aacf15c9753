import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { dialTo, refusal } from '../fixtures/dialing.ts';
import { get, startOrigin } from '../fixtures/origin.ts';
import { type Script, startScriptedProxy } from '../fixtures/scripted-proxy.ts';
import { makeAuthority } from '../fixtures/tls.ts';
import { ways } from '../fixtures/ways.ts';

test('certificates are verified', async (t) => {
  const authority = makeAuthority();
  const ca = [makeAuthority().ca, authority.ca];
  const identity = authority.issue('DNS:localhost', 'IP:127.0.0.1');
  const origin = await startOrigin(t, identity);
  const { port } = origin;

  await t.test('against additional authorities', async () => {
    const socket = await dialTo({ host: 'localhost', port, tls: true, ca });
    assert.equal(await get(socket), 'GET /path');
    assert.equal(origin.servernames.at(-1), 'localhost');
  });
  await t.test('for an address too, which is not sent as a server name', async () => {
    assert.equal(await get(await dialTo({ port, tls: true, ca })), 'GET /path');
    assert.equal(origin.servernames.at(-1), false);
  });
  await t.test('an unknown authority is refused', async () => {
    for (const ca of [undefined, [], [makeAuthority().ca]]) {
      const dialled = dialTo({ host: 'localhost', port, tls: true, ca });
      await refusal(dialled, 'upstream', `TLS with localhost:${port}: `, 'unable to', 'ca_file');
    }
  });
  await t.test('even when the environment says that they are not', async (t) => {
    process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
    t.after(() => delete process.env.NODE_TLS_REJECT_UNAUTHORIZED);
    await refusal(dialTo({ host: 'localhost', port, tls: true }), 'upstream', 'unable to');
  });
  await t.test('a wrong name and a wrong address are refused, in few words', async (t) => {
    const names = Array.from({ length: 500 }, (_, index) => `DNS:host-${index}.test`);
    const other = await startOrigin(t, authority.issue(...names, 'IP:192.0.2.1'));
    for (const host of ['localhost', '127.0.0.1']) {
      const dialled = dialTo({ host, port: other.port, tls: true, ca });
      const error = await refusal(dialled, 'upstream', `TLS with ${host}:${other.port}: `, 'does not match');
      assert.ok(error.cause instanceof Error && error.cause.message.length < 400);
    }
  });
  await t.test('a broken additional authority is told', async () => {
    const broken = authority.ca.replace(/\n[^-]{60}/, '\nAAAA');
    const dialled = dialTo({ port, tls: true, ca: [broken] });
    await refusal(dialled, 'config', 'an additional authority');
  });
  await t.test('NODE_EXTRA_CA_CERTS counts, alone and with additional authorities', (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'extra-'));
    t.after(() => rmSync(folder, { recursive: true }));
    writeFileSync(join(folder, 'ca.pem'), authority.ca);
    const script = `
      import { createServer } from 'node:https';
      import { dial } from ${JSON.stringify(new URL('../../lib/wire/dial.js', import.meta.url).href)};
      const { identity, ca } = JSON.parse(process.argv[1]);
      const server = createServer(identity).listen(0, '127.0.0.1', async () => {
        const target = { host: '127.0.0.1', port: server.address().port, tls: true };
        for (const extra of [undefined, ca]) {
          const signal = new AbortController().signal;
          (await dial(target, { ca: extra, timeoutMs: 20000, signal })).destroy();
        }
        console.log('both');
        server.close();
      });`;
    const args = [
      '--input-type=module',
      '-e',
      script,
      JSON.stringify({ identity, ca: [makeAuthority().ca] }),
    ];
    const env = { ...process.env, NODE_EXTRA_CA_CERTS: join(folder, 'ca.pem') };
    assert.equal(execFileSync(process.execPath, args, { env, encoding: 'utf8', timeout: 60_000 }), 'both\n');
  });
});

test('TLS arrives byte by byte, directly and in a tunnel', async (t) => {
  const authority = makeAuthority();
  const origin = await startOrigin(t, authority.issue('IP:127.0.0.1'));
  const tunnel = await startScriptedProxy(t, async (peer) => {
    await peer.takeHead();
    await peer.send('HTTP/1.1 200 OK\r\n\r\n');
    await peer.tunnel(origin.port, 1);
  });
  const direct = await startScriptedProxy(t, (peer) => peer.tunnel(origin.port, 1));
  const want = { tls: true, ca: [authority.ca] };
  assert.equal(await get(await dialTo({ ...want, port: direct.port })), 'GET /path');
  const proxy = `http://127.0.0.1:${tunnel.port}`;
  assert.equal(await get(await dialTo({ ...want, port: origin.port, proxy })), 'GET /path');
});

test('what a peer does instead of TLS is one clear error', { concurrency: true }, async (t) => {
  // The beginning of a ServerHello that says it is longer.
  const hello = Buffer.of(22, 3, 3, 0, 80, 2, 0, 0, 76, 3, 3);
  const faults: [name: string, fault: Script, said: string | RegExp][] = [
    ['stall', () => {}, 'not done within 5000 ms'],
    ['reset', (peer) => peer.reset(), /ECONNRESET|closed the connection/],
    ['end', (peer) => peer.end(), 'closed the connection'],
    [
      'garbage',
      (peer) => peer.send('HTTP/1.1 400 Bad Request\r\n\r\n'),
      /wrong version number|packet length/,
    ],
    [
      'over-long',
      (peer) => peer.send(Buffer.concat([Buffer.of(22, 3, 3, 255, 255), Buffer.alloc(70_000)])),
      /length/,
    ],
  ];
  const cases: Promise<void>[] = [];
  for (const { name: way, url, tlsTo, before } of ways) {
    for (const [name, fault, said] of faults) {
      for (const begun of name === 'garbage' || name === 'over-long' ? [0] : [0, 1, hello.length]) {
        const run = t.test(`${way}: ${name} after ${begun} bytes`, async (t) => {
          const peer = await startScriptedProxy(t, async (peer) => {
            await before(peer);
            // The client's first record has come.
            await peer.take(5);
            if (begun > 0) await peer.send(hello.subarray(0, begun));
            await fault(peer);
          });
          const at = `127.0.0.1:${peer.port}`;
          const stalls = name === 'stall';
          const label = url?.replace('user:secret@', at);
          const dialled = dialTo({
            port: peer.port,
            tls: true,
            ...(url === undefined ? {} : { proxy: url + at }),
            timeoutMs: stalls ? 5000 : 20_000,
          });
          const what = tlsTo === 'proxy' ? `TLS with proxy ${label} for ${at}: ` : `TLS with ${at}`;
          const code = tlsTo === 'proxy' ? 'proxy' : stalls ? 'timeout' : 'upstream';
          const error = await refusal(dialled, code, what, label ?? '', said);
          assert.doesNotMatch(error.message, /secret/);
          await peer.closed();
        });
        cases.push(run);
      }
    }
  }
  await Promise.all(cases);
});
