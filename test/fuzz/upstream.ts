// An upstream that means ill: right answers, answers that are almost right, and bytes that are no answer.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { chance, integer, narInfoText, type Random, size } from '../fixtures/arbitrary.ts';
import { defer, type Owner } from '../fixtures/defer.ts';
import { mutate, pieces } from '../fixtures/mutations.ts';
import { pick, randomSource } from '../fixtures/random.ts';

const BOMB = gzipSync(Buffer.alloc(16 << 20));

/** Starts it; what it has under a path it sends at times as it is. Its URL. */
export async function startFuzzUpstream(
  t: Owner,
  files: ReadonlyMap<string, Buffer>,
  seed: number,
): Promise<string> {
  const sockets = new Set<Socket>();
  const random = randomSource(seed);
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).once('close', () => sockets.delete(socket));
    let head = '';
    socket.on('data', (chunk: Buffer) => {
      head += chunk.toString('latin1');
      const end = head.indexOf('\r\n\r\n');
      if (end < 0) return;
      const path = /^GET (\S+)/.exec(head)?.[1] ?? '/';
      head = head.slice(end + 4);
      void answer(random, socket, path, files);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  defer(t, async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  });
  return `http://alice:${secretOf('upstream')}@127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A password that stands nowhere else. */
export function secretOf(name: string): string {
  return createHash('sha256').update(name).digest('hex').slice(0, 32);
}

async function answer(
  random: Random,
  socket: Socket,
  path: string,
  files: ReadonlyMap<string, Buffer>,
): Promise<void> {
  const bytes = answerBytes(random, path, files);
  for (const piece of chance(random, 0.7) ? [bytes] : [...pieces(random, bytes)].slice(0, 300)) {
    socket.write(piece);
    await new Promise(setImmediate);
  }
  const end = pick(random, ['keep', 'keep', 'end', 'reset', 'wait']);
  if (end === 'end') socket.end();
  if (end === 'reset') socket.resetAndDestroy();
}

function answerBytes(random: Random, path: string, files: ReadonlyMap<string, Buffer>): Buffer {
  const hash = /^\/([0-9a-z]{32})\.narinfo/.exec(path)?.[1];
  const body =
    files.get(path.split('?', 1)[0] ?? '') ??
    Buffer.from(hash === undefined ? 'text' : narInfoText(random, '/nix/store', hash));
  const right = Buffer.concat([
    Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`),
    body,
  ]);
  const huge = size(random, 1e6);
  const bytes = pick<() => Buffer | string>(random, [
    () => right,
    () => right,
    () => mutate(random, right),
    () => 'HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n',
    () =>
      `HTTP/1.1 ${integer(random, 100, 999)} \x80\x9b[2J\r\nContent-Length: 2\r\nRetry-After: 1\r\n\r\nno`,
    () =>
      `${'HTTP/1.1 103 Early\r\nLink: <x>\r\n\r\n'.repeat(size(random, 2000))}${right.toString('latin1')}`,
    () => `HTTP/1.1 200 OK\r\n${'X: y\r\n'.repeat(huge / 6)}\r\n`,
    () => `HTTP/1.1 200 OK\r\nX: ${'y'.repeat(huge)}\r\n\r\n`,
    () =>
      `HTTP/1.1 302 Found\r\nLocation: ${pick(random, ['/x', path, 'http://127.0.0.1:1/', 'file:///etc/passwd', 'https:\xf0\x9f//u:p@h', '//', '\x80'])}\r\nContent-Length: 0\r\n\r\n`,
    () =>
      `HTTP/1.1 206 P\r\nContent-Range: bytes ${size(random)}-${'9'.repeat(integer(random, 1, 400))}/${pick(random, ['*', '1', '9'.repeat(30)])}\r\n\r\nx`,
    () => `HTTP/1.1 200 OK\r\nContent-Length: ${'9'.repeat(integer(random, 10, 25))}\r\n\r\nx`,
    () =>
      `HTTP/1.1 200 OK\r\nETag: ${'"'.repeat(integer(random, 0, 4))}\r\nContent-Type: \x80\r\nTransfer-Encoding: ${pick(random, ['chunked', 'gzip, chunked', 'x'])}\r\n\r\n${pick(random, ['5\r\nhello\r\n0\r\n\r\n', 'zz\r\n', 'fffffffff\r\nx'])}`,
    () =>
      Buffer.concat([
        Buffer.from(`HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: ${BOMB.length}\r\n\r\n`),
        BOMB,
      ]),
    () => mutate(random, 'HTTP/0.9'),
    () => '',
  ])();
  return typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes;
}
