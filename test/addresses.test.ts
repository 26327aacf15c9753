// Ranges of addresses: what is one, what is in it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  Addresses,
  isPrivate,
  isPrivateAnswer,
  LOOPBACK,
  parseAddressRange,
  plainAddress,
} from '../lib/addresses.ts';

function among(...texts: string[]): Addresses {
  return new Addresses(
    texts.map((text) => {
      const range = parseAddressRange(text);
      assert.ok(range !== undefined, text);
      return range;
    }),
  );
}

test('a range is an address with or without a prefix', () => {
  assert.deepEqual(parseAddressRange('10.0.0.0/8'), { address: '10.0.0.0', prefix: 8, family: 'ipv4' });
  assert.deepEqual(parseAddressRange('10.1.2.3'), { address: '10.1.2.3', prefix: 32, family: 'ipv4' });
  assert.deepEqual(parseAddressRange('0.0.0.0/0'), { address: '0.0.0.0', prefix: 0, family: 'ipv4' });
  assert.deepEqual(parseAddressRange('FD00::/8'), { address: 'FD00::', prefix: 8, family: 'ipv6' });
  assert.deepEqual(parseAddressRange('::1'), { address: '::1', prefix: 128, family: 'ipv6' });
});

test('anything else is none', () => {
  const none = [
    ...[
      '',
      '/',
      '10',
      '10.0.0',
      '10.0.0.0/',
      '10.0.0.0/33',
      '10.0.0.0/-1',
      '10.0.0.0/8/8',
      '10.0.0.0/+8',
      '10.0.0.0/8 ',
    ],
    ...[
      ' 10.0.0.0',
      '10.0.0.256',
      '010.0.0.1',
      '1.2.3.4.5',
      '::/129',
      ':::',
      '1::2::3',
      'fe80::1%eth0',
      '[::1]',
      'localhost',
    ],
    ...['10.0.0.0-10.0.0.9', '10.*', '0x7f.1', '10.0.0.0/08x', '10.0.0.0\n', '١٠.0.0.0'],
  ];
  for (const text of none) assert.equal(parseAddressRange(text), undefined, JSON.stringify(text));
});

test('an address is in a range if they share its first bits', () => {
  const cases: [range: string, inside: string[], outside: string[]][] = [
    [
      '10.0.0.0/8',
      ['10.0.0.0', '10.255.255.255', '::ffff:10.1.2.3', '::FFFF:10.1.2.3'],
      ['9.255.255.255', '11.0.0.0'],
    ],
    ['10.1.2.3/8', ['10.0.0.0'], ['11.1.2.3']],
    ['192.168.1.128/25', ['192.168.1.128', '192.168.1.255'], ['192.168.1.127', '192.168.2.0']],
    ['192.0.2.1', ['192.0.2.1'], ['192.0.2.0', '192.0.2.2']],
    ['0.0.0.0/0', ['0.0.0.0', '255.255.255.255', '::ffff:1.2.3.4'], ['::1', '2001:db8::1']],
    // All of IPv4 is in ::ffff:0:0/96.
    ['::/0', ['::', '2001:db8::1', '10.0.0.1'], []],
    ['::/1', ['::', '10.0.0.1'], ['8000::']],
    ['fd00::/8', ['fd00::', 'fdff:ffff::1', 'FD12::1'], ['fc00::1', 'fe00::1']],
    ['2001:db8::/33', ['2001:db8:7fff::1'], ['2001:db8:8000::1']],
    ['::ffff:10.0.0.0/104', ['10.0.0.1', '::ffff:10.9.9.9'], ['11.0.0.1', '::1']],
  ];
  for (const [range, inside, outside] of cases) {
    const set = among(range);
    for (const address of inside) assert.ok(set.has(address), `${address} in ${range}`);
    for (const address of outside) assert.ok(!set.has(address), `${address} not in ${range}`);
  }
});

test('a set has what any of its ranges has; an empty one has nothing, and neither has text that is no address', () => {
  const set = among('10.0.0.0/8', '192.0.2.7', 'fd00::/8');
  for (const address of ['10.0.0.1', '192.0.2.7', 'fd00::1']) assert.ok(set.has(address), address);
  for (const text of [
    '192.0.2.8',
    '',
    '-',
    'unknown',
    '10.0.0.1 ',
    '10.0.0.1:80',
    '10.0.0.0/8',
    '10.0.0',
    '010.0.0.1',
  ])
    assert.ok(!set.has(text), text);
  for (const address of ['127.0.0.1', '::1', '0.0.0.0']) assert.ok(!new Addresses([]).has(address));
});

test('an IPv4 address within IPv6 is the IPv4 address', () => {
  assert.equal(plainAddress('::ffff:10.0.0.1'), '10.0.0.1');
  assert.equal(plainAddress('::FFFF:10.0.0.1'), '10.0.0.1');
  for (const text of ['10.0.0.1', '::1', '', '::ffff:', 'x::ffff:10.0.0.1', '::10.0.0.1'])
    assert.equal(plainAddress(text), text);
});

test('this machine, and what a stranger must not lead us to', () => {
  const here = new Addresses(LOOPBACK);
  for (const address of ['127.0.0.1', '127.255.0.1', '::1', '::ffff:127.0.0.1']) {
    assert.ok(here.has(address), address);
    assert.ok(isPrivate(address), address);
  }
  for (const address of [
    '10.0.0.1',
    '172.31.0.1',
    '192.168.0.1',
    '169.254.169.254',
    'fe80::1',
    'fd00::1',
    '::',
    '0.0.0.0',
    'ff02::1',
  ]) {
    assert.ok(!here.has(address), address);
    assert.ok(isPrivate(address), address);
  }
  for (const address of [
    '1.1.1.1',
    '172.32.0.1',
    '192.169.0.1',
    '2606:4700::1111',
    '126.255.255.255',
    '128.0.0.1',
  ])
    assert.ok(!isPrivate(address), address);
});

test('an IPv6 address that a translator takes for an IPv4 one is where that is', () => {
  const inside = {
    '8.8.8.8': ['64:ff9b::808:808', '64:ff9b::8.8.8.8', '2002:808:808::1', '64:ff9b:1::808:808'],
    '10.1.2.3': ['64:ff9b::a01:203', '64:ff9b::10.1.2.3', '2002:a01:203::', '64:ff9b:1::a01:203'],
    '127.0.0.1': ['64:ff9b::7f00:1', '64:ff9b::127.0.0.1', '2002:7f00:1::', '64:ff9b:1:5:6:7:7f00:1'],
    '192.168.255.1': ['64:ff9b::c0a8:ff01', '64:FF9B::192.168.255.1'],
  };
  for (const [ipv4, all] of Object.entries(inside))
    for (const address of all) assert.equal(isPrivate(address), isPrivate(ipv4), address);
  // RFC 6052, 2.2: prefixes of 48, 56 and 64 bits, around a byte that is zero.
  for (const address of ['64:ff9b:1:808:8:800::', '64:ff9b:1:8:8:808::', '64:ff9b:1:0:8:808:800:0'])
    assert.ok(!isPrivate(address), address);
  for (const address of [
    '64:ff9b:1:7f00:0:100::',
    '64:ff9b:1:7f:0:1::',
    '64:ff9b:1:0:7f:0:100:0',
    '64:ff9b:1::',
  ])
    assert.ok(isPrivate(address), address);
  assert.ok(!isPrivate('64:ff9c::7f00:1'));
  assert.ok(isPrivate('::127.0.0.1'));
});

test('what a name is looked up as may be an address that only a proxy of this machine knows', () => {
  for (const address of ['198.18.0.1', '198.19.255.254', '::ffff:198.18.0.1']) {
    assert.ok(isPrivate(address), address);
    assert.ok(!isPrivateAnswer(address), address);
  }
  for (const address of ['127.0.0.1', '10.0.0.1', '::1', '64:ff9b::a00:1'])
    assert.ok(isPrivateAnswer(address), address);
  for (const address of ['198.17.255.255', '198.20.0.0', '2606:4700::1111'])
    assert.ok(!isPrivateAnswer(address), address);
});
