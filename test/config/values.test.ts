import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConfig } from '../../lib/config/config.ts';
import { parseListen } from '../../lib/config/values.ts';
import { FILE, messageOf, mistakes, NIXOS_KEY } from '../fixtures/config-text.ts';

test('URLs are normalised', () => {
  for (const [written, normalised] of [
    ['https://cache.nixos.org/', 'https://cache.nixos.org'],
    ['HTTPS://Cache.NixOS.org:443', 'https://cache.nixos.org'],
    ['http://host:80///', 'http://host'],
    ['https://host:80/Nix/Store//', 'https://host:80/Nix/Store'],
    ['https://user@host:8443/a//b', 'https://host:8443/a//b'],
    ['https://host/a/../b%20c', 'https://host/b%20c'],
    ['http://[::1]:5000', 'http://[::1]:5000'],
    [`https://host/${'a'.repeat(287)}/`, `https://host/${'a'.repeat(287)}`],
  ] as const) {
    const [only] = parseConfig(`[[upstreams]]\nurl = '${written}'`, { file: FILE }).upstreams;
    assert.equal(only?.url, normalised);
  }
});

test('credentials are taken from the URL and decoded', () => {
  for (const [written, username, password] of [
    ['user:pass', 'user', 'pass'],
    ['user', 'user', ''],
    [':token', '', 'token'],
    ['a%20b:c%3Ad%40%25', 'a b', 'c:d@%'],
    ['%E4%BD%A0:p:q', '你', 'p:q'],
  ] as const) {
    const [only] = parseConfig(`[[upstreams]]\nurl = "https://${written}@host"`, { file: FILE }).upstreams;
    assert.deepEqual(only?.credentials, { username, password });
    assert.equal(only?.url, 'https://host');
  }
});

test('bad values are refused', () => {
  for (const [key, bad] of [
    [
      'store_dir',
      ['', '/', 'nix/store', '/nix/store/', '/nix/../store', '/nix/..', '/./nix', '/nix//store', '/a\\nb'],
    ],
    ['cache_dir', ['', 'a\\u0000b']],
    ['listen', ['', 'localhost']],
  ] as const) {
    for (const value of bad)
      assert.match(mistakes(`${key} = "${value}"`), new RegExp(`^1: ${key}: found .*expected`));
  }
  for (const url of [
    '',
    'cache.nixos.org',
    'ftp://host',
    'file:///nix/cache',
    'https:host',
    'https:/host',
    'https://',
    'https:///path',
    'https://:443',
    'https://user@',
    'https://host:99999',
    'https://host:0',
    'https://host:x',
    'https://ho st',
    'https://host/a b',
    'https://host/\\n',
    ' https://host',
    'https:\\\\\\\\host',
    'https://host\\\\path',
    'https://[::1',
    'https://host?priority=10',
    'https://host?',
    'https://host/#top',
    'https://u%zz:p@host',
    'https://u%3Av:p@host',
    'https://u:%0A@host',
    `https://host/${'a'.repeat(288)}`,
  ]) {
    const found = mistakes(`[[upstreams]]\nurl = "${url}"`);
    assert.match(found, /^2: upstreams\[0\]\.url: found .*, expected .*$/, url);
  }
  for (const proxy of ['', 'ftp://127.0.0.1:21', 'socks4://127.0.0.1:1080', 'http://127.0.0.1:99999']) {
    const found = mistakes(`[[upstreams]]\nurl = "https://a"\nproxy = "${proxy}"`);
    assert.match(found, /^3: upstreams\[0\]\.proxy: .+$/, proxy);
  }
});

test('durations are read in every unit, and nothing else is one', () => {
  const read = (key: string, text: string) => parseConfig(`${key} = ${text}`, { file: FILE });
  for (const [text, ms] of [
    ['0ms', 0],
    ['0s', 0],
    ['1500ms', 1500],
    ['090s', 90_000],
    ['2m', 120_000],
    ['1h', 3_600_000],
    ['24d', 24 * 86_400_000],
  ] as const) {
    assert.equal(read('negative_ttl', `"${text}"`).negativeTtlMs, ms, text);
  }
  const bad = [
    '""',
    '"5"',
    '5',
    '"s"',
    '"-1s"',
    '"1.5s"',
    '"1 s"',
    '" 1s"',
    '"1S"',
    '"1w"',
    '"25d"',
    '"1e3s"',
  ];
  for (const text of [...bad, '"99999999999ms"', '"9999999999d"', '"1h30m"']) {
    assert.match(
      mistakes(`negative_ttl = ${text}`),
      /^1: negative_ttl: found .*, expected a (?:string in quotes|duration .* from "0ms" to "24d")$/,
      text,
    );
  }
  for (const key of ['connect_timeout', 'first_byte_timeout', 'stall_timeout']) {
    assert.match(mistakes(`${key} = "0s"`), /found "0s", expected .* from "1ms" to "24d"$/);
  }
});

test('what is no public key is refused, and a secret one pasted by mistake is not shown', () => {
  const secret = `own-1:${'SECRET+/'.repeat(10)}SECRET==`;
  const found = mistakes(
    '[[upstreams]]',
    'url = "https://a"',
    `public_keys = ["${secret}", 1, "${secret.slice(6)}"]`,
  );
  const expected = 'expected a public key "name:base64", the base64 of 32 bytes';
  assert.deepEqual(found.split('\n'), [
    `3: upstreams[0].public_keys[0]: found "own-1:***", ${expected}`,
    '3: upstreams[0].public_keys[1]: found 1, expected a string in quotes',
    `3: upstreams[0].public_keys[2]: found "***", ${expected}`,
  ]);
  assert.match(
    mistakes('[[upstreams]]', 'url = "https://a"', `public_keys = "${NIXOS_KEY}"`),
    /expected an array of public keys, each "name:base64"$/,
  );
});

test('listen addresses are read', () => {
  for (const [text, host, port] of [
    [':8080', undefined, 8080],
    ['8080', undefined, 8080],
    [':0', undefined, 0],
    [':65535', undefined, 65535],
    ['127.0.0.1:8080', '127.0.0.1', 8080],
    ['0.0.0.0:80', '0.0.0.0', 80],
    ['[::1]:8080', '::1', 8080],
    ['[::]:8080', '::', 8080],
    ['[fe80::1%eth0]:8080', 'fe80::1%eth0', 8080],
    ['localhost:8080', 'localhost', 8080],
    ['my_host.example.org:1', 'my_host.example.org', 1],
  ] as const) {
    assert.deepEqual(parseListen(text), { host, port }, text);
  }
});

test('what is no listen address is refused', () => {
  for (const text of [
    ...['', ':', 'localhost', 'localhost:', '127.0.0.1', '::1', '::1:8080', '[::1]', '[::1]8080', '[]:8080'],
    ...[
      '[127.0.0.1]:80',
      '[::g]:80',
      '1.2.3:80',
      '1.2.3.400:80',
      '-a:80',
      'a-:80',
      'a b:80',
      'a/b:80',
      'ü:80',
    ],
    ...[
      ':65536',
      ':-1',
      ':+1',
      ':1.5',
      ':0x10',
      ': 80',
      ':80 ',
      '80\n',
      ':999999999999',
      'http://localhost:80',
      '*:80',
    ],
  ]) {
    assert.match(
      messageOf(() => parseListen(text)),
      /^found ".*", expected "\[host\]:port" such as/,
      text,
    );
  }
});

test('sizes: binary and decimal units, with or without a space', () => {
  const sizeOf = (text: string) => parseConfig(`max_spool_size = "${text}"`, { file: FILE }).maxSpoolBytes;
  assert.equal(sizeOf('512 MiB'), 512 * 2 ** 20);
  assert.equal(sizeOf('1.5TB'), 1.5e12);
  assert.equal(sizeOf('1 B'), 1);
  for (const bad of ['', '5', '5 gib', '-1 GiB', '0 B', '1e3 MB', '1,5 GiB', '999999999 TiB', 'GiB']) {
    assert.match(
      mistakes(`max_spool_size = "${bad}"`),
      /^1: max_spool_size: found .*, expected a size such as/,
    );
  }
});
