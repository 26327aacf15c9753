// Of each request one event, when it has ended: what it was for, how it was answered, and how much of the body went out.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { readerOf } from '../../lib/bytes/streams.ts';
import type { Cache } from '../../lib/cache/cache.ts';
import type { Found } from '../../lib/cache/found.ts';
import { parseConfig } from '../../lib/config/config.ts';
import { CacheError } from '../../lib/errors.ts';
import type { CacheEvent } from '../../lib/events.ts';
import { Access } from '../../lib/http/auth.ts';
import { createHandler } from '../../lib/http/handler.ts';
import { startServer } from '../../lib/http/server.ts';
import type { Uploads } from '../../lib/upload/upload.ts';
import { get, type Options } from '../fixtures/client.ts';
import { defer } from '../fixtures/defer.ts';
import { until } from '../fixtures/patience.ts';

const BODY = Buffer.from('0123456789');
const PATH = `/log/${'0'.repeat(32)}-x.drv`;
const FOUND: Found = {
  mime: 'text/plain',
  size: BODY.length,
  sure: true,
  sha256: undefined,
  modified: undefined,
  lasting: false,
  how: 'joined',
  mayBeDamaged: false,
  body: undefined,
  open: (start, end) => readerOf(BODY.subarray(start, end)),
  close: () => {},
};

/** What is told of one request to a cache that finds that. */
async function told(
  t: TestContext,
  path: string,
  find: () => Promise<Found | undefined>,
  options?: Options,
): Promise<CacheEvent[]> {
  const events: CacheEvent[] = [];
  const config = parseConfig('upstreams = []\n[push]\nfrom = ["127.0.0.1"]', { file: '/cache.toml' });
  const handler = createHandler({
    cache: { find, readyFile: () => undefined, hasMisled: () => false } as Partial<Cache> as Cache,
    uploads: { check: async () => {}, put: async () => {} } as Partial<Uploads> as Uploads,
    readAhead: { narAsked: () => {}, narInfoAsked: () => {} },
    cacheInfo: config,
    emit: (event) => void events.push(event),
    access: new Access(config.access, [], new AbortController().signal),
    self: 'me',
    stallMs: 10_000,
  });
  const server = await startServer({ host: '127.0.0.1', port: 0 }, handler);
  defer(t, () => server.stop(0));
  await get(server.url, path, options);
  await until(() => events.some(({ kind }) => kind === 'request'), 'the event');
  return events.map((event) => ('ms' in event ? { ...event, ms: 0 } : event));
}

const request = { kind: 'request', client: '127.0.0.1', method: 'GET', target: PATH, what: 'log', ms: 0 };
const answered = { ...request, status: 200, how: 'joined', whole: true, bytes: BODY.length };

test('an object: the bytes of its body that went out, also of a part, of memory and of none', async (t) => {
  const has = (more: Partial<Found> = {}) => {
    return async () => ({ ...FOUND, ...more });
  };
  assert.deepEqual(await told(t, PATH, has()), [answered]);
  assert.deepEqual(await told(t, PATH, has({ body: BODY, how: 'hit' })), [{ ...answered, how: 'hit' }]);
  assert.deepEqual(await told(t, PATH, has(), { headers: { range: 'bytes=2-4' } }), [
    { ...answered, status: 206, bytes: 3 },
  ]);
  assert.deepEqual(await told(t, PATH, has({ body: BODY }), { method: 'HEAD' }), [
    { ...answered, method: 'HEAD', bytes: 0 },
  ]);
});

test('a body that breaks off: what went out of it, and that it is not whole', async (t) => {
  let pieces = 0;
  const open: Found['open'] = () => ({
    read: async () => {
      if (++pieces > 1) throw new CacheError('upstream', 'broke off');
      return BODY.subarray(0, 4);
    },
    close: () => {},
  });
  const events = await told(t, PATH, async () => ({ ...FOUND, open }));
  assert.deepEqual(events.at(-1), { ...answered, whole: false, bytes: 4 });
});

test('what is no object, what is nowhere, what fails, and what is pushed', async (t) => {
  const none = async () => undefined;
  const sent = { ...request, how: undefined, whole: true, bytes: 0 };
  assert.deepEqual(await told(t, PATH, none), [{ ...sent, status: 404 }]);
  assert.deepEqual(await told(t, '/nix-cache-info', none), [
    { ...sent, target: '/nix-cache-info', what: 'cache-info', status: 200 },
  ]);
  assert.deepEqual(await told(t, '/../x?y', none), [
    { ...sent, target: '/../x?y', what: undefined, status: 400 },
  ]);
  const error = new CacheError('upstream', 'all of them are away');
  const failed = await told(t, PATH, () => Promise.reject(error));
  assert.deepEqual(failed, [
    { kind: 'request-failed', method: 'GET', target: PATH, error },
    { ...sent, status: 502 },
  ]);
  assert.deepEqual(await told(t, PATH, none, { method: 'PUT', body: BODY }), [
    { ...sent, method: 'PUT', status: 200, how: 'put' },
  ]);
});
