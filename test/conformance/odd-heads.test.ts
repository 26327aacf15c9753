// Heads of upstreams that are odd, but say what they mean: see E.23 of what real servers do.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { get } from '../fixtures/client.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { field, makePackage } from '../fixtures/nar.ts';
import { raw, startUpstream, type TestUpstream, whole } from '../fixtures/upstream.ts';

const one = makePackage('one', { size: 200_000 });
const text = Buffer.from(one.narInfo);

function answer(upstream: TestUpstream, path: string, body: Buffer, ...lines: string[]): void {
  upstream.on(path, raw(`HTTP/1.1 200 OK\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`, body));
}

for (const [name, lines] of [
  [
    'the length twice',
    (length: number) => [`Content-Length: ${length}`, 'X: y', `content-length: ${length}`],
  ],
  ['the length twice in one', (length: number) => [`Content-Length: ${length}, ${length}`]],
  [
    '60 kB of headers',
    (length: number) => [`X: ${'x'.repeat(30_000)}`, `Y: ${'y'.repeat(30_000)}`, `Content-Length: ${length}`],
  ],
  ['3,000 headers', (length: number) => [...Array<string>(3000).fill('A: b'), `Content-Length: ${length}`]],
] as const)
  test(`a head with ${name} is read`, async (t) => {
    const upstream = await startUpstream(t);
    answer(upstream, one.narInfoPath, text, ...lines(text.length));
    answer(upstream, one.narPath, one.file, ...lines(one.file.length));
    const service = await startTestService(t, { upstreams: [upstream.url] });
    const found = await get(service.url, one.narInfoPath);
    assert.equal(found.status, 200, service.log.join('\n'));
    assert.deepEqual((await get(service.url, `/${field(found.text, 'URL')}`)).body, one.file);
  });

for (const [name, lines] of [
  ['two lengths', [`Content-Length: ${text.length}`, 'Content-Length: 7']],
  ['a length and chunks', [`Content-Length: ${text.length}`, 'Transfer-Encoding: chunked']],
  ['70 kB of headers', [`X: ${'x'.repeat(70_000)}`, `Content-Length: ${text.length}`]],
] as const)
  test(`a head with ${name} is refused`, async (t) => {
    const upstream = await startUpstream(t);
    answer(upstream, one.narInfoPath, text, ...lines);
    const service = await startTestService(t, { upstreams: [upstream.url] });
    assert.equal((await get(service.url, one.narInfoPath)).status, 502);
  });

test('a redirect in raw UTF-8 is followed', async (t) => {
  const upstream = await startUpstream(t);
  const location = Buffer.from(`Location: /päckchen/${one.hash}\r\n`);
  upstream.on(one.narInfoPath, raw('HTTP/1.1 302 Found\r\nContent-Length: 0\r\n', location, '\r\n'));
  upstream.on(`/p%C3%A4ckchen/${one.hash}`, whole(one.narInfo));
  const service = await startTestService(t, { upstreams: [upstream.url] });
  assert.equal((await get(service.url, one.narInfoPath)).status, 200);
});
