import assert from 'node:assert/strict';
import { get, type RequestListener } from 'node:http';
import { test } from 'node:test';
import { banIn } from '../../lib/upstream/forbidden.ts';
import type { Owner } from '../fixtures/defer.ts';
import { patiently } from '../fixtures/patience.ts';
import { startSite } from '../fixtures/upstreams.ts';

async function banOf(t: Owner, listener: RequestListener): Promise<string | undefined> {
  const { url } = await startSite(t, listener);
  const found = new Promise<string | undefined>((resolve, reject) => {
    get(url, { agent: false }, (response) => resolve(banIn(response))).on('error', reject);
  });
  return await patiently(found, 'the verdict');
}

const xml = (code: string, message = 'x') =>
  `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${message}</Message></Error>`;

test('a 403 is a miss or says something of whoever asks', async (t) => {
  const misses: [string, string | undefined][] = [
    ['', undefined],
    ['', 'text/plain'],
    ['Forbidden', 'text/plain'],
    ['{"error":"forbidden"}', 'application/json'],
    [xml('AccessDenied', 'Access Denied'), 'application/xml'],
    [xml('NoSuchKey'), 'application/xml'],
    [xml('AccessDenied', 'Access Denied'), undefined],
    [xml('BlobNotFound'), 'application/xml'],
  ];
  for (const [body, type] of misses) {
    const headers = type === undefined ? {} : { 'content-type': type };
    const ban = await banOf(t, (_, res) => void res.writeHead(403, headers).end(body));
    assert.equal(ban, undefined, `${type}: ${body}`);
  }
  const bans: [string, string | undefined, RegExp][] = [
    ['<h1>no</h1>', 'text/html', /web page/],
    ['<h1>no</h1>', 'Text/HTML; charset=utf-8', /web page/],
    ['<p/>', 'application/xhtml+xml', /web page/],
    ['\n<!DOCTYPE html><html></html>', undefined, /web page/],
    ['<HTML><body>', 'text/plain', /web page/],
    ...[
      'RequestTimeTooSkewed',
      'ExpiredToken',
      'SignatureDoesNotMatch',
      'InvalidAccessKeyId',
      'InvalidToken',
      // Of accounts, of buckets, of how often; and of stores that nobody here knows.
      'SlowDown',
      'RequestLimitExceeded',
      'AllAccessDisabled',
      'UserDisable',
      'SomethingNew',
    ].map((code): [string, string, RegExp] => [xml(code), 'application/xml', new RegExp(code)]),
    [xml('AccessDenied', 'Request has expired'), 'application/xml', /expired/],
  ];
  for (const [body, type, why] of bans) {
    const headers = type === undefined ? {} : { 'content-type': type };
    const ban = await banOf(t, (_, res) => void res.writeHead(403, headers).end(body));
    assert.match(ban ?? 'a miss', why, `${type}: ${body}`);
  }
});

test('no more than the beginning of its body is read, and a body that hangs or breaks off is not waited for long', async (t) => {
  const endless: RequestListener = (_, res) => {
    res.writeHead(403);
    const more = () => {
      while (!res.destroyed && res.write('x'.repeat(10_000)));
    };
    res.on('drain', more);
    more();
  };
  const hanging: RequestListener = (_, res) => void res.writeHead(403).write('For');
  const broken: RequestListener = (_, res) => {
    res.writeHead(403, { 'content-length': 100 }).write(xml('ExpiredToken'), () => res.destroy());
  };
  const limited: RequestListener = (_, res) =>
    void res.writeHead(403, { 'retry-after': '60', 'content-type': 'text/plain' }).end('Forbidden');
  assert.match((await banOf(t, limited)) ?? 'a miss', /Retry-After/);
  assert.equal(await banOf(t, endless), undefined);
  assert.equal(await banOf(t, hanging), undefined);
  assert.equal(await banOf(t, broken), 'ExpiredToken');
});
