import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { LOOPBACK } from '../lib/addresses.ts';
import { parseListen } from '../lib/config/values.ts';
import { loadConfig, parseConfig } from '../lib/config.ts';
import { CacheError, isCacheError } from '../lib/errors.ts';
import { pick, randomSource } from './fixtures/random.ts';

const FILE = '/etc/nix-cache/cache.toml';
const NIXOS_KEY = 'cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=';
const NIXOS = upstream('https://cache.nixos.org', NIXOS_KEY);
const DEFAULTS = {
  onUpstreamError: 'error',
  hedgeDelayMs: 300,
  negativeTtlMs: 60_000,
  deadlines: { connectMs: 5000, firstByteMs: 10_000, stallMs: 20_000 },
  connections: 4,
  maxConnections: 128,
  maxDownloads: 64,
  maxSpoolBytes: 32 * 2 ** 30,
  access: { tokens: [], read: 'anyone', pushFrom: LOOPBACK, trustedProxies: [] },
  trustedKeys: [],
  maxUploadBytes: 32 * 2 ** 30,
  gc: {
    maxBytes: undefined,
    maxAgeMs: undefined,
    minFreeBytes: undefined,
    keepPushed: true,
    everyMs: 3_600_000,
  },
  scrubMs: undefined,
  durability: 'full',
  signing: undefined,
  tls: undefined,
};

function upstream(url: string, ...publicKeys: string[]) {
  return { url, credentials: undefined, proxy: undefined, caFile: undefined, publicKeys, maxConnections: 32 };
}

const TOP_KEYS = 'a key that the shipped cache.toml describes';

/** The configuration error this throws, as its message. */
function messageOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    assert.ok(isCacheError(error, 'config'), `threw ${error}`);
    return error.message;
  }
  assert.fail('threw nothing');
}

function mistakes(...lines: string[]): string {
  return messageOf(() => parseConfig(lines.join('\n'), { file: FILE })).replaceAll(`${FILE}:`, '');
}

test('an empty file means the defaults', () => {
  assert.deepEqual(parseConfig('', { file: FILE }), {
    listen: { host: undefined, port: 8080 },
    cacheDir: '/etc/nix-cache/cache',
    storeDir: '/nix/store',
    priority: 30,
    wantMassQuery: true,
    ...DEFAULTS,
    upstreams: [NIXOS],
  });
});

test('every key is read', () => {
  const text = `
    listen = "127.0.0.1:5000"
    cache_dir = "data"
    store_dir = "/gnu/store"
    priority = 0
    want_mass_query = false
    on_upstream_error = "miss"
    hedge_delay = "0ms"
    negative_ttl = "5m"
    connect_timeout = "1s"
    first_byte_timeout = "20ms"
    stall_timeout = "1h"
    connections = 16
    max_connections = 9
    max_downloads = 7
    max_spool_size = "1.5 GB"
    read = "token"
    trusted_proxies = ["10.0.0.1", "fd00::/8"]
    max_upload_size = "1 GiB"
    scrub = "30d"
    durability = "relaxed"

    [gc]
    max_size = "200 GiB"
    max_age = "90d"
    min_free = "0 B"
    keep_pushed = false
    every = "10m"

    [push]
    from = ["10.0.0.0/8"]
    trusted_keys = ["${NIXOS_KEY}"]

    [signing]
    key_file = "secret.key"
    sign = "all"

    [tls]
    cert_file = "tls/cert.pem"
    key_file = "/run/key.pem"
    client_ca_file = "ca.pem"

    [[tokens]]
    name = "ci"
    token = "0123456789abcdef"
    allow = ["push"]

    [[tokens]]
    name = "ops@example.org"
    token_file = "ops.token"
    allow = ["admin", "pull"]

    [[upstreams]]
    url = "https://ci:p%40ss%3A@cache.example.org/team/"
    ca_file = "certs/ca.pem"
    max_connections = 8

    [[upstreams]]
    url = "http://10.0.0.1:5000"
    proxy = "socks5://127.0.0.1:1080"
    ca_file = "/etc/ssl/ca.pem"
    public_keys = ["a-1:${'A'.repeat(43)}=", "${NIXOS_KEY}"]`;
  const config = parseConfig(text, { file: FILE });
  const [first, second] = config.upstreams;
  assert.deepEqual(
    { ...config, upstreams: undefined },
    {
      listen: { host: '127.0.0.1', port: 5000 },
      cacheDir: '/etc/nix-cache/data',
      storeDir: '/gnu/store',
      priority: 0,
      wantMassQuery: false,
      onUpstreamError: 'miss',
      hedgeDelayMs: 0,
      negativeTtlMs: 300_000,
      deadlines: { connectMs: 1000, firstByteMs: 20, stallMs: 3_600_000 },
      connections: 16,
      maxConnections: 9,
      maxDownloads: 7,
      maxSpoolBytes: 1_500_000_000,
      access: {
        tokens: [
          { name: 'ci', secret: { token: '0123456789abcdef' }, allow: ['push'] },
          {
            name: 'ops@example.org',
            secret: { file: '/etc/nix-cache/ops.token' },
            allow: ['admin', 'pull'],
          },
        ],
        read: 'token',
        pushFrom: [{ address: '10.0.0.0', prefix: 8, family: 'ipv4' }],
        trustedProxies: [
          { address: '10.0.0.1', prefix: 32, family: 'ipv4' },
          { address: 'fd00::', prefix: 8, family: 'ipv6' },
        ],
      },
      trustedKeys: [NIXOS_KEY],
      maxUploadBytes: 2 ** 30,
      gc: {
        maxBytes: 200 * 2 ** 30,
        maxAgeMs: 90 * 86_400_000,
        minFreeBytes: 0,
        keepPushed: false,
        everyMs: 600_000,
      },
      scrubMs: 30 * 86_400_000,
      durability: 'relaxed',
      signing: { keyFile: '/etc/nix-cache/secret.key', sign: 'all' },
      tls: {
        certFile: '/etc/nix-cache/tls/cert.pem',
        keyFile: '/run/key.pem',
        clientCaFile: '/etc/nix-cache/ca.pem',
      },
      upstreams: undefined,
    },
  );
  assert.deepEqual(first, {
    url: 'https://cache.example.org/team',
    credentials: { username: 'ci', password: 'p@ss:' },
    proxy: undefined,
    caFile: '/etc/nix-cache/certs/ca.pem',
    publicKeys: [],
    maxConnections: 8,
  });
  assert.deepEqual(second?.publicKeys, [`a-1:${'A'.repeat(43)}=`, NIXOS_KEY]);
  assert.equal(second?.url, 'http://10.0.0.1:5000');
  assert.equal(second?.caFile, '/etc/ssl/ca.pem');
  assert.equal(second?.proxy?.kind, 'socks5');
  assert.equal(second?.proxy?.host, '127.0.0.1');
  assert.equal(second?.proxy?.port, 1080);
});

test('an explicit empty list means no upstreams', () => {
  assert.deepEqual(parseConfig('upstreams = []', { file: FILE }).upstreams, []);
});

test('the configuration is frozen through and through', () => {
  const text = '[[upstreams]]\nurl = "https://u:p@h"\nproxy = "http://127.0.0.1:3128"';
  for (const config of [parseConfig('', { file: FILE }), parseConfig(text, { file: FILE })]) {
    const walk = (value: unknown) => {
      if (typeof value !== 'object' || value === null) return;
      assert.ok(Object.isFrozen(value));
      Object.values(value).forEach(walk);
    };
    walk(config);
  }
});

test('the shipped cache.toml is valid, with the defaults and the three upstreams it names', async () => {
  const text = await readFile('cache.toml', 'utf8');
  assert.deepEqual(parseConfig(text, { file: FILE }), {
    ...parseConfig('', { file: FILE }),
    upstreams: [
      upstream('https://mirrors.ustc.edu.cn/nix-channels/store', NIXOS_KEY),
      upstream('https://mirrors.tuna.tsinghua.edu.cn/nix-channels/store', NIXOS_KEY),
      NIXOS,
    ],
  });
});

test('what the shipped cache.toml comments out is valid, and the default where it says so', async () => {
  const text = await readFile('cache.toml', 'utf8');
  const keys = text.match(/^# \w+ = .*$/gm)?.map((line) => line.slice(2)) ?? [];
  const [proxies, settings] = [
    keys.filter((key) => /^proxy/.test(key)),
    keys.filter((key) => !/^proxy/.test(key)),
  ];
  assert.deepEqual(parseConfig(settings.join('\n'), { file: FILE }), parseConfig('', { file: FILE }));
  assert.equal(settings.length, 19);
  // The examples in the explanation of `proxy` and `url`.
  const examples = text.match(/"(?:https?|socks5):\/\/[^"]*"/g)?.map((example) => example.slice(1, -1)) ?? [];
  const inExamples = examples
    .filter((example) => /:\d+$/.test(example))
    .map((example) => `proxy = "${example}"`);
  assert.ok(proxies.length > 0 && inExamples.length > proxies.length);
  for (const proxy of [...proxies, ...inExamples]) {
    parseConfig(`[[upstreams]]\nurl = "https://cache.nixos.org"\n${proxy}`, { file: FILE });
  }
});

test('a file of the Go service is valid', () => {
  const text = `[[upstreams]]
url = "https://mirrors.tuna.tsinghua.edu.cn/nix-channels/store"

[[upstreams]]
url = "https://cache.nixos.org"
proxy = "http://127.0.0.1:7890"
`;
  const { upstreams } = parseConfig(text, { file: FILE });
  assert.deepEqual(
    upstreams.map(({ url, proxy }) => [url, proxy?.kind, proxy?.port]),
    [
      ['https://mirrors.tuna.tsinghua.edu.cn/nix-channels/store', undefined, undefined],
      ['https://cache.nixos.org', 'http', 7890],
    ],
  );
});

test('a byte order mark, CRLF and inline tables are fine', () => {
  const text =
    '\ufefflisten = ":1"\r\nupstreams = [\r\n  { url = "https://a" },\r\n  { url = "https://b" },\r\n]\r\n';
  const config = parseConfig(text, { file: FILE });
  assert.equal(config.listen.port, 1);
  assert.deepEqual(config.upstreams, [upstream('https://a'), upstream('https://b')]);
});

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

test('all mistakes are reported at once, in the order of the file, each with its line', () => {
  assert.equal(
    mistakes(
      '# A file with a mistake in nearly every line.', // 1
      'listen = ":80800"',
      'cache-dir = ""',
      'store_dir = """',
      '/nix/store/"""', // 5
      'priority = -1',
      'want_mass_query = "yes"',
      'colour = "red"',
      '',
      '[[upstreams]]', // 10
      'url = "ftp://mirror.example.org"',
      'proxy = 3128',
      '[[upstreams]]',
      'proxi = "http://127.0.0.1:3128"',
      '[[upstreams]]', // 15
      'url = "https://cache.nixos.org"',
      '[[upstreams]]',
      'ca_file = ""',
      '"url" = "https://CACHE.nixos.org:443/"',
      'priority = 40', // 20
    ),
    [
      '2: listen: found ":80800", expected "[host]:port" such as ":8080", "127.0.0.1:8080" or "[::1]:8080" with a port from 0 to 65535',
      `3: cache-dir: found an unknown key, expected ${TOP_KEYS} (did you mean cache_dir?)`,
      '4: store_dir: found "/nix/store/", expected an absolute path such as "/nix/store", without "." or ".." or a slash at its end',
      '6: priority: found -1, expected an integer from 0 to 2147483647',
      '7: want_mass_query: found "yes", expected true or false',
      `8: colour: found an unknown key, expected ${TOP_KEYS}`,
      '11: upstreams[0].url: found "ftp://mirror.example.org", expected a URL such as "https://cache.nixos.org", with http:// or https://',
      '12: upstreams[0].proxy: found 3128, expected a string in quotes',
      '13: upstreams[1].url: found no such key, expected one',
      '14: upstreams[1].proxi: found an unknown key, expected url, proxy, ca_file, public_keys or max_connections (did you mean proxy?)',
      '18: upstreams[3].ca_file: found "", expected a path',
      '19: upstreams[3].url: found "https://cache.nixos.org" again, which is upstreams[2].url, expected each upstream once',
      '20: upstreams[3].priority: found an unknown key, expected url, proxy, ca_file, public_keys or max_connections (priority belongs at the top, above the first header)',
    ].join('\n'),
  );
});

test('mistakes in inline tables have their lines too', () => {
  const found = mistakes(
    'upstreams = [ # two',
    '  { url = "https://a" },',
    '  { url = "https://b", proxy = true },',
    '  7,',
    ']',
  );
  assert.deepEqual(
    found.split('\n').map((line) => line.split(', expected')[0]),
    ['3: upstreams[1].proxy: found true', '4: upstreams[2]: found 7'],
  );
});

test('wrong types are named as they were found', () => {
  const line = (text: string) => mistakes(text).split(', expected')[0];
  assert.equal(line('listen = 8080'), '1: listen: found 8080');
  assert.equal(line('cache_dir = ["a"]'), '1: cache_dir: found an array');
  assert.equal(line('[cache_dir]'), '1: cache_dir: found a table');
  assert.equal(line('store_dir = 1979-05-27'), '1: store_dir: found the date 1979-05-27');
  assert.equal(line('priority = "30"'), '1: priority: found "30"');
  assert.equal(line('priority = 30.0'), '1: priority: found 30.0');
  assert.equal(line('priority = nan'), '1: priority: found NaN');
  assert.equal(line('priority = 2147483648'), '1: priority: found 2147483648');
  assert.equal(line('priority = 99999999999999999999'), '1: priority: found 99999999999999999999');
  assert.equal(line('want_mass_query = 1'), '1: want_mass_query: found 1');
  assert.equal(line('upstreams = "https://a"'), '1: upstreams: found "https://a"');
  assert.equal(line('[upstreams]\nurl = "https://a"'), '1: upstreams: found a table');
  assert.equal(line('upstreams = [[]]'), '1: upstreams[0]: found an array');
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

test('public keys are those of cache.nixos.org for what holds its paths, and as written for others', () => {
  const keysOf = (...lines: string[]) =>
    parseConfig(`[[upstreams]]\n${lines.join('\n')}`, { file: FILE }).upstreams[0]?.publicKeys;
  for (const [url, keys] of [
    ['http://cache.nixos.org/', [NIXOS_KEY]],
    ['https://Mirrors.ustc.edu.cn/nix-channels/store/', [NIXOS_KEY]],
    ['https://mirrors.ustc.edu.cn/other', []],
    ['https://mirrors.tuna.tsinghua.edu.cn/nix-channels/store', [NIXOS_KEY]],
    ['https://cache.nixos.org.example.org', []],
    ['https://cache.example.org', []],
  ] as const) {
    assert.deepEqual(keysOf(`url = "${url}"`), keys, url);
  }
  assert.deepEqual(keysOf('url = "https://cache.nixos.org"', 'public_keys = []'), []);
  const own = `own-1:${'A'.repeat(43)}=`;
  assert.deepEqual(keysOf('url = "https://cache.nixos.org"', `public_keys = ["${own}"]`), [own]);
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

test('choices and small numbers have their limits', () => {
  assert.equal(
    mistakes('on_upstream_error = "ignore"'),
    '1: on_upstream_error: found "ignore", expected "error" or "miss"',
  );
  for (const bad of ['0', '17', '"4"']) {
    assert.match(mistakes(`connections = ${bad}`), /expected an integer from 1 to 16$/);
  }
});

test('the closest known key is suggested, and only if it is close', () => {
  for (const [written, meant] of [
    ['cachedir', 'cache_dir'],
    ['Cache-Dir', 'cache_dir'],
    ['listn', 'listen'],
    ['prioritys', 'priority'],
    ['upstream', 'upstreams'],
    ['x', undefined],
    ['constructor', undefined],
    ['__proto__', undefined],
    ['x'.repeat(5000), undefined],
  ] as const) {
    const found = mistakes(`${written} = 1`);
    assert.equal(/did you mean (\w+)/.exec(found)?.[1], meant);
    assert.ok(found.length < 400);
  }
});

test('a message stays on its line whatever the text holds', () => {
  const found = mistakes(
    'listen = "a\\nb\\u001b[31m\\u0085\\u2028"',
    '"x\\ny\\u009b" = 1',
    'upstreams = [{ url = "https://a", proxy = "x\\n" }]',
  );
  assert.equal(found.split('\n').length, 3);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: their absence is what is tested
  assert.doesNotMatch(found, /[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028]/);
});

test('what is no TOML is reported with line, column and the lines around it', () => {
  assert.equal(
    mistakes('priority = 30', 'listen = :8080', '', '[[upstreams]]'),
    '2:10: not valid TOML: invalid value\n1:  priority = 30\n2:  listen = :8080\n             ^',
  );
  assert.equal(
    mistakes(...Array(8).fill('#'), 'a\t= 1', 'a = "2"\r', '\t# 3'),
    '10:1: not valid TOML: trying to redefine an already defined table or value\n' +
      '9 :  a = 1\n10:  a = "2"\n     ^\n11:   # 3',
  );
});

test('passwords are never repeated', () => {
  const urls = [
    'ftp://user:SECRET@host',
    'https://user:SECRET@host?x',
    'https://user:SECRET@host:99999',
    'https://user:SECRET@',
    'https://user:SEC/SECRET@host:x',
    'https://us@er:SECRET@host:x',
    'https://user:SECRET%40host:x',
    'https://user:?SECRET@host',
    'https://user:#SECRET@host',
    'https:user:SECRET@host',
    'https:\\\\\\\\user:SECRET@host',
    '//user:SECRET@host',
    'user:SECRET@host:80',
    ' https://user:SECRET@host',
    'https://user:\\nSECRET@host',
    'https://user:%0ASECRET@host',
    'https://us%3Aer:SECRET@host',
    `https://${'u'.repeat(300)}:SECRET@host:x`,
    `https://user:SECRET@host/${'a'.repeat(300)}`,
    'socks5://user:SECRET@host:0',
    'socks4://user:SECRET@host:1080',
    'http://user:SECRET@host:99999',
    'http://user:SECRET@:1',
  ];
  const texts = urls.flatMap((url) => [
    `listen = "${url}"`,
    `priority = "${url}"`,
    `store_dir = "${url}"`,
    `upstreams = "${url}"`,
    `upstreams = ["${url}"]`,
    `"${url}" = 1`,
    `token = "${url}"`,
    `[[upstreams]]\nurl = "${url}"\nproxy = 1`,
    `[[upstreams]]\nurl = "https://a"\nproxy = "${url}"\nurk = 1`,
    // Not TOML, on the line itself and on those beside it.
    `a = "${url}" b`,
    `a = "${url}"\nb = ?`,
    `?\na = "${url}"`,
    `upstreams = [{ url = "https://a" }, { url = '${url}', ? }]`,
    `upstreams = [\n"${url}", ?\n]`,
    `[[upstreams]]\nurl = "https://a"\nproxy = "${url}`,
    `[[upstreams]]\nurl = "https://a"\nproxy = ${url}`,
    `proxy = """${url}""" ?`,
    `"${url}" = ?`,
    `proxy = """${url.replace('SECRET', '\\\nSECRET\\\n')}""" ?`,
    url,
    `proxy = "${url.replace('SECRET', '\\q SECRET')}"`,
    `proxy = "${url.replace('SECRET', '"SECRET')}"`,
    `proxy = "${url.replace('SECRET', "'=SECRET")}"`,
  ]);
  // Without an @ only values that look like a URL can be told from others.
  for (const url of ['https://user:SECRET', 'https://host/?token=SECRET', 'gopher+x://host/#SECRET']) {
    texts.push(`listen = "${url}"`, `upstreams = ["${url}"]`, `[[upstreams]]\nurl = "${url}"`);
  }
  texts.push('proxy = "http://user:SECRET');
  for (const text of texts) {
    assert.doesNotMatch(
      messageOf(() => parseConfig(`${text}\nx = 1`, { file: FILE })),
      /SECRET/,
      text,
    );
  }
});

test('a masked line keeps its caret in place', () => {
  assert.equal(
    mistakes('proxy = "http://user:password@host:1" ?'),
    '1:39: not valid TOML: each key-value declaration must be followed by an end-of-line\n' +
      '1:  proxy = "http://***@host:1" ?\n' +
      '                                ^',
  );
});

test('no text makes it throw anything but a configuration error (seeded)', async () => {
  const shipped = await readFile('cache.toml', 'utf8');
  const uncommented = shipped.replaceAll(/^# (?=(?!proxy)\w+ = |proxy = "socks5)/gm, '');
  const pieces = [
    ...[
      'listen',
      'cache_dir',
      'upstreams',
      'url',
      'proxy',
      'priority',
      'constructor',
      '__proto__',
      'toString',
    ],
    ...[
      '[[',
      ']]',
      '[',
      ']',
      '{',
      '}',
      '=',
      ' = ',
      '.',
      ',',
      '"',
      "'",
      '"""',
      "'''",
      '\\',
      '#',
      '\n',
      '\r\n',
      '\r',
    ],
    ...[
      'https://',
      'socks5://',
      'u:p@',
      '%',
      '%40',
      '@',
      ':',
      '/',
      '?',
      '::1',
      '[::1]:80',
      ':8080',
      '/nix/store',
    ],
    ...[
      '0',
      '-1',
      '1.5',
      '1e999',
      'nan',
      'true',
      '1979-05-27',
      '07:32:00',
      '0x1F',
      '[[upstreams]]\nurl = "https://a',
    ],
    ...['\0', '\u001b', '\u0085', '\ufeff', '\ud800', '\u{10ffff}', 'ü', ' ', '\t', '\\u0000', '\\U00110000'],
  ];
  const counts = { valid: 0, invalid: 0 };
  for (let seed = 0; seed < 20_000; seed++) {
    const random = randomSource(seed);
    let text = '';
    if (seed % 2 === 0) {
      for (let length = 1 + random() * 25; length > 0; length--) text += pick(random, pieces);
    } else {
      text = uncommented;
      for (let edits = random() * 4 - 1; edits > 0; edits--) {
        const at = Math.floor(random() * text.length);
        text = text.slice(0, at) + pick(random, [...pieces, '']) + text.slice(at + Math.floor(random() * 3));
      }
    }
    try {
      parseConfig(text, { file: FILE });
      counts.valid++;
    } catch (error) {
      if (!isCacheError(error, 'config'))
        assert.fail(`seed ${seed} threw ${error} for ${JSON.stringify(text)}`);
      assert.ok(error.message.startsWith(`${FILE}:`), error.message);
      counts.invalid++;
    }
  }
  assert.ok(counts.valid > 100 && counts.invalid > 1000, JSON.stringify(counts));
});

test('deep and long texts are refused in one line, not by exhausting the stack', () => {
  for (const text of [
    `a = ${'['.repeat(100_000)}`,
    `a = ${'['.repeat(900)}${']'.repeat(900)}`,
    `a = ${'{ b = '.repeat(900)}1${' }'.repeat(900)}`,
    `${'a.'.repeat(20_000)}a = 1`,
    `listen = "${'x'.repeat(1_000_000)}"`,
    `url = "${'@'.repeat(1_000_000)}`,
  ]) {
    assert.match(
      messageOf(() => parseConfig(text, { file: FILE })),
      /^.{1,300}\n?.{0,100}$/,
    );
  }
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

async function folder(t: TestContext, files: Record<string, string | Buffer> = {}): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'config-'));
  t.after(() => rm(path, { recursive: true }));
  for (const [name, content] of Object.entries(files)) {
    await mkdir(join(path, name, '..'), { recursive: true });
    await writeFile(join(path, name), content);
  }
  return path;
}

const none = { file: undefined, listen: undefined, cacheDir: undefined };

async function rejection(options: Parameters<typeof loadConfig>[0]): Promise<string> {
  const error = await loadConfig(options).then(
    () => assert.fail('loaded'),
    (error: unknown) => error,
  );
  assert.ok(error instanceof CacheError && error.code === 'config', String(error));
  return error.message;
}

test('without a file the defaults hold, with the folder below the working directory', async (t) => {
  const cwd = await folder(t);
  const config = await loadConfig({ ...none, cwd });
  assert.deepEqual(config, parseConfig('', { file: join(cwd, 'cache.toml') }));
  assert.equal(config.cacheDir, join(cwd, 'cache'));
  assert.ok(Object.isFrozen(config));
});

test('cache.toml of the working directory is used if it is there', async (t) => {
  const cwd = await folder(t, { 'cache.toml': '\ufeffpriority = 7\ncache_dir = "store"' });
  const config = await loadConfig({ ...none, cwd });
  assert.equal(config.priority, 7);
  assert.equal(config.cacheDir, join(cwd, 'store'));
});

test('a file that is named goes before cache.toml, and its paths are relative to it', async (t) => {
  const cwd = await folder(t, {
    'cache.toml': 'nonsense',
    'etc/other.toml': '[[upstreams]]\nurl = "https://a"\nca_file = "ca.pem"',
  });
  const config = await loadConfig({ ...none, file: 'etc/other.toml', cwd });
  assert.equal(config.cacheDir, join(cwd, 'etc/cache'));
  assert.equal(config.upstreams[0]?.caFile, join(cwd, 'etc/ca.pem'));
});

test('the command line goes before the file, relative to the working directory', async (t) => {
  const cwd = await folder(t, { 'etc/c.toml': 'listen = ":1"\ncache_dir = "a"' });
  const config = await loadConfig({ file: 'etc/c.toml', listen: '[::1]:2', cacheDir: 'b', cwd });
  assert.deepEqual(config.listen, { host: '::1', port: 2 });
  assert.equal(config.cacheDir, join(cwd, 'b'));
  assert.ok(Object.isFrozen(config) && Object.isFrozen(config.listen));
});

test('a file that cannot be read is named', async (t) => {
  const cwd = await folder(t, { 'latin1.toml': Buffer.from('# f\xfcr', 'latin1'), 'dir/cache.toml/x': '' });
  assert.equal(
    await rejection({ ...none, file: 'gone.toml', cwd }),
    `--config: found no file ${join(cwd, 'gone.toml')}, expected one`,
  );
  assert.match(await rejection({ ...none, file: 'dir', cwd }), /dir: can't be read: EISDIR/);
  assert.match(await rejection({ ...none, cwd: join(cwd, 'dir') }), /cache\.toml: can't be read: EISDIR/);
  assert.match(await rejection({ ...none, file: 'latin1.toml/x', cwd }), /x: can't be read: ENOTDIR/);
  assert.match(
    await rejection({ ...none, file: 'latin1.toml', cwd }),
    /latin1\.toml: found bytes that are no UTF-8/,
  );
});

test('mistakes of the file and of the command line are reported together', async (t) => {
  const cwd = await folder(t, { 'cache.toml': 'a = 1\nb = 2' });
  const found = await rejection({ file: undefined, listen: 'x', cacheDir: '', cwd });
  assert.deepEqual(
    found.split('\n').map((line) => line.replace(cwd, '').split(' found')[0]),
    ['/cache.toml:1: a:', '/cache.toml:2: b:', '--listen:', '--cache-dir:'],
  );
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
