// Upstreams that send us elsewhere: not into private networks, unless they are in one, and never with their credentials.
import assert from 'node:assert/strict';
import type { RequestListener } from 'node:http';
import { test } from 'node:test';
import type { UpstreamConfig } from '../../lib/config/config.ts';
import { parseProxy } from '../../lib/config/proxy.ts';
import { isCacheError } from '../../lib/errors.ts';
import { redirected } from '../../lib/wire/urls.ts';
import { get } from '../fixtures/client.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { makePackage } from '../fixtures/nar.ts';
import { redirect, startUpstream, whole } from '../fixtures/upstream.ts';
import { upstreamConfig } from '../fixtures/upstream-config.ts';
import { startWholeWorld } from '../fixtures/whole-world.ts';

const one = makePackage('elsewhere');
const nar = `${one.narPath}?hash=${one.hash}`;
const CREDENTIALS = { username: 'alice', password: 'wonderland' };

/** Where nobody from outside should lead us, in every way to write it. */
const PRIVATE = [
  '127.0.0.1',
  '10.0.0.1',
  '169.254.169.254',
  '192.168.1.1',
  '[::1]',
  '[::ffff:127.0.0.1]',
  'localhost',
  'x.localhost',
  '2130706433',
  '0x7f.1',
  '0',
];

for (const how of ['a redirect', 'the URL in its narinfo'] as const) {
  test(`${how} of a public upstream leads into no private network, however it is written`, async (t) => {
    let host = '';
    const answer: RequestListener = (req, res) => {
      const at = `http://${host}:9/secret`;
      if (req.url === one.narInfoPath)
        res.end(how === 'a redirect' ? one.narInfo : one.narInfo.replace(/^URL: .*$/m, `URL: ${at}`));
      else if (how === 'a redirect') res.writeHead(302, { location: at }).end();
      else res.writeHead(404).end();
    };
    const { proxy, targets } = await startWholeWorld(t, answer);
    for (host of PRIVATE) {
      const upstream = upstreamConfig('http://cache.example.org', { proxy: parseProxy(proxy) });
      const service = await startTestService(t, { upstreams: [upstream] });
      const reply = await get(service.url, nar);
      assert.equal(reply.status, 502, `${host}: ${reply.text}`);
      assert.ok(!reply.text.includes(host), 'where it led is not for the client');
      await service.logged(/private network/);
    }
    assert.deepEqual(new Set(targets), new Set(['cache.example.org:80']));
  });
}

test('credentials go to the origin of their upstream only, wherever redirects and narinfos lead', async (t) => {
  const [own, other] = [await startUpstream(t), await startUpstream(t)];
  const config: UpstreamConfig = upstreamConfig(own.url, { credentials: CREDENTIALS });
  const service = await startTestService(t, { upstreams: [config] });
  const { narInfo } = makePackage('elsewhere', { url: `${other.url}/first` });
  own.on(one.narInfoPath, redirect('/moved'));
  own.on('/moved', whole(narInfo));
  // The same host, another port; from there back, which is the upstream's own origin again.
  other.on('/first', redirect(`${other.url.replace('//', '//bob:builder@')}/second`));
  other.on('/second', redirect(`${own.url}/third`));
  own.on('/third', redirect(`${other.url}/last`));
  other.on('/last', whole(one.file));
  const reply = await get(service.url, nar);
  assert.equal(reply.status, 200);
  assert.ok(reply.body.equals(one.file));
  const basic = `Basic ${Buffer.from('alice:wonderland').toString('base64')}`;
  assert.deepEqual(
    own.requests.map(({ headers }) => headers.authorization),
    own.requests.map(() => basic),
  );
  assert.deepEqual(
    other.requests.map(({ url }) => url),
    ['/first', '/second', '/last'],
  );
  assert.deepEqual(
    other.requests.map(({ headers }) => headers.authorization),
    [undefined, undefined, undefined],
  );
  for (const { headers } of [...own.requests, ...other.requests]) {
    assert.deepEqual(
      [headers.referer, headers.cookie, headers['proxy-authorization']],
      [undefined, undefined, undefined],
    );
  }
  assert.doesNotMatch(service.log.join(), /wonderland|builder|Basic/);
});

test('a redirect never gives up TLS', () => {
  const from = new URL('https://cache.example.org/x');
  assert.throws(
    () => redirected(from, from, 'http://cache.example.org/x', 0),
    (error) => isCacheError(error, 'upstream'),
  );
});
