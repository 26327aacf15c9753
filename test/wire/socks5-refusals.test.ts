import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dialTo, refusal } from '../fixtures/dialing.ts';
import { type Script, startScriptedProxy } from '../fixtures/scripted-proxy.ts';
import { CREDENTIALS, everyCut, HELLO, steps, takeCommand, takeGreeting } from '../fixtures/socks.ts';

test('a refused method or password is told, and never shows the password', async (t) => {
  const table: [url: string, replies: Buffer[], said: string][] = [
    ['socks5://', [Buffer.of(5, 0xff)], 'it wants authentication'],
    ['socks5://user:secret@', [Buffer.of(5, 0xff)], 'it accepts no user name and password'],
    ['socks5://', [Buffer.of(5, 2)], 'it chose authentication method 2, which was not offered'],
    ['socks5://user:secret@', [Buffer.of(5, 1)], 'it chose authentication method 1, which was not offered'],
    ['socks5://user:secret@', [HELLO, Buffer.of(1, 1)], 'it refused the user name or password (status 1)'],
    [
      'socks5://user:secret@',
      [HELLO, Buffer.of(1, 255)],
      'it refused the user name or password (status 255)',
    ],
  ];
  for (const [url, replies, said] of table) {
    const proxy = await startScriptedProxy(t, async (peer) => {
      for (const [index, reply] of replies.entries()) {
        await steps[index]?.take(peer);
        await peer.send(reply);
      }
    });
    const at = `127.0.0.1:${proxy.port}`;
    const dialled = dialTo({ host: 'cache.test', port: 80, proxy: `${url}${at}` });
    const error = await refusal(dialled, 'proxy', `proxy socks5://${at}, greeted for cache.test:80: ${said}`);
    assert.doesNotMatch(error.message, /secret/);
    await proxy.closed();
  }
});

test('a refused command is told in words, even when nothing follows the code, and blames the target', async (t) => {
  const table: [reply: number, code: 'upstream', said: string][] = [
    [1, 'upstream', 'general failure (SOCKS reply 1)'],
    [2, 'upstream', 'not allowed by its rules (SOCKS reply 2)'],
    [3, 'upstream', 'network unreachable (SOCKS reply 3)'],
    [4, 'upstream', 'host unreachable (SOCKS reply 4)'],
    [5, 'upstream', 'connection refused (SOCKS reply 5)'],
    [6, 'upstream', 'TTL expired (SOCKS reply 6)'],
    [7, 'upstream', 'command not supported (SOCKS reply 7)'],
    [8, 'upstream', 'address type not supported (SOCKS reply 8)'],
    [0x5b, 'upstream', 'unknown reason (SOCKS reply 91)'],
  ];
  for (const [reply, code, said] of table) {
    for (const bytes of [Buffer.of(5, reply), Buffer.of(5, reply, 0, 1, 0, 0, 0, 0, 0, 0)]) {
      for (const cuts of everyCut(bytes.subarray(0, 4))) {
        const proxy = await startScriptedProxy(t, async (peer) => {
          await takeGreeting(peer);
          await peer.send(Buffer.of(5, 0));
          await takeCommand(peer);
          await peer.send(bytes, ...cuts);
        });
        const url = `socks5h://127.0.0.1:${proxy.port}`;
        const dialled = dialTo({ host: 'cache.test', port: 80, proxy: url });
        await refusal(dialled, code, `proxy ${url} refused to connect to cache.test:80: ${said}`);
        await proxy.closed();
      }
    }
  }
});

test('what a proxy does instead of replying is one clear error', { concurrency: true }, async (t) => {
  const faults: [name: string, fault: Script, said: string | RegExp][] = [
    ['stall', () => {}, 'not done within 5000 ms'],
    ['reset', (peer) => peer.reset(), /ECONNRESET|closed the connection/],
    ['end', (peer) => peer.end(), 'closed the connection'],
    [
      'garbage',
      (peer) => peer.send('HTTP/1.1 400 Bad Request\r\n'),
      'its answer begins with "HTTP/1.1 400 Bad Request',
    ],
    ['a lot of garbage', (peer) => peer.send('x'.repeat(100_000)), 'its answer begins with "xxx'],
  ];
  const cases: Promise<void>[] = [];
  for (const [name, fault, said] of faults) {
    for (const step of steps) {
      const garbage = name.includes('garbage');
      for (const begun of garbage ? [0] : [0, 1, step.reply.length - 1]) {
        const run = t.test(`${step.name}: ${name} after ${begun} bytes`, async (t) => {
          const proxy = await startScriptedProxy(t, async (peer) => {
            for (const each of steps) {
              await each.take(peer);
              if (each === step) break;
              await peer.send(each.reply);
            }
            if (begun > 0) await peer.send(step.reply.subarray(0, begun));
            await fault(peer);
          });
          const at = `127.0.0.1:${proxy.port}`;
          const dialled = dialTo({
            host: 'cache.test',
            port: 80,
            proxy: `socks5://${CREDENTIALS}@${at}`,
            timeoutMs: name === 'stall' ? 5000 : 20_000,
          });
          const hangsUp = name === 'reset' || name === 'end';
          // `ssh -D` has no other way to say that it can't reach the target.
          const broken = hangsUp && step.name === 'command' ? 'upstream' : 'proxy';
          const code = name === 'stall' ? step.late : broken;
          await refusal(dialled, code, `proxy socks5://${at}, ${step.doing} cache.test:80: `, said);
          await proxy.closed();
        });
        cases.push(run);
      }
    }
  }
  await Promise.all(cases);
});

test('an address of an unknown type is refused at once', async (t) => {
  const proxy = await startScriptedProxy(t, async (peer) => {
    await takeGreeting(peer);
    await peer.send(Buffer.of(5, 0));
    await takeCommand(peer);
    await peer.send(Buffer.of(5, 0, 0, 2, 0));
  });
  const dialled = dialTo({ port: 80, proxy: `socks5://127.0.0.1:${proxy.port}` });
  await refusal(dialled, 'proxy', 'its answer has the unknown address type 2');
  await proxy.closed();
});
