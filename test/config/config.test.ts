import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { loadConfig, parseConfig } from '../../lib/config/config.ts';
import { CacheError } from '../../lib/errors.ts';
import { FILE, mistakes, NIXOS_KEY } from '../fixtures/config-text.ts';
import { temporaryFolder } from '../fixtures/defer.ts';

const NIXOS = upstream('https://cache.nixos.org', NIXOS_KEY);
const DEFAULTS = {
  onUpstreamError: 'error',
  hedgeDelayMs: 300,
  negativeTtlMs: 60_000,
  deadlines: { connectMs: 5000, firstByteMs: 10_000, stallMs: 20_000 },
  connections: 4,
  maxConnections: 128,
  maxDownloads: 64,
  readAhead: 'all',
  maxSpoolBytes: 32 * 2 ** 30,
  access: { tokens: [], read: 'anyone', pushFrom: [], ownToken: true, trustedProxies: [] },
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
  return {
    url,
    credentials: undefined,
    proxy: undefined,
    caFile: undefined,
    publicKeys,
    maxConnections: 32,
    required: false,
  };
}

const TOP_KEYS = 'a key that the shipped cache.toml describes';

test('an empty file means the defaults', () => {
  assert.deepEqual(parseConfig('', { file: FILE }), {
    listen: { host: undefined, port: 8080 },
    cacheDir: '/etc/nix-cache/cache',
    storeDir: '/nix/store',
    priority: 30,
    wantMassQuery: true,
    accessLog: true,
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
    access_log = false
    on_upstream_error = "miss"
    hedge_delay = "0ms"
    negative_ttl = "5m"
    connect_timeout = "1s"
    first_byte_timeout = "20ms"
    stall_timeout = "1h"
    connections = 16
    max_connections = 9
    max_downloads = 7
    read_ahead = "narinfos"
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
    required = true

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
      accessLog: false,
      onUpstreamError: 'miss',
      hedgeDelayMs: 0,
      negativeTtlMs: 300_000,
      deadlines: { connectMs: 1000, firstByteMs: 20, stallMs: 3_600_000 },
      connections: 16,
      maxConnections: 9,
      maxDownloads: 7,
      readAhead: 'narinfos',
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
        ownToken: false,
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
      signing: { keyFiles: ['/etc/nix-cache/secret.key'], sign: 'all' },
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
    required: true,
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
  assert.equal(settings.length, 21);
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
      '14: upstreams[1].proxi: found an unknown key, expected url, proxy, ca_file, public_keys, max_connections or required (did you mean proxy?)',
      '18: upstreams[3].ca_file: found "", expected a path',
      '19: upstreams[3].url: found "https://cache.nixos.org" again, which is upstreams[2].url, expected each upstream once',
      '20: upstreams[3].priority: found an unknown key, expected url, proxy, ca_file, public_keys, max_connections or required (priority belongs at the top, above the first header)',
    ].join('\n'),
  );
});

async function folder(t: TestContext, files: Record<string, string | Buffer> = {}): Promise<string> {
  const path = await temporaryFolder(t, 'config');
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
