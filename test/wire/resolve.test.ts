import assert from 'node:assert/strict';
import { getEventListeners, setMaxListeners } from 'node:events';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { isCacheError } from '../../lib/errors.ts';
import type { Address } from '../../lib/wire/lookups.ts';
import { inTurns, Resolver } from '../../lib/wire/resolve.ts';

const HOST = 'cache.example.org';
const { signal } = new AbortController();
// All that this file asks listens to it, as all that a service asks listens to its stop.
setMaxListeners(0, signal);
const patience = { timeoutMs: 20_000, signal };

/** A resolver whose lookups the test answers, and whose time it moves. */
function scripted() {
  const asked: string[] = [];
  const open = new Map<string, { found: (address: string) => void; failed: (code: string) => void }>();
  let time = 0;
  const look = (host: string) => {
    asked.push(host);
    return new Promise<readonly Address[]>((resolve, reject) => {
      open.set(host, {
        found: (address) => resolve([{ address, family: 4 }]),
        failed: (code) => reject(Object.assign(new Error(code), { code })),
      });
    });
  };
  return {
    asked,
    resolver: new Resolver({ look, now: () => time }),
    pass: (ms: number) => {
      time += ms;
    },
    found: (address: string, host = HOST) => open.get(host)?.found(address),
    failed: (code: string, host = HOST) => open.get(host)?.failed(code),
  };
}

const first = async (found: Promise<readonly Address[]>) => (await found)[0]?.address;

test('an address is its own', async () => {
  const { asked, resolver } = scripted();
  assert.deepEqual(await resolver.addresses('::1', patience), [{ address: '::1', family: 6 }]);
  assert.deepEqual(await resolver.addresses('10.0.0.1', patience), [{ address: '10.0.0.1', family: 4 }]);
  assert.deepEqual(asked, []);
});

test('however many need a name, it is looked up once, and then believed for seconds', async () => {
  const { asked, found, pass, resolver } = scripted();
  const all = Array.from({ length: 25 }, () => first(resolver.addresses(HOST, patience)));
  await turn();
  found('192.0.2.1');
  assert.deepEqual(new Set(await Promise.all(all)), new Set(['192.0.2.1']));
  pass(9000);
  assert.equal(await first(resolver.addresses(HOST, patience)), '192.0.2.1');
  assert.deepEqual(asked, [HOST]);
  pass(2000);
  const next = first(resolver.addresses(HOST, patience));
  await turn();
  found('192.0.2.2');
  assert.equal(await next, '192.0.2.2');
});

test('the last good answer is used when the next is late, and that is not waited for again', async () => {
  const { asked, found, pass, resolver } = scripted();
  const before = first(resolver.addresses(HOST, patience));
  await turn();
  found('192.0.2.1');
  await before;
  pass(11_000);
  const started = performance.now();
  assert.equal(await first(resolver.addresses(HOST, patience)), '192.0.2.1');
  const waited = performance.now() - started;
  assert.ok(waited >= 400, `${waited} ms`);
  pass(1000);
  const again = performance.now();
  for (let i = 0; i < 10; i++) assert.equal(await first(resolver.addresses(HOST, patience)), '192.0.2.1');
  assert.ok(performance.now() - again < 400);
  assert.deepEqual(asked, [HOST, HOST]);
  found('192.0.2.2');
  await turn();
  assert.equal(await first(resolver.addresses(HOST, patience)), '192.0.2.2');
});

test('it is used too when no name server can be asked, but not when they say that there is no such name', async () => {
  const { failed, found, pass, resolver } = scripted();
  const before = first(resolver.addresses(HOST, patience));
  await turn();
  found('192.0.2.1');
  await before;
  for (const [code, expected] of [
    ['EAI_AGAIN', '192.0.2.1'],
    ['ENOTFOUND', undefined],
    ['EAI_AGAIN', undefined],
  ] as const) {
    pass(11_000);
    const next = first(resolver.addresses(HOST, patience)).catch((error) => error.code);
    await turn();
    failed(code);
    assert.equal(await next, expected ?? code);
    // The same for those who come a moment later.
    assert.equal(
      await first(resolver.addresses(HOST, patience)).catch((error) => error.code),
      expected ?? code,
    );
  }
});

test('a name without an answer is given up in time, at once by those who come when that is over, and asked once', async () => {
  const { asked, pass, resolver } = scripted();
  const isLate = (error: unknown) => isCacheError(error, 'timeout') && /no name server/.test(error.message);
  await assert.rejects(resolver.addresses(HOST, { timeoutMs: 50, signal }), isLate);
  pass(60);
  const started = performance.now();
  for (let i = 0; i < 20; i++)
    await assert.rejects(resolver.addresses(HOST, { timeoutMs: 50, signal }), isLate);
  assert.ok(performance.now() - started < 500);
  assert.deepEqual(asked, [HOST]);
});

test('names without an answer hold up no others, wherever they come from', async () => {
  const { asked, found, resolver } = scripted();
  const strangers = Array.from({ length: 50 }, (_, index) =>
    resolver.addresses(`${index}.invalid`, { ...patience, foreign: true }),
  );
  const own = Array.from({ length: 7 }, (_, index) => resolver.addresses(`${index}.example.org`, patience));
  for (const one of [...strangers, ...own]) one.catch(() => {});
  const mine = first(resolver.addresses(HOST, patience));
  await turn();
  found('192.0.2.1');
  assert.equal(await mine, '192.0.2.1');
  assert.equal(asked.length, 16, 'all are bounded');
  // Whoever is led to ever more names is refused.
  const more = Array.from({ length: 100 }, (_, index) =>
    resolver
      .addresses(`${index}.more.invalid`, { ...patience, timeoutMs: 1, foreign: true })
      .catch((error) => error.message),
  );
  assert.match((await Promise.all(more)).at(-1), /too many/);
});

test('the time in the queue is not counted', async () => {
  const { found, resolver } = scripted();
  const others = Array.from({ length: 16 }, (_, index) =>
    resolver.addresses(`${index}.example.org`, patience),
  );
  for (const one of others) one.catch(() => {});
  const mine = first(resolver.addresses(HOST, { timeoutMs: 200, signal }));
  await new Promise((resolve) => setTimeout(resolve, 300));
  found('192.0.2.9', '3.example.org');
  await turn();
  found('192.0.2.1');
  assert.equal(await mine, '192.0.2.1');
});

test('who leaves is let go at once, and the lookup goes on for the others', async () => {
  const { asked, found, resolver } = scripted();
  const leaving = new AbortController();
  const left = resolver.addresses(HOST, { timeoutMs: 20_000, signal: leaving.signal });
  const stays = first(resolver.addresses(HOST, patience));
  await turn();
  leaving.abort(new Error('enough'));
  await assert.rejects(left, /enough/);
  assert.equal(getEventListeners(leaving.signal, 'abort').length, 0);
  found('192.0.2.1');
  assert.equal(await stays, '192.0.2.1');
  assert.equal(asked.length, 1);
});

test('a name with no address is an unknown one', async () => {
  const resolver = new Resolver({ look: async () => [] });
  await assert.rejects(resolver.addresses(HOST, patience), { code: 'ENOTFOUND' });
});

test('the families take turns', () => {
  const of = (text: string) =>
    [...text].map((one) => ({ address: one, family: one === one.toUpperCase() ? 6 : 4 }));
  for (const [given, taken] of [
    ['ABCab', 'AaBbC'],
    ['abcA', 'aAbc'],
    ['aB', 'aB'],
    ['', ''],
  ] as const)
    assert.equal(
      inTurns(of(given))
        .map(({ address }) => address)
        .join(''),
      taken,
    );
});

test('when the service stops nobody waits any longer, but what is known is used', async () => {
  const { found, pass, resolver } = scripted();
  const before = first(resolver.addresses(HOST, patience));
  await turn();
  found('192.0.2.1');
  await before;
  pass(11_000);
  const isStopping = (error: unknown) => isCacheError(error, 'timeout') && /stopping/.test(error.message);
  const waiting = assert.rejects(resolver.addresses('other.example.org', patience), isStopping);
  resolver.hurry();
  await waiting;
  await assert.rejects(resolver.addresses('third.example.org', patience), isStopping);
  const started = performance.now();
  assert.equal(await first(resolver.addresses(HOST, patience)), '192.0.2.1');
  assert.ok(performance.now() - started < 400);
});
