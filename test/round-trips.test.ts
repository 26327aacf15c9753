// What is written is read as it was: parse(format(x)) = x for every format, thousands of times.
import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { test } from 'node:test';
import { parseAddressRange } from '../lib/addresses.ts';
import { ZstdFrames } from '../lib/bytes/zstd-frames.ts';
import { parseProxy } from '../lib/config/proxy.ts';
import { parseDuration, parseListen, parseSize, parseUpstreamUrl } from '../lib/config/values.ts';
import { parseRange } from '../lib/http/range.ts';
import { route } from '../lib/http/route.ts';
import { formatCacheInfo, storeDirOf } from '../lib/nix/cache-info.ts';
import { parseDigest, parseHash, sha256FromBytes, sha256ToHex } from '../lib/nix/hash.ts';
import { addressOf } from '../lib/nix/nar-names.ts';
import { parseNarInfo, withSigs, withUrl } from '../lib/nix/narinfo.ts';
import { decodeNix32, encodeNix32 } from '../lib/nix/nix32.ts';
import { type ObjectName, parseObjectName, pathOf } from '../lib/nix/object-name.ts';
import { keyName } from '../lib/nix/sig.ts';
import { generateKeys, isPublicKey, readKeys, readSecretKey, verify } from '../lib/nix/signature.ts';
import { basenameIn, isStoreHash } from '../lib/nix/store-path.ts';
import { decodeHeader, encodeHeader, HEADER_BYTES } from '../lib/store/folder/header.ts';
import { extentOf, rangeHeader } from '../lib/upstream/answer.ts';
import * as arbitrary from './fixtures/arbitrary.ts';
import { pieces } from './fixtures/mutations.ts';
import { pick, randomSource } from './fixtures/random.ts';
import { zstdFrame } from './fixtures/stream-parsers.ts';

type Random = arbitrary.Random;

/** A test that does the same with many random values; the seed of one that fails is in its error. */
function always(promise: string, rounds: number, check: (random: Random) => void): void {
  test(promise, () => {
    for (let seed = 0; seed < rounds; seed++) {
      try {
        check(randomSource(seed));
      } catch (cause) {
        throw new Error(`seed ${seed}`, { cause });
      }
    }
  });
}

always('nix32 and hashes, in every spelling', 3000, (random) => {
  const bytes = arbitrary.bytes(random, arbitrary.integer(random, 0, 70));
  assert.deepEqual(decodeNix32(encodeNix32(bytes)), bytes);
  const digest = arbitrary.bytes(random, 32);
  const hash = sha256FromBytes(digest);
  const [hex, base64] = [digest.toString('hex'), digest.toString('base64')];
  assert.equal(sha256ToHex(hash), hex);
  for (const text of [`sha256:${hash}`, `sha256:${hex}`, `sha256:${base64}`, `sha256-${base64}`]) {
    assert.equal(parseHash(text), hash);
    assert.deepEqual(parseDigest(text), { algorithm: 'sha256', bytes: digest });
  }
});

/** What a narinfo's text says, read by nothing but its lines. */
function linesOf(text: string): Map<string, string> {
  return new Map(
    text.split('\n').map((line) => [line.split(': ', 1)[0] ?? '', line.slice(line.indexOf(': ') + 2)]),
  );
}

always('narinfos: every field, as it is and rewritten', 3000, (random) => {
  const storeDir = pick(random, ['/nix/store', '/gnu/store', '/a b']);
  const text = arbitrary.narInfoText(random, storeDir);
  const [info, lines] = [parseNarInfo(text, storeDir), linesOf(text)];
  assert.equal(info.storePath, lines.get('StorePath'));
  assert.equal(info.url, lines.get('URL'));
  assert.equal(info.compression, lines.get('Compression') || 'bzip2');
  assert.equal(info.narHash, parseHash(lines.get('NarHash') ?? ''));
  assert.equal(String(info.narSize), lines.get('NarSize'));
  assert.equal(info.references.join(' '), lines.get('References') ?? '');
  assert.equal(info.ca ?? '', lines.get('CA') ?? '');
  assert.deepEqual(
    info.sigs,
    [...text.matchAll(/^Sig: (.*)$/gm)].map(([, sig]) => sig),
  );

  const url = pick(random, [`nar/${addressOf(info)}`, 'nar/$&', 'nar/$1$`']);
  const rewritten = withUrl(text, url);
  assert.deepEqual(parseNarInfo(rewritten, storeDir), { ...info, url });
  assert.equal(withUrl(rewritten, info.url), withUrl(text, info.url));

  const sigs = arbitrary.several(random, 3, arbitrary.signature).filter((sig) => !info.sigs.includes(sig));
  const signed = withSigs(text, [...sigs, ...info.sigs, ...sigs]);
  assert.deepEqual(parseNarInfo(signed, storeDir), { ...info, sigs: [...info.sigs, ...sigs] });
  assert.equal(withSigs(signed, sigs), signed);
});

always('store paths', 3000, (random) => {
  const name = arbitrary.basename(random);
  assert.equal(basenameIn('/nix/store', `/nix/store/${name}`), name);
  assert.equal(basenameIn('/nix/stor', `/nix/store/${name}`), undefined);
});

/** Any characters percent-encoded that may be, as clients do it differently. */
function encoded(random: Random, path: string): string {
  return path.replace(/[^/]/g, (c) => {
    const must = c === '?' || c === '%';
    return must || arbitrary.chance(random, 0.2) ? `%${c.charCodeAt(0).toString(16).padStart(2, '0')}` : c;
  });
}

always(
  'names of objects: their path, and any encoding of it in a request, with anything before it',
  5000,
  (random) => {
    const name = arbitrary.objectName(random);
    const path = pathOf(name);
    const inName = /^\/nar\/([^-]{32})-.{52}\.nar/.exec(path)?.[1] ?? '';
    const hash = isStoreHash(inName) ? inName : undefined;
    const known: ObjectName = name.kind === 'nar' ? { ...name, hash } : name;
    assert.deepEqual(parseObjectName(path.slice(1), ''), known);
    const query = name.kind === 'nar' && name.hash !== undefined ? `?hash=${name.hash}` : '';
    const [prefix, pushed] = pick(random, [
      ['', false],
      ['/', false],
      ['/some/base', false],
      ['/upload', true],
      ['/a/upload', true],
    ] as const);
    const origin = pick(random, ['', 'http://cache.example.org:8080', 'HTTPS://user:password@[::1]']);
    const expected = { kind: 'object', name: query === '' || hash !== undefined ? known : name, pushed };
    assert.deepEqual(route(`${origin}${prefix}${encoded(random, path)}${query}`), expected);
  },
);

always('nix-cache-info', 1000, (random) => {
  const storeDir = `/${arbitrary.text(random, 'ab/: ü', 1, 40).trim()}`;
  const text = formatCacheInfo({ storeDir, wantMassQuery: random() < 0.5, priority: arbitrary.size(random) });
  assert.equal(storeDirOf(text), storeDir);
});

always('keys and signatures', 1000, (random) => {
  const { publicKey, secretKey } = generateKeys(arbitrary.text(random, 'ab.-1ü', 1, 20));
  const signer = readSecretKey(`\n ${secretKey}\n`);
  assert.equal(signer.publicKey, publicKey);
  assert.ok(isPublicKey(publicKey));
  const text = arbitrary.narInfoText(random, '/nix/store');
  const sig = signer.sign(parseNarInfo(text, '/nix/store'), '/nix/store');
  const info = parseNarInfo(withSigs(text, [sig]), '/nix/store');
  assert.equal(verify(info, readKeys([publicKey]), '/nix/store'), keyName(publicKey));
  const other = { ...info, narSize: info.narSize + 1 };
  assert.equal(verify(other, readKeys([publicKey]), '/nix/store'), undefined);
});

always('Range, asked of us and of upstreams, and Content-Range', 5000, (random) => {
  const size = 1 + arbitrary.size(random, 1e12);
  const start = Math.floor(random() * size);
  const end = start + 1 + Math.floor(random() * (size - start));
  assert.deepEqual(parseRange(rangeHeader({ start, end }), size), { start, end });
  assert.deepEqual(parseRange(rangeHeader({ start, end: undefined }), size), { start, end: size });
  assert.deepEqual(parseRange(`bytes=-${size - start}`, size), { start, end: size });
  const range = `bytes ${start}-${end - 1}/`;
  const extent = (total: string) =>
    extentOf({ statusCode: 206, headers: { 'content-range': range + total } } as IncomingMessage);
  const part = { start, end, partial: true, delimited: true };
  assert.deepEqual(extent(`${size}`), { ...part, size });
  assert.deepEqual(extent('*'), { ...part, size: undefined });
  assert.equal(extent(`${end - 1}`), `answered 206 with Content-Range "${range}${end - 1}"`);
});

always('headers of stored files, which always fit', 3000, (random) => {
  const meta = arbitrary.objectMeta(random);
  const header = encodeHeader(meta);
  const body = arbitrary.bytes(random, 20);
  assert.deepEqual(decodeHeader(Buffer.concat([header, body])), { meta, length: HEADER_BYTES });
});

always('address ranges', 1000, (random) => {
  const [v4, v6] = [
    [...arbitrary.bytes(random, 4)].join('.'),
    `${arbitrary.bytes(random, 2).toString('hex')}::1`,
  ];
  const address = pick(random, [v4, v6]);
  const family = address === v4 ? 'ipv4' : 'ipv6';
  const prefix = arbitrary.integer(random, 0, family === 'ipv4' ? 32 : 128);
  assert.deepEqual(parseAddressRange(`${address}/${prefix}`), { address, prefix, family });
});

always('durations, sizes, and where to listen', 1000, (random) => {
  const [unit, ms] = pick(random, [
    ['ms', 1],
    ['s', 1000],
    ['m', 60_000],
    ['h', 3_600_000],
    ['d', 86_400_000],
  ] as const);
  const count = arbitrary.size(random, (24 * 86_400_000) / ms);
  assert.equal(parseDuration(`${count}${unit}`, 0), count * ms);
  const [name, bytes] = pick(random, [
    ['B', 1],
    ['kB', 1000],
    ['MiB', 2 ** 20],
    ['TB', 1e12],
  ] as const);
  const much = 1 + arbitrary.size(random, 999);
  assert.equal(parseSize(`${much} ${name}`), much * bytes);
  const port = arbitrary.integer(random, 0, 65535);
  const host = pick(random, [undefined, '127.0.0.1', '::1', 'localhost']);
  assert.deepEqual(parseListen(`${host?.includes(':') ? `[${host}]` : (host ?? '')}:${port}`), {
    host,
    port,
  });
});

always('URLs of upstreams and of proxies, with any user and password', 2000, (random) => {
  const secret = () => arbitrary.text(random, 'aZ0:@/%?# ü!$&', 1, 30);
  const [username, password] = [secret().replaceAll(':', ''), secret()];
  const user = username === '' ? 'u' : username;
  const login = `${encodeURIComponent(user)}:${encodeURIComponent(password)}@`;
  const url = `http://${pick(random, ['h.example.org', '[::1]', '10.0.0.1'])}:${arbitrary.integer(random, 81, 65535)}`;
  const credentials = { username: user, password };
  assert.deepEqual(parseUpstreamUrl(url.replace('//', `//${login}`)), { url, credentials });
  assert.deepEqual(parseUpstreamUrl(url), { url, credentials: undefined });
  const proxy = parseProxy(url.replace('//', `//${login}`));
  assert.deepEqual([proxy.label, proxy.credentials], [url, credentials]);
  assert.ok(!proxy.label.includes(login));
});

always('zstd frames, wherever the pieces end', 2000, (random) => {
  const frames = [zstdFrame(random), zstdFrame(random), zstdFrame(random)];
  const splitter = new ZstdFrames();
  const found: Buffer[] = [];
  let frame: Buffer[] = [];
  for (const piece of pieces(random, Buffer.concat(frames))) {
    for (const { bytes, last } of splitter.push(piece)) {
      frame.push(bytes);
      if (!last) continue;
      found.push(Buffer.concat(frame));
      frame = [];
    }
  }
  if (found.length > 0 || frames.some((one) => one.readUInt32LE(0) === 0xfd2fb528)) splitter.end();
  assert.deepEqual(
    found,
    frames.filter((one) => one.readUInt32LE(0) === 0xfd2fb528),
  );
});
