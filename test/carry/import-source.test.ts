import assert from 'node:assert/strict';
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { FolderSource, UpstreamSource } from '../../lib/carry/import-source.ts';
import { isCacheError } from '../../lib/errors.ts';
import type { StoreHash } from '../../lib/nix/store-path.ts';
import { type Owner, temporaryFolder } from '../fixtures/defer.ts';
import { noise } from '../fixtures/nar.ts';
import { output } from '../fixtures/run.ts';
import { type Handler, startUpstream, truncated, whole } from '../fixtures/upstream.ts';
import { createWorld } from '../fixtures/upstreams.ts';

const BODY = noise(500_000, 'body');
const ETAG = { etag: '"1"' };

async function all(chunks: AsyncIterable<Buffer>): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const chunk of chunks) parts.push(Buffer.from(chunk));
  return Buffer.concat(parts);
}

/** What comes of a NAR whose upstream answers so, one request after the other. */
async function read(t: Owner & Parameters<typeof startUpstream>[0], ...answers: Handler[]) {
  const upstream = await startUpstream(t);
  upstream.on('/nar/x.nar', (request, response) => answers.shift()?.(request, response));
  const source = new UpstreamSource(createWorld(t).upstream(upstream.url), new AbortController().signal);
  const body = await all(await source.nar('nar/x.nar'));
  return { body, ranges: upstream.requests.map(({ headers }) => headers.range) };
}

test('what breaks off is continued, also by who sends all of it again', async (t) => {
  const cut = truncated(BODY, 100_000, ETAG);
  const rest: Handler = (request, response) => {
    const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1]);
    const range = { 'content-range': `bytes ${start}-${BODY.length - 1}/${BODY.length}`, ...ETAG };
    response.writeHead(206, range).end(BODY.subarray(start));
  };
  for (const answer of [rest, whole(BODY, ETAG)]) {
    const { body, ranges } = await read(t, cut, answer);
    assert.ok(body.equals(BODY));
    assert.deepEqual(ranges, [undefined, 'bytes=100000-']);
  }
});

test('the rest of another file is not joined to it', async (t) => {
  const changed = read(t, truncated(BODY, 100_000, ETAG), whole(BODY, { etag: '"2"' }));
  await assert.rejects(changed, (error) => isCacheError(error, 'invalid'));
});

test('a narinfo that is no file, or can not be read, is an error of its own path', async (t) => {
  const folder = await temporaryFolder(t);
  const source = new FolderSource(folder);
  const hash = '0'.repeat(32) as StoreHash;
  const file = join(folder, `${hash}.narinfo`);
  assert.equal(await source.narInfo(hash), undefined);
  for (const make of [
    () => mkdir(file),
    () => symlink('/dev/zero', file),
    () => output('mkfifo', [file]),
    () => symlink(file, file),
  ]) {
    await make();
    // What ends the whole import has another code.
    await assert.rejects(
      source.narInfo(hash),
      (error) => isCacheError(error, 'invalid') || isCacheError(error, 'damaged'),
    );
    await rm(file, { recursive: true });
  }
});

test('no URL of a narinfo leads out of the folder', async (t) => {
  const root = await temporaryFolder(t);
  const folder = join(root, 'cache');
  await mkdir(join(folder, 'nar'), { recursive: true });
  await writeFile(join(root, 'secret'), 'secret');
  await writeFile(join(folder, 'nar', 'a b.nar'), 'a NAR');
  const source = new FolderSource(folder);
  for (const url of [
    'nar/a%20b.nar',
    'nar/a b.nar?hash=x',
    'https://other.example.org/files/a%20b.nar',
    '/nar/a b.nar',
  ])
    assert.equal((await all(await source.nar(url))).toString(), 'a NAR', url);
  for (const url of [
    '../secret',
    '%2e%2e/secret',
    'nar/..%2f..%2fsecret',
    `file://${root}/secret`,
    'http://[',
    'a\0',
    '',
  ])
    await assert.rejects(source.nar(url), (error) => isCacheError(error, 'not-found'), url);
});
