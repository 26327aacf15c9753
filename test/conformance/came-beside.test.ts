// Promise 6: what has come into the store while the upstreams say nothing is a hit, though clients wait for their answer.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { get, put } from '../fixtures/client.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { makePackage } from '../fixtures/nar.ts';
import { patiently } from '../fixtures/patience.ts';
import { putBeside } from '../fixtures/put-beside.ts';
import { silent, startUpstream } from '../fixtures/upstream.ts';

test('what another process stores is there in a second, whatever is asked of an upstream that says nothing', async (t) => {
  let now = 0;
  const upstream = await startUpstream(t);
  upstream.otherwise(silent());
  const one = makePackage('imported');
  const service = await startTestService(t, { upstreams: [upstream.url], now: () => now });
  const waiting = [one.narInfoPath, one.narPath].map((path) => get(service.url, path).catch(() => undefined));
  await Promise.all([one.narInfoPath, one.narPath].map((path) => upstream.asked(path)));
  await putBeside(service.dir, one.narPath, one.file);
  await putBeside(service.dir, one.narInfoPath, Buffer.from(one.narInfo));
  now += 1000;
  for (const [path, body] of [
    [one.narInfoPath, Buffer.from(one.narInfo)],
    [one.narPath, one.file],
  ] as const) {
    const reply = await patiently(get(service.url, path), `an answer to ${path}`);
    assert.equal(reply.status, 200, path);
    assert.ok(reply.body.equals(body), path);
  }
  await service.stop();
  await Promise.all(waiting);
});

test('what is pushed is there at once, whatever is asked of an upstream that says nothing', async (t) => {
  const upstream = await startUpstream(t);
  upstream.otherwise(silent());
  const one = makePackage('pushed');
  const log = { path: `/log/${one.base}.drv`, body: Buffer.from('built\n') };
  const service = await startTestService(t, { upstreams: [upstream.url], now: () => 0 });
  const paths = [one.narPath, log.path];
  const waiting = paths.map((path) => get(service.url, path).catch(() => undefined));
  await Promise.all(paths.map((path) => upstream.asked(path)));
  for (const { body, path } of [{ path: one.narPath, body: one.file }, log]) {
    await put(service.url, path, body);
    const reply = await patiently(get(service.url, path), `an answer to ${path}`);
    assert.equal(reply.status, 200, path);
    assert.ok(reply.body.equals(body), path);
  }
  await service.stop();
  await Promise.all(waiting);
});
