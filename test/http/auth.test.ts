// Who may do what: by address, by token, through proxies that are trusted and through others.
import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { test } from 'node:test';
import { type AccessConfig, parseConfig, type Right } from '../../lib/config/config.ts';
import { digestOf } from '../../lib/config/secrets.ts';
import { isCacheError } from '../../lib/errors.ts';
import { Access } from '../../lib/http/auth.ts';

const TOKENS = {
  pull: 'pull-pull-pull-pull',
  push: 'push:push:push:push',
  admin: 'admin-admin-admin-admin',
} as const;

function accessBy(text: string): Access {
  const { access } = parseConfig(text, { file: '/cache.toml' });
  return new Access(access, tokensOf(access), new AbortController().signal);
}

function tokensOf({ tokens }: AccessConfig) {
  return tokens.map(({ name, secret, allow }) => {
    assert.ok('token' in secret);
    return { name, allow, digest: digestOf(secret.token) };
  });
}

const tokenTables = Object.entries(TOKENS)
  .map(([right, token]) => `[[tokens]]\nname = "${right}"\ntoken = "${token}"\nallow = ["${right}"]\n`)
  .join('');

function from(remoteAddress: string | undefined, headers = {}): IncomingMessage {
  return { socket: { remoteAddress }, headers } as unknown as IncomingMessage;
}

/** What becomes of a request: it may, or the code of the refusal. */
async function verdict(access: Access, req: IncomingMessage, right: Right): Promise<string> {
  try {
    await access.check(req, right);
    return 'may';
  } catch (error) {
    assert.ok(isCacheError(error), String(error));
    for (const token of Object.values(TOKENS)) assert.ok(!error.message.includes(token), error.message);
    return error.code;
  }
}

const basic = (user: string, password: string) => ({
  authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
});

const LOCAL = ['127.0.0.1', '127.1.2.3', '::1', '::ffff:127.0.0.1'];
const ELSEWHERE = [
  ...['192.0.2.1', '10.0.0.1', '126.255.255.255', '128.0.0.1', '0.0.0.0', '::', '::2', 'fe80::1%eth0'],
  ...['2001:db8::7f00:1', '::ffff:192.0.2.1', '::ffff:128.0.0.1', '::127.0.0.1'],
  // The client has gone already.
  ...[undefined, ''],
];

test('without configuration nobody may push without a token, and everybody may read', async () => {
  const access = accessBy('');
  for (const address of [...LOCAL, ...ELSEWHERE]) {
    assert.equal(await verdict(access, from(address), 'push'), 'unauthorized', address);
    assert.equal(access.check(from(address), 'pull'), undefined, 'reading an open cache waits for nothing');
  }
});

test('where [push] from names this machine, it may push, nobody else', async () => {
  const access = accessBy('[push]\nfrom = ["127.0.0.0/8", "::1"]');
  for (const address of LOCAL) {
    assert.equal(await verdict(access, from(address), 'push'), 'may', address);
    assert.equal(await verdict(access, from(address), 'admin'), 'unauthorized', address);
    for (const header of ['x-forwarded-for', 'forwarded', 'via', 'origin']) {
      const spoken = from(address, { [header]: '' });
      assert.equal(await verdict(access, spoken, 'push'), 'unauthorized', `${address} with ${header}`);
    }
  }
  for (const address of ELSEWHERE) {
    assert.equal(await verdict(access, from(address), 'push'), 'unauthorized', address);
  }
});

test('a token may do what it may, as the password of any user or as a Bearer', async () => {
  const access = accessBy(`read = "token"\n${tokenTables}`);
  const rights: Right[] = ['pull', 'push', 'admin'];
  for (const [i, has] of rights.entries()) {
    const token = TOKENS[has];
    const ways = [
      ...[basic('', token), basic('x', token), basic('ü', token)],
      ...[{ authorization: `Bearer ${token}` }, { authorization: ` bEARER  ${token} ` }],
    ];
    for (const headers of ways) {
      for (const [j, wants] of rights.entries()) {
        const expected = i >= j ? 'may' : 'forbidden';
        assert.equal(await verdict(access, from('192.0.2.1', headers), wants), expected, `${has} ${wants}`);
      }
    }
  }
});

test('no token, a wrong one and a header that is none are refused, also on this machine', async () => {
  const access = accessBy(`read = "token"\n${tokenTables}`);
  const headers = [
    ...[{}, basic('x', ''), basic('x', `${TOKENS.push} `), basic(TOKENS.push, ''), basic('x', 'wrong')],
    ...[
      'Basic',
      'Bearer',
      'Basic !!!',
      `Digest ${TOKENS.push}`,
      TOKENS.push,
      'Basic ',
      `Bearer a ${TOKENS.push}`,
    ].map((authorization) => ({ authorization })),
  ];
  for (const [i, header] of headers.entries()) {
    // Each from an address of its own, or it would have to wait.
    const request = from(`192.0.2.${i + 1}`, header);
    assert.equal(await verdict(access, request, 'push'), 'unauthorized', JSON.stringify(header));
    assert.equal(await verdict(access, from(`127.0.1.${i + 1}`, header), 'pull'), 'unauthorized');
  }
});

test('thousands of others are all refused: a token is compared to its end', async () => {
  const access = accessBy(tokenTables);
  const near = [...TOKENS.push].flatMap((_, at) => ['', 'x'].map((c) => TOKENS.push.slice(0, at) + c));
  const many = Array.from({ length: 3000 }, (_, i) => `${TOKENS.push}${i}`);
  for (const [i, token] of [...near, ...many].entries()) {
    const request = from(`10.${i >> 8}.${i & 255}.1`, basic('x', token));
    assert.equal(await verdict(access, request, 'push'), 'unauthorized', token);
  }
  assert.equal(await verdict(access, from('192.0.2.1', basic('x', TOKENS.push)), 'push'), 'may');
});

test('address ranges may push and read without a token, but never administer', async () => {
  const access = accessBy(`read = "token"\n${tokenTables}[push]\nfrom = ["10.0.0.0/8", "fd00::/16"]`);
  for (const address of ['10.1.2.3', '::ffff:10.0.0.1', 'fd00::1']) {
    assert.equal(await verdict(access, from(address), 'push'), 'may');
    assert.equal(await verdict(access, from(address), 'pull'), 'may');
    assert.equal(await verdict(access, from(address), 'admin'), 'unauthorized');
    assert.equal(await verdict(access, from(address, { origin: 'http://evil' }), 'push'), 'unauthorized');
  }
  assert.equal(await verdict(access, from('127.0.0.1'), 'push'), 'unauthorized');
  assert.equal(await verdict(access, from('fd01::1'), 'push'), 'unauthorized');
});

test('a trusted proxy says who its client is; the client can make up nothing', async () => {
  const access = accessBy(
    'trusted_proxies = ["127.0.0.1", "10.9.0.0/16"]\n[push]\nfrom = ["10.0.0.0/8", "127.0.0.1"]',
  );
  const through = (peer: string, forwarded: string) => from(peer, { 'x-forwarded-for': forwarded });
  const cases: [IncomingMessage, string, string][] = [
    [through('127.0.0.1', '10.1.1.1'), '10.1.1.1', 'may'],
    [through('127.0.0.1', '192.0.2.1'), '192.0.2.1', 'unauthorized'],
    [through('127.0.0.1', '10.1.1.1, 192.0.2.1'), '192.0.2.1', 'unauthorized'],
    [through('127.0.0.1', '192.0.2.1, 10.1.1.1'), '10.1.1.1', 'may'],
    [through('127.0.0.1', '192.0.2.1,10.9.1.1 , 127.0.0.1'), '192.0.2.1', 'unauthorized'],
    // No client is named: the proxy nearest to it may be told nothing by one that nobody knows of.
    [through('127.0.0.1', '10.9.1.1'), '10.9.1.1', 'unauthorized'],
    [through('127.0.0.1', '127.0.0.1'), '127.0.0.1', 'unauthorized'],
    [through('127.0.0.1', '10.1.1.1, 127.0.0.1'), '10.1.1.1', 'may'],
    [through('127.0.0.1', '[::ffff:10.1.1.1]:999'), '10.1.1.1', 'may'],
    [through('127.0.0.1', '10.1.1.1:999'), '10.1.1.1', 'may'],
    [through('127.0.0.1', 'unknown'), '127.0.0.1', 'unauthorized'],
    [through('127.0.0.1', ''), '127.0.0.1', 'unauthorized'],
    [through('10.1.1.1', '10.1.1.2'), '10.1.1.1', 'unauthorized'],
    [from('127.0.0.1', { via: '1.1 x' }), '127.0.0.1', 'unauthorized'],
    [from('127.0.0.1'), '127.0.0.1', 'unauthorized'],
    [from('10.9.1.1'), '10.9.1.1', 'unauthorized'],
    [from('10.1.1.1'), '10.1.1.1', 'may'],
  ];
  for (const [request, address, expected] of cases) {
    const label = `${request.socket.remoteAddress} for ${request.headers['x-forwarded-for']}`;
    assert.equal(access.addressOf(request), address, label);
    assert.equal(await verdict(access, request, 'push'), expected, label);
  }
});

test('another configuration holds from the next request on', async () => {
  const access = accessBy(tokenTables);
  const request = from('192.0.2.1', basic('', TOKENS.push));
  assert.equal(await verdict(access, request, 'push'), 'may');
  const { access: other } = parseConfig('', { file: '/cache.toml' });
  access.reconfigure(other, []);
  assert.equal(await verdict(access, request, 'push'), 'unauthorized');
});
