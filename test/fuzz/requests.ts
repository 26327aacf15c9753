// Connections as no client opens them: requests that are almost right, with every trick of framing, cut into pieces.
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { pathOf } from '../../lib/nix/object-name.ts';
import {
  chance,
  integer,
  narInfoText,
  objectName,
  type Random,
  several,
  size,
  text,
} from '../fixtures/arbitrary.ts';
import { mutate, pieces } from '../fixtures/mutations.ts';
import { pick } from '../fixtures/random.ts';

export interface Known {
  /** Paths that are there, here or upstream, and others. */
  readonly paths: readonly string[];
  /** Uploads that are right: path and body. */
  readonly uploads: readonly (readonly [path: string, body: Buffer])[];
  readonly token: string;
}

export interface Plan {
  readonly pieces: readonly Buffer[];
  readonly end: 'end' | 'reset' | 'wait';
}

const ODD_METHODS = ['DELETE', 'POST', 'OPTIONS', 'CONNECT', 'TRACE', 'PRI', 'get', ''];
const VERSIONS = [
  ...Array<string>(60).fill('HTTP/1.1'),
  'HTTP/1.0',
  'HTTP/0.9',
  'HTTP/2.0',
  'HTTP/1.2',
  'HTTP/1.1 x',
  '',
];
const ESCAPES = [
  '/../x',
  '/%2e%2e/x',
  '/nar/..%2f..%2fx.nar',
  '//',
  '*',
  '/%00',
  '/%',
  '/nar/%c0%ae',
  '/upload/../x',
  'x:80',
  '/\\..\\x',
];
const LENGTHS = [
  '0',
  '5',
  '-1',
  '+5',
  '0x5',
  '5 5',
  '5,5',
  '99999999999999999999',
  '18446744073709551615',
  '',
  'a',
];
const TRANSFERS = [
  'chunked',
  'chunked',
  'chunked, chunked',
  'gzip, chunked',
  'chunked, gzip',
  'identity',
  'xchunked',
  ' chunked',
  'Chunked',
];
const CODINGS = [
  'gzip',
  'br',
  'deflate',
  'zstd',
  'xz',
  'identity',
  'gzip, br',
  '',
  'x'.repeat(100),
  '\x1b[2J',
  '\x80\x9b',
];
const BOMBS = [
  gzipSync(Buffer.alloc(8 << 20)),
  brotliCompressSync(Buffer.alloc(64 << 20), { params: { 1: 1 } }),
];

function target(random: Random, { paths }: Known): string {
  const path = pick(random, [
    ...paths,
    ...ESCAPES,
    pathOf(objectName(random)),
    '/',
    '/healthz',
    '/nix-cache-info',
    '/upload/nix-cache-info',
  ]);
  const where = pick(random, [
    '',
    '',
    '',
    '',
    '/upload',
    'http://user:password@h:1',
    '/a/b',
    `/${'x'.repeat(size(random, 20_000))}`,
  ]);
  const query = pick(random, ['', '', '', '?hash=0', `?${text(random, 'hash=&%?/', 0, 30)}`]);
  return `${where}${chance(random, 0.1) ? encodeURIComponent(path) : path}${query}`;
}

function headers(random: Random, { token }: Known): string[] {
  const junk = () => text(random, 'abc\t ,;=:"\x80\xff', 0, 60);
  const basic = (secret: string) => `Basic ${Buffer.from(`u:${secret}`).toString('base64')}`;
  const all: readonly (() => string)[] = [
    () =>
      `Range: bytes=${pick(random, ['0-', '-5', '5-2', '0-0,2-3', `${size(random)}-${size(random)}`, '9'.repeat(400)])}`,
    () => `If-Range: ${pick(random, ['""', '"x"', 'W/"x"', junk()])}`,
    () =>
      `Authorization: ${pick(random, [basic(token), `Bearer ${token}`, basic('wrong'), 'Basic', 'Bearer', junk()])}`,
    () =>
      `X-Forwarded-For: ${pick(random, ['127.0.0.1', '::1', '::ffff:127.0.0.1', junk(), '1, '.repeat(500)])}`,
    () => `Expect: ${pick(random, ['100-continue', '100-continue', '200-ok', junk()])}`,
    () => `Connection: ${pick(random, ['close', 'keep-alive', 'upgrade', 'Content-Length', junk()])}`,
    () => `Upgrade: ${pick(random, ['websocket', 'h2c'])}`,
    () => `Content-Encoding: ${pick(random, CODINGS)}`,
    () => `Content-Length: ${pick(random, LENGTHS)}`,
    () => `Transfer-Encoding: ${pick(random, TRANSFERS)}`,
    () =>
      `${pick(random, ['Via', 'Forwarded', 'Origin', 'TE', 'Trailer', 'Accept-Encoding', 'Host', 'X'])}: ${junk()}`,
    () => (chance(random, 0.2) ? ` ${junk()}` : 'A: b'),
    () => (chance(random, 0.2) ? junk() : 'A: b'),
    () => Array.from({ length: size(random, 3000) }, (_, i) => `${i}:`).join('\r\n'),
    () => `Big: ${'x'.repeat(size(random, 40_000))}`,
  ];
  return several(random, 2, () => pick(random, all)());
}

function upload(random: Random, { uploads }: Known): readonly [path: string, body: Buffer, coding?: string] {
  const [path, body] = pick(random, uploads);
  const other = pathOf(objectName(random));
  const hash = other.slice(1, 33);
  return pick<() => readonly [string, Buffer, string?]>(random, [
    () => [path, body],
    () => [path, mutate(random, body)],
    () => [other, mutate(random, body)],
    () => [`/${hash}.narinfo`, Buffer.from(narInfoText(random, '/nix/store', hash))],
    () => [`/${hash}.narinfo`, mutate(random, narInfoText(random, '/nix/store', hash))],
    () => [path, gzipSync(body), 'gzip'],
    () => [other, mutate(random, gzipSync(body)), 'gzip'],
    () => [other, pick(random, BOMBS), pick(random, ['gzip', 'br'])],
  ])();
}

function chunks(random: Random, body: Buffer): Buffer {
  const parts = [...pieces(random, body)].slice(0, 200).flatMap((piece) => {
    const wrong = chance(random, 0.02)
      ? pick(random, ['-1', 'z', '', 'ffffffffffffffffff', `${'0'.repeat(5000)}1`])
      : undefined;
    const extension = chance(random, 0.05) ? `;${'x'.repeat(size(random, 30_000))}` : '';
    return [
      `${wrong ?? piece.length.toString(16)}${extension}\r\n`,
      piece,
      chance(random, 0.02) ? '\n' : '\r\n',
    ];
  });
  const trailer = chance(random, 0.1) ? `X: ${'y'.repeat(size(random, 30_000))}\r\n` : '';
  return Buffer.concat([...parts, `0\r\n${trailer}\r\n`].map((part) => Buffer.from(part)));
}

function request(random: Random, known: Known): Buffer {
  const method = chance(random, 0.05)
    ? pick(random, ODD_METHODS)
    : pick(random, ['GET', 'GET', 'HEAD', 'PUT', 'PUT']);
  const version = pick(random, VERSIONS);
  const eol = chance(random, 0.03) ? '\n' : '\r\n';
  const [path, body, coding] =
    method === 'PUT' ? upload(random, known) : [target(random, known), Buffer.alloc(0)];
  const inChunks = chance(random, 0.3);
  const framing =
    method !== 'PUT'
      ? []
      : [
          inChunks
            ? 'Transfer-Encoding: chunked'
            : `Content-Length: ${body.length + (chance(random, 0.1) ? integer(random, -5, 5) : 0)}`,
        ];
  const lines = [
    `${method} ${method === 'PUT' && chance(random, 0.2) ? target(random, known) : path} ${version}`,
    ...(chance(random, 0.95) ? ['Host: cache.test'] : []),
    ...(chance(random, 0.8) ? [`X-Forwarded-For: 127.0.0.${integer(random, 1, 250)}`] : []),
    ...framing,
    ...(coding === undefined ? [] : [`Content-Encoding: ${coding}`]),
    ...headers(random, known),
  ];
  const head = Buffer.from(`${lines.join(eol)}${eol}${eol}`, 'latin1');
  return Buffer.concat([head, inChunks && method === 'PUT' ? chunks(random, body) : body]);
}

/** One connection. */
export function plan(random: Random, known: Known): Plan {
  const requests = Array.from({ length: chance(random, 0.05) ? 150 : integer(random, 1, 4) }, () =>
    request(random, known),
  );
  const whole = Buffer.concat(requests);
  const sent = chance(random, 0.3)
    ? mutate(random, whole)
    : chance(random, 0.1)
      ? whole.subarray(0, integer(random, 0, whole.length))
      : whole;
  return {
    pieces: chance(random, 0.5) ? [sent] : [...pieces(random, sent)].slice(0, 300),
    end: pick(random, ['end', 'end', 'end', 'end', 'wait', 'reset'] as const),
  };
}
