import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dialTo, refusal } from '../fixtures/dialing.ts';
import { get, startOrigin } from '../fixtures/origin.ts';
import { startScriptedProxy } from '../fixtures/scripted-proxy.ts';
import {
  CREDENTIALS,
  everyCut,
  HELLO,
  REPLIES,
  steps,
  takeCommand,
  takeGreeting,
  takePassword,
  WELCOME,
} from '../fixtures/socks.ts';
import { makeAuthority } from '../fixtures/tls.ts';

for (const tls of [false, true]) {
  test(`${tls ? 'https' : 'http'} upstream: replies split anywhere lead to it`, async (t) => {
    const authority = tls ? makeAuthority() : undefined;
    const origin = await startOrigin(t, authority?.issue('DNS:cache.test'));
    for (const [type, reply] of Object.entries(REPLIES)) {
      // The first two replies are the same for every type of the third.
      for (const step of type === 'IPv4' ? steps : steps.slice(2)) {
        const own = step.name === 'command' ? reply : step.reply;
        for (const cuts of everyCut(own)) {
          const proxy = await startScriptedProxy(t, async (peer) => {
            for (const each of steps) {
              await each.take(peer);
              if (each === step) await peer.send(own, ...cuts);
              else await peer.send(each.name === 'command' ? reply : each.reply);
            }
            await peer.tunnel(origin.port);
          });
          const socket = await dialTo({
            host: 'cache.test',
            port: origin.port,
            tls,
            ca: authority && [authority.ca],
            proxy: `socks5://${CREDENTIALS}@127.0.0.1:${proxy.port}`,
          });
          assert.equal(await get(socket), 'GET /path', `${type}, ${step.name} cut at ${cuts}`);
          await proxy.closed();
        }
      }
    }
  });
}

test('replies that come all at once, and bytes that come with them, are told apart', async (t) => {
  const answer = Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly');
  for (const [type, reply] of Object.entries(REPLIES)) {
    const all = Buffer.concat([HELLO, WELCOME, reply, answer]);
    for (const cuts of everyCut(all.subarray(0, 30))) {
      const proxy = await startScriptedProxy(t, async (peer) => {
        await peer.take(1);
        await peer.send(all, ...cuts);
      });
      const socket = await dialTo({ port: 80, proxy: `socks5://${CREDENTIALS}@127.0.0.1:${proxy.port}` });
      assert.equal(await get(socket), 'early', `${type} cut at ${cuts}`);
    }
  }
});

test('bytes that come with the last reply reach TLS', async (t) => {
  const proxy = await startScriptedProxy(t, async (peer) => {
    await takeGreeting(peer);
    await peer.send(Buffer.of(5, 0));
    await takeCommand(peer);
    // A fatal alert: internal_error.
    await peer.send(Buffer.concat([REPLIES.IPv6, Buffer.of(21, 3, 3, 0, 2, 2, 80)]));
  });
  const url = `socks5://127.0.0.1:${proxy.port}`;
  const dialled = dialTo({ host: 'cache.test', port: 443, tls: true, proxy: url });
  await refusal(dialled, 'upstream', `TLS with cache.test:443 through proxy ${url}`, 'internal error');
  await proxy.closed();
});

test('names go to the proxy as they are, addresses as addresses', async (t) => {
  const table: [host: string, bytes: Buffer][] = [
    ['cache.test', Buffer.of(3, 10, ...Buffer.from('cache.test'))],
    ['x'.repeat(255), Buffer.of(3, 255, ...Buffer.from('x'.repeat(255)))],
    ['192.0.2.1', Buffer.of(1, 192, 0, 2, 1)],
    ['::', Buffer.of(4, ...Array<number>(16).fill(0))],
    ['::1', Buffer.of(4, ...Array<number>(15).fill(0), 1)],
    ['2001:db8::ff00:42:8329', Buffer.from('0420010db8000000000000ff0000428329', 'hex')],
    ['1:2:3:4:5:6:7:8', Buffer.from('0400010002000300040005000600070008', 'hex')],
    ['2001:db8:0:1::', Buffer.from('0420010db8000000010000000000000000', 'hex')],
    ['::ffff:192.0.2.1', Buffer.from('0400000000000000000000ffffc0000201', 'hex')],
  ];
  for (const scheme of ['socks5', 'socks5h']) {
    for (const [host, bytes] of table) {
      let command: Buffer | undefined;
      const proxy = await startScriptedProxy(t, async (peer) => {
        await takeGreeting(peer);
        await peer.send(Buffer.of(5, 0));
        command = await takeCommand(peer);
        await peer.send(REPLIES.IPv4);
      });
      (await dialTo({ host, port: 0x1234, proxy: `${scheme}://127.0.0.1:${proxy.port}` })).destroy();
      assert.deepEqual(command, Buffer.concat([Buffer.of(5, 1, 0), bytes, Buffer.of(0x12, 0x34)]), host);
      await proxy.closed();
    }
  }
});

test('a name longer than SOCKS can say is refused', async (t) => {
  const proxy = await startScriptedProxy(t, () => {});
  const dialled = dialTo({ host: 'x'.repeat(256), port: 80, proxy: `socks5://127.0.0.1:${proxy.port}` });
  await refusal(dialled, 'upstream', 'too long for SOCKS');
  await proxy.closed();
});

test('a password is offered only when there is one, and sent only when it is wanted', async (t) => {
  const greetings: Buffer[] = [];
  const passwords: string[] = [];
  const proxy = await startScriptedProxy(t, async (peer) => {
    const methods = await takeGreeting(peer);
    greetings.push(methods);
    const wanted = greetings.length === 3 ? 2 : 0;
    await peer.send(Buffer.of(5, wanted));
    if (wanted === 2) {
      passwords.push(await takePassword(peer));
      // As some servers do: the version of SOCKS.
      await peer.send(Buffer.of(5, 0));
    }
    await takeCommand(peer);
    await peer.send(REPLIES.IPv4);
  });
  const at = `127.0.0.1:${proxy.port}`;
  for (const url of [`socks5://${at}`, `socks5://user:secret@${at}`, `socks5://%C3%BC:p%40:x@${at}`]) {
    (await dialTo({ port: 80, proxy: url })).destroy();
  }
  await proxy.closed();
  assert.deepEqual(greetings, [Buffer.of(0), Buffer.of(0, 2), Buffer.of(0, 2)]);
  assert.deepEqual(passwords, ['ü:p@:x']);
});
