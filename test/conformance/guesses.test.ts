// Whoever guesses tokens is slowed, and nobody else.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { get, open } from '../fixtures/client.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { basic, type Headers, tokenTable } from '../fixtures/tokens.ts';

const PULL = 'pull-0123456789abcdef';
const WRONG = 'wrong-0123456789abcdef';
const CLOSED = `read = "token"\n${tokenTable('reader', PULL, 'pull')}`;

test('guesses: ten cost nothing, then every attempt of the address waits; a right one frees nobody but itself', async (t) => {
  const toml = `trusted_proxies = ["127.0.0.1"]\n${CLOSED}`;
  const service = await startTestService(t, { toml });
  const attempt = async (token: string, address: string) => {
    const headers = { ...basic(token), 'x-forwarded-for': address };
    const started = performance.now();
    const { status } = await get(service.url, '/nix-cache-info', { headers });
    return { status, ms: performance.now() - started };
  };
  for (let i = 0; i < 10; i++) assert.equal((await attempt(WRONG, '192.0.2.1')).status, 401);
  const guess = await attempt(WRONG, '192.0.2.1');
  assert.ok(guess.status === 401 && guess.ms >= 240, `${guess.ms} ms`);
  assert.deepEqual((await attempt(PULL, '192.0.2.2')).status, 200);
  const right = await attempt(PULL, '192.0.2.1');
  assert.ok(right.status === 200 && right.ms >= 490, `${right.ms} ms`);
  // Whoever has one token could guess another between two uses of their own.
  const next = await attempt(WRONG, '192.0.2.1');
  assert.ok(next.status === 401 && next.ms >= 490, `${next.ms} ms`);
  // But others behind the address, whose clients are set up well, do not notice: by now a wait would be a second each.
  const started = performance.now();
  for (let i = 0; i < 50; i++) assert.equal((await attempt(PULL, '192.0.2.1')).status, 200);
  assert.ok(performance.now() - started < 10_000);
  assert.ok(![PULL, WRONG].some((token) => service.log.join().includes(token)));
});

test('guesses: a flood of them is refused without being looked at, and nobody else waits for it', async (t) => {
  const service = await startTestService(t, { toml: `trusted_proxies = ["127.0.0.1"]\n${CLOSED}` });
  const from = (address: string, token: string) => ({ ...basic(token), 'x-forwarded-for': address });
  const ask = (headers: Headers) => open(service.url, '/nix-cache-info', { headers });
  for (let i = 0; i < 10; i++) assert.equal((await ask(from('192.0.2.1', WRONG))).status, 401);
  let waiting = 0;
  const flood = Array.from({ length: 40 }, () => {
    waiting++;
    return ask(from('192.0.2.1', WRONG)).finally(() => waiting--);
  });
  await service.logged(/too many wrong tokens came from 192\.0\.2\.1/);
  // One more is refused at once, though it is right: it would have to wait behind twenty.
  assert.equal((await ask(from('192.0.2.1', PULL))).status, 401);
  assert.equal((await ask(from('192.0.2.2', PULL))).status, 200);
  assert.ok(waiting >= 10, `${waiting} wait`);
  for (const { status } of await Promise.all(flood)) assert.equal(status, 401);
});
