import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { get, put } from '../fixtures/client.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { field, makePackage } from '../fixtures/nar.ts';
import { chunked, startUpstream, truncatedChunked, whole } from '../fixtures/upstream.ts';

test('another method is told which ones there are', async (t) => {
  const { url } = await startTestService(t);
  for (const [method, path] of [
    ['POST', '/nix-cache-info'],
    ['DELETE', '/nar/x.nar'],
    ['PUT', '/healthz'],
  ] as const) {
    const { headers, status } =
      method === 'PUT' ? await put(url, path, 'x') : await get(url, path, { method });
    if (method === 'PUT') assert.equal(status, 400, 'of a path that is no file');
    else assert.deepEqual([status, headers.allow], [405, 'GET, HEAD, PUT'], `${method} ${path}`);
  }
  assert.equal((await get(url, '/healthz')).text, 'ok\n');
});

test('HTTP/1.0, which ends a body by closing, can tell one that broke off: by a reset', async (t) => {
  const fields = { FileHash: undefined, FileSize: undefined };
  const one = makePackage('unsized', { size: 300_000, compression: 'gzip', fields });
  const upstream = await startUpstream(t);
  upstream.on(one.narInfoPath, whole(one.narInfo));
  const service = await startTestService(t, { upstreams: [upstream.url] });
  const path = `/${field((await get(service.url, one.narInfoPath)).text, 'URL')}`;
  const { hostname, port } = new URL(service.url);
  for (const [answer, ends] of [
    [truncatedChunked(one.file, 200_000), false],
    [chunked(one.file), true],
  ] as const) {
    upstream.on(one.narPath, answer);
    const socket = connect(Number(port), hostname);
    let bytes = 0;
    let failure: NodeJS.ErrnoException | undefined;
    socket.on('data', (chunk) => {
      bytes += chunk.length;
    });
    socket.on('error', (error) => {
      failure = error;
    });
    const closed = once(socket, 'close').catch(() => once(socket, 'close'));
    socket.write(`GET ${path} HTTP/1.0\r\nHost: x\r\n\r\n`);
    await closed;
    assert.equal(failure?.code, ends ? undefined : 'ECONNRESET', `after ${bytes} bytes`);
    assert.equal(bytes > one.file.length, ends);
  }
});
