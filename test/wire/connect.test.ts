import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dialTo, refusal } from '../fixtures/dialing.ts';
import { get, startOrigin } from '../fixtures/origin.ts';
import { type Script, startScriptedProxy } from '../fixtures/scripted-proxy.ts';
import { makeAuthority } from '../fixtures/tls.ts';

const OK = 'HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n';
const authority = makeAuthority();
const identity = authority.issue('DNS:cache.test', 'IP:127.0.0.1');
const ca = [authority.ca];

/** A proxy that grants every CONNECT with `reply`, cut at these places, and tunnels to the port. */
const granting =
  (port: number, reply: string, ...cuts: number[]): Script =>
  async (peer) => {
    await peer.takeHead();
    await peer.send(reply, ...cuts);
    await peer.tunnel(port);
  };

for (const tlsProxy of [false, true]) {
  for (const tls of [false, true]) {
    const scheme = tlsProxy ? 'https' : 'http';
    const name = `${tls ? 'https' : 'http'} upstream through ${scheme} proxy`;

    test(`${name}: a reply split anywhere leads to the upstream`, async (t) => {
      const origin = await startOrigin(t, tls ? identity : undefined);
      const everywhere = Array.from({ length: OK.length - 1 }, (_, index) => index + 1);
      for (const cuts of [[], everywhere, ...everywhere.map((cut) => [cut])]) {
        const script = granting(origin.port, OK, ...cuts);
        const proxy = await startScriptedProxy(t, script, tlsProxy ? identity : undefined);
        const socket = await dialTo({
          host: 'cache.test',
          port: origin.port,
          tls,
          ca,
          proxy: `${scheme}://127.0.0.1:${proxy.port}`,
        });
        assert.equal(await get(socket), 'GET /path', `cut at ${cuts}`);
        await proxy.closed();
      }
    });
  }
}

test('the request names the target and carries the credentials', async (t) => {
  const heads: string[] = [];
  const proxy = await startScriptedProxy(t, async (peer) => {
    heads.push(await peer.takeHead());
    await peer.send(OK);
  });
  const at = `127.0.0.1:${proxy.port}`;
  (await dialTo({ host: 'cache.test', port: 80, proxy: `http://${at}` })).destroy();
  (await dialTo({ host: '2001:db8::1', port: 443, proxy: `http://%C3%BC:p%40:x@${at}` })).destroy();
  await proxy.closed();
  const basic = Buffer.from('ü:p@:x').toString('base64');
  const agent = 'User-Agent: nix-binary-cache\r\n';
  assert.deepEqual(heads, [
    `CONNECT cache.test:80 HTTP/1.1\r\nHost: cache.test:80\r\n${agent}\r\n`,
    `CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n${agent}Proxy-Authorization: Basic ${basic}\r\n\r\n`,
  ]);
});

test('every form of a good reply is understood', async (t) => {
  const replies = [
    'HTTP/1.0 200 OK\r\n\r\n',
    'HTTP/1.1 200\r\n\r\n',
    'HTTP/1.1 200 \r\n\r\n',
    'HTTP/1.1 299 Whatever: that is\r\n\r\n',
    'HTTP/1.1 200 OK\n\n',
    'HTTP/1.1 200 OK\nVia: x\r\n\n',
    'HTTP/1.1 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n',
    'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n',
    'HTTP/1.1 103 Early Hints\nLink: x\n\nHTTP/1.1 102\r\n\r\nHTTP/1.0 200 OK\r\n\r\n',
    `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(16_000)}\r\n\r\n`,
  ];
  const origin = await startOrigin(t);
  for (const reply of replies) {
    const shown = JSON.stringify(reply.slice(0, 80));
    await t.test(shown, async (t) => {
      const middle = Math.floor(reply.length / 2);
      const everywhere = Array.from({ length: Math.min(reply.length - 1, 300) }, (_, index) => index + 1);
      for (const cuts of [[], [middle], everywhere]) {
        const proxy = await startScriptedProxy(t, granting(origin.port, reply, ...cuts));
        const socket = await dialTo({ port: origin.port, proxy: `http://127.0.0.1:${proxy.port}` });
        assert.equal(await get(socket), 'GET /path');
      }
    });
  }
});

test('bytes that come with the reply reach HTTP', async (t) => {
  const answer = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly';
  const replies = OK + answer;
  const cuts = Array.from({ length: replies.length - 1 }, (_, index) => [index + 1]);
  for (const cut of [[], ...cuts]) {
    const proxy = await startScriptedProxy(t, async (peer) => {
      await peer.takeHead();
      await peer.send(replies, ...cut);
    });
    const socket = await dialTo({ port: 80, proxy: `http://127.0.0.1:${proxy.port}` });
    assert.equal(await get(socket), 'early', `cut at ${cut}`);
  }
});

for (const scheme of ['http', 'https']) {
  test(`bytes that come with the reply of an ${scheme} proxy reach TLS`, async (t) => {
    const proxy = await startScriptedProxy(
      t,
      async (peer) => {
        await peer.takeHead();
        // A fatal alert: internal_error.
        await peer.send(Buffer.concat([Buffer.from(OK), Buffer.of(21, 3, 3, 0, 2, 2, 80)]));
      },
      scheme === 'https' ? identity : undefined,
    );
    const url = `${scheme}://127.0.0.1:${proxy.port}`;
    const dialled = dialTo({ host: 'cache.test', port: 443, tls: true, ca, proxy: url });
    await refusal(dialled, 'upstream', `TLS with cache.test:443 through proxy ${url}`, 'internal error');
    await proxy.closed();
  });
}

test('a refusal is told with the words of the proxy, and blames it only for not letting us in', async (t) => {
  const table: [reply: string, port: number, code: 'proxy' | 'upstream', said: string][] = [
    ['HTTP/1.1 403 Forbidden\r\n\r\n', 443, 'upstream', '443: 403 Forbidden'],
    [
      'HTTP/1.1 403 Forbidden\r\n\r\n',
      80,
      'upstream',
      '80: 403 Forbidden (many proxies allow CONNECT only to port 443)',
    ],
    ['HTTP/1.0 405 Nope\n\n', 80, 'upstream', '80: 405 Nope (many proxies allow CONNECT only to port 443)'],
    ['HTTP/1.1 400\r\n\r\n', 80, 'upstream', '80: 400 (it may be no proxy)'],
    [
      'HTTP/1.0 501 Tor is not an HTTP Proxy\r\n\r\n',
      80,
      'upstream',
      '80: 501 Tor is not an HTTP Proxy (it may be no proxy)',
    ],
    ['HTTP/1.1 404 No such domain\r\n\r\n', 443, 'upstream', '443: 404 No such domain (privoxy says so'],
    ['HTTP/1.1 407 Who?\r\n\r\n', 443, 'proxy', '443: 407 Who? (it wants a user name'],
    ['HTTP/1.0 401 Unauthorized\r\n\r\n', 443, 'proxy', '443: 401 Unauthorized (it wants a user name'],
    ['HTTP/1.1 301 Moved\r\nLocation: x\r\n\r\n', 80, 'upstream', '80: 301 Moved'],
    ['HTTP/1.1 101 Switching\r\n\r\n', 80, 'upstream', '80: 101 Switching'],
    ['HTTP/1.1 500 Oops\r\n\r\n', 80, 'upstream', '80: 500 Oops'],
    ['HTTP/1.1 502 Bad Gateway\r\nContent-Length: 9\r\n\r\n<html>', 80, 'upstream', '80: 502 Bad Gateway'],
    ['HTTP/1.1 100\r\n\r\nHTTP/1.1 503 No DNS\r\n\r\n', 80, 'upstream', '80: 503 No DNS'],
    ['HTTP/1.1 504 Late\r\n\r\n', 80, 'upstream', '80: 504 Late'],
    [`HTTP/1.1 499 ${'x'.repeat(10_000)}\r\n\r\n`, 80, 'upstream', `80: 499 ${'x'.repeat(200)}…`],
  ];
  for (const [reply, port, code, said] of table) {
    await t.test(said.slice(0, 60), async (t) => {
      const cuts = Array.from({ length: Math.min(reply.length - 1, 60) }, (_, index) => index + 1);
      for (const cut of [[], cuts]) {
        const proxy = await startScriptedProxy(t, async (peer) => {
          await peer.takeHead();
          await peer.send(reply, ...cut);
        });
        const url = `http://127.0.0.1:${proxy.port}`;
        await refusal(
          dialTo({ host: 'cache.test', port, proxy: url }),
          code,
          `proxy ${url} refused CONNECT cache.test:${said}`,
        );
        await proxy.closed();
      }
    });
  }
});

test('a 407 says whether credentials are missing or wrong, and never shows them', async (t) => {
  const proxy = await startScriptedProxy(t, async (peer) => {
    await peer.takeHead();
    await peer.send('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
  });
  const at = `127.0.0.1:${proxy.port}`;
  const said = '407 Proxy Authentication Required';
  await refusal(dialTo({ port: 443, proxy: `http://${at}` }), 'proxy', `${said} (it wants a user name`);
  const error = await refusal(
    dialTo({ port: 443, proxy: `http://user:secret@${at}` }),
    'proxy',
    `${said} (user name or password is wrong)`,
  );
  assert.doesNotMatch(error.message, /secret/);
  await proxy.closed();
});

for (const scheme of ['http', 'https']) {
  test(`what an ${scheme} proxy does instead of replying is one clear error, of that target`, {
    concurrency: true,
  }, async (t) => {
    const cases: Promise<void>[] = [];
    const faults: [name: string, fault: Script, code: 'upstream' | 'timeout', said: string | RegExp][] = [
      ['stall', () => {}, 'timeout', 'not done within 5000 ms'],
      ['reset', (peer) => peer.reset(), 'upstream', /ECONNRESET|closed the connection/],
      ['end', (peer) => peer.end(), 'upstream', 'closed the connection'],
    ];
    for (const [name, fault, code, said] of faults) {
      for (const begun of [0, 1, 9, OK.indexOf('\n') + 1, OK.length - 1]) {
        const run = t.test(`${name} after ${begun} bytes`, async (t) => {
          const proxy = await startScriptedProxy(
            t,
            async (peer) => {
              await peer.takeHead();
              if (begun > 0) await peer.send(OK.slice(0, begun));
              await fault(peer);
            },
            scheme === 'https' ? identity : undefined,
          );
          const url = `${scheme}://127.0.0.1:${proxy.port}`;
          const timeoutMs = name === 'stall' ? 5000 : 20_000;
          const dialled = dialTo({ host: 'cache.test', port: 443, proxy: url, ca, timeoutMs });
          await refusal(dialled, code, `proxy ${url}, asked to CONNECT cache.test:443: `, said);
          await proxy.closed();
        });
        cases.push(run);
      }
    }
    await Promise.all(cases);
  });
}

test('what is not HTTP, or does not end, is refused at once', async (t) => {
  const table: [name: string, reply: string | Buffer, said: string][] = [
    ['another protocol', 'SSH-2.0-OpenSSH_9.2', 'does not speak HTTP, its answer begins with "SSH-2.0-'],
    ['one wrong byte', 'h', 'does not speak HTTP, its answer begins with "h"'],
    ['TLS', Buffer.of(21, 3, 3, 0, 2, 2, 70), 'does not speak HTTP, its answer begins with "\\u0015\\u0003'],
    ['another version', 'HTTP/2 200\r\n\r\n', 'does not speak HTTP'],
    ['no status', 'HTTP/1.1 OK\r\n\r\n', 'does not speak HTTP'],
    ['a long status', 'HTTP/1.1 2000 OK\r\n', 'does not speak HTTP'],
    ['an empty line first', '\r\nHTTP/1.1 200 OK\r\n\r\n', 'does not speak HTTP'],
    ['garbage after an interim reply', 'HTTP/1.1 100\r\n\r\ngarbage', 'its answer begins with "garbage"'],
    ['a lot of garbage', 'g'.repeat(100_000), 'does not speak HTTP'],
    ['an endless status line', `HTTP/1.1 200 ${'x'.repeat(20_000)}`, 'longer than 16384 bytes'],
    ['endless headers', `HTTP/1.1 200 OK\r\n${'X: y\r\n'.repeat(4000)}`, 'longer than 16384 bytes'],
    ['a head too long', `HTTP/1.1 200 OK\r\n${'X: y\r\n'.repeat(4000)}\r\n`, 'longer than 16384 bytes'],
    ['endless interim replies', 'HTTP/1.1 100\r\n\r\n'.repeat(1100), 'longer than 16384 bytes'],
    ['too long before the end', `${'HTTP/1.1 100\r\n\r\n'.repeat(1030)}${OK}`, 'longer than 16384 bytes'],
  ];
  for (const [name, reply, said] of table) {
    await t.test(name, async (t) => {
      for (const cut of [[], [Math.floor(reply.length / 2)]]) {
        const proxy = await startScriptedProxy(t, async (peer) => {
          await peer.takeHead();
          await peer.send(reply, ...cut);
        });
        const url = `http://127.0.0.1:${proxy.port}`;
        const dialled = dialTo({ host: 'cache.test', port: 443, proxy: url });
        await refusal(dialled, 'proxy', `proxy ${url}, asked to CONNECT cache.test:443: `, said);
        await proxy.closed();
      }
    });
  }
});
