// A public upstream must not send us into private networks; one that is in such a network may.
import assert from 'node:assert/strict';
import type { RequestListener } from 'node:http';
import { test } from 'node:test';
import { isCacheError } from '../../lib/errors.ts';
import { dial } from '../../lib/wire/dial.ts';
import { isPrivateByName, Whereabouts } from '../../lib/wire/reach.ts';
import { Resolver } from '../../lib/wire/resolve.ts';
import { redirected } from '../../lib/wire/urls.ts';
import { has } from '../fixtures/lookups.ts';
import { startOrigin } from '../fixtures/origin.ts';
import { createWorld, startSite } from '../fixtures/upstreams.ts';
import { startWholeWorld } from '../fixtures/whole-world.ts';

const signal = new AbortController().signal;

test('addresses of this machine and of private networks are known in every form', async () => {
  const hosts = [
    ...[
      '127.0.0.1',
      '127.9.9.9',
      '10.1.2.3',
      '172.16.0.1',
      '172.31.255.255',
      '192.168.1.1',
      '169.254.169.254',
    ],
    ...['0.0.0.0', '100.64.0.1', '::1', '::', 'fe80::1', 'fd12::1', '::ffff:10.0.0.1', '::ffff:127.0.0.1'],
    ...[
      '64:ff9b::7f00:1',
      '224.0.0.1',
      '255.255.255.255',
      'localhost',
      'LOCALHOST',
      'a.localhost',
      'localhost.',
    ],
  ];
  for (const host of hosts) {
    assert.equal(isPrivateByName(host), true, host);
    for (const proxied of [true, false])
      assert.equal(await new Whereabouts(host, proxied).isPrivate(), true, host);
  }
  for (const host of [
    '192.0.2.1',
    '8.8.8.8',
    '172.32.0.1',
    '2001:4860:4860::8888',
    'example.org',
    'localhost.org',
  ]) {
    assert.equal(isPrivateByName(host), false, host);
  }
  // URL() makes an address of every way to write one.
  for (const written of [
    'http://0x7f.1/',
    'http://2130706433/',
    'http://127.1/',
    'http://[::ffff:7f00:1]/',
  ]) {
    assert.equal(isPrivateByName(new URL(written).hostname.replace(/^\[|\]$/g, '')), true, written);
  }
});

test('a name that leads to a private address is not connected to', async () => {
  const target = { host: '127.0.0.1', port: 9, tls: false, onlyPublic: true };
  const refused = (error: unknown) =>
    isCacheError(error, 'upstream') && /private network/.test(error.message);
  await assert.rejects(dial(target, { timeoutMs: 1000, signal }), refused);
  await assert.rejects(dial({ ...target, host: 'localhost' }, { timeoutMs: 1000, signal }), refused);
});

/** Every name is looked up by `address`; `asked` are the names. */
function lookedUp(address: (host: string) => string) {
  const asked: string[] = [];
  const look = async (host: string) => {
    asked.push(host);
    return [{ address: address(host), family: 4 }];
  };
  let time = 0;
  // No answer is believed any longer when the next question comes.
  return { asked, resolver: new Resolver({ look, now: () => (time += 3_600_000) }) };
}

test('nor when only the lookup tells, at the very moment of connecting', async (t) => {
  const { port } = await startOrigin(t);
  const { asked, resolver } = lookedUp(() => '127.0.0.1');
  const target = { host: 'rebound.example.org', port, tls: false };
  const options = { timeoutMs: 10_000, signal, resolver };
  (await dial(target, options)).destroy();
  await assert.rejects(
    dial({ ...target, onlyPublic: true }, options),
    (error) => isCacheError(error, 'upstream') && /private network/.test(error.message),
  );
  assert.deepEqual(asked, ['rebound.example.org', 'rebound.example.org']);
});

test('a name may be looked up as an address of a tunnel, where a literal one is refused', async () => {
  const { resolver } = lookedUp(() => '198.18.0.7');
  const options = { timeoutMs: 10, signal, resolver };
  const target = { host: '198.18.0.7', port: 9, tls: false, onlyPublic: true };
  await assert.rejects(dial(target, options), /private network/);
  const place = new Whereabouts('cache.example.org', false, resolver);
  assert.equal(await place.isPrivate(), false);
  place.answeredOn({ remoteAddress: '198.18.0.7' });
  assert.equal(await place.isPrivate(), false);
  assert.equal(await new Whereabouts('198.18.0.7', false, resolver).isPrivate(), true);
});

/** The upstream answers with this redirect, everybody else that there is nothing. */
const leadingTo = (location: string): RequestListener => {
  return (req, res) => {
    if (req.url === '/x.narinfo') res.writeHead(302, { location }).end();
    else res.writeHead(404).end();
  };
};

test('a redirect of a public upstream into a private network is refused, before anything is sent there', async (t) => {
  for (const location of [
    'http://127.0.0.1:1/y',
    'http://10.0.0.1/y',
    'http://localhost/y',
    'http://[::1]/y',
  ]) {
    const { proxy, targets } = await startWholeWorld(t, leadingTo(location));
    const upstream = createWorld(t).upstream('http://cache.example.org', { proxy });
    await assert.rejects(
      upstream.get(upstream.resolve('x.narinfo'), false, signal),
      (error) => isCacheError(error, 'upstream') && /private network/.test(error.message),
      location,
    );
    assert.deepEqual(targets, ['cache.example.org:80'], location);
  }
});

test('one to another public host is followed, and a private upstream may lead anywhere', async (t) => {
  const elsewhere = await startWholeWorld(t, leadingTo('http://other.example.org/y'));
  const open = createWorld(t).upstream('http://cache.example.org', { proxy: elsewhere.proxy });
  assert.equal(await open.get(open.resolve('x.narinfo'), false, signal), undefined);
  assert.deepEqual(elsewhere.targets, ['cache.example.org:80', 'other.example.org:80']);
  const inside = await startWholeWorld(t, leadingTo('http://127.0.0.1:1/y'));
  const own = createWorld(t).upstream('http://10.9.9.9', { proxy: inside.proxy });
  assert.equal(await own.get(own.resolve('x.narinfo'), false, signal), undefined);
  assert.deepEqual(inside.targets, ['10.9.9.9:80', '127.0.0.1:1']);
});

test('an upstream is where it has answered from, whatever its name is looked up as afterwards', async () => {
  const { asked, resolver } = lookedUp(() => '10.0.0.1');
  const stranger = new Whereabouts('cache.example.org', false, resolver);
  assert.equal(await stranger.isPrivate(), true, 'for want of anything better');
  stranger.answeredOn({ remoteAddress: '192.0.2.1' });
  assert.equal(await stranger.isPrivate(), false);
  assert.equal(await new Whereabouts('cache.example.org', true, resolver).isPrivate(), false);
  assert.deepEqual(asked, ['cache.example.org']);
});

test('whose connection it was decides when a redirect is followed', async (t) => {
  const elsewhere = await startSite(t, has);
  const site = await startSite(t, leadingTo(`${elsewhere.url}/y`));
  let address = '127.0.0.1';
  const { resolver } = lookedUp(() => address);
  const url = site.url.replace('127.0.0.1', 'cache.example.org');
  const upstream = createWorld(t).upstream(url, { resolver });
  // Once it is connected to, its name leads out into the world: what it said came from this machine all the same.
  for (address of ['127.0.0.1', '192.0.2.1']) {
    const answer = await upstream.get(upstream.resolve('x.narinfo'), false, signal);
    assert.ok(answer !== undefined);
    for await (const _ of answer.body);
  }
});

test('a redirect to what is no URL fails, whatever it looks like', () => {
  const from = new URL('https://cache.example.org/x.narinfo');
  for (const location of ['http://[', 'ftp://h/', 'https://a b/', '//', 'https:/\\@:']) {
    assert.throws(
      () => redirected(from, from, location, 0),
      (error) => isCacheError(error, 'upstream'),
      location,
    );
  }
});
