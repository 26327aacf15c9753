// An upstream as a program: it makes up files of any size, sends them at a given pace, and keeps account of what it sent
// when. Asked by messages; see upstream.ts for the other side.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { encodeNix32 } from '../../lib/nix/nix32.ts';
import { makePackage, noise } from '../fixtures/nar.ts';
import { answerQuestions, sharedNow } from './child.ts';

export interface Manner {
  /** Bytes per second of one connection. */
  readonly perConnection?: number;
  /** Bytes per second of all connections together. */
  readonly total?: number;
  /** From a request to the first byte of its answer. */
  readonly thinkMs?: number;
  /** Accepts connections and never says a word. */
  readonly silent?: boolean;
}

export type Question =
  | { readonly type: 'listen'; readonly manner: Manner }
  | { readonly type: 'make'; readonly name: string; readonly size: number }
  | { readonly type: 'sent' };

export interface Made {
  readonly narInfoPath: string;
  readonly narPath: string;
}

export interface Sent {
  /** Bytes of NARs since the last question. */
  readonly bytes: number;
  /** When the first byte of the answer to each path went out, by the shared clock. */
  readonly firstAt: Readonly<Record<string, number>>;
}

interface File {
  readonly size: number;
  /** Repeated as often as it takes; of a length that no power of two divides. */
  readonly block: Buffer;
}

const BLOCK_BYTES = (1 << 20) + 13;
/** How late a timer may be without costing pace. */
const LATE_MS = 20;

const files = new Map<string, File>();
let manner: Manner = {};
let sent: { bytes: number; firstAt: Record<string, number> } = { bytes: 0, firstAt: {} };

/** Says how long to wait until so many bytes more are within the pace. */
class Pacer {
  readonly #bytesPerMs: number;
  #at = 0;

  constructor(bytesPerSecond = Number.POSITIVE_INFINITY) {
    this.#bytesPerMs = bytesPerSecond / 1000;
  }

  reserve(bytes: number): number {
    const now = performance.now();
    this.#at = Math.max(this.#at, now - LATE_MS) + bytes / this.#bytesPerMs;
    return this.#at - now;
  }
}

let link = new Pacer();

function make(name: string, size: number): Made {
  const block = noise(Math.min(size, BLOCK_BYTES), name);
  const hash = createHash('sha256');
  for (let at = 0; at < size; at += block.length) hash.update(block.subarray(0, size - at));
  const digest = encodeNix32(hash.digest());
  const fields = {
    FileHash: `sha256:${digest}`,
    FileSize: String(size),
    NarHash: `sha256:${digest}`,
    NarSize: String(size),
  };
  const { narInfo, narInfoPath } = makePackage(name, { size: 0, url: `nar/${digest}.nar`, fields });
  const narPath = `/nar/${digest}.nar`;
  const text = Buffer.from(narInfo);
  files.set(narInfoPath, { size: text.length, block: text });
  files.set(narPath, { size, block });
  return { narInfoPath, narPath };
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = request.url ?? '';
  const file = files.get(path);
  if (manner.thinkMs !== undefined) await delay(manner.thinkMs);
  if (file === undefined) {
    response.writeHead(404, { 'content-length': 0 }).end();
    return;
  }
  const { size } = file;
  const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? [];
  const start = Number(first ?? 0);
  const end = last ? Math.min(Number(last) + 1, size) : size;
  response.setHeader('content-length', end - start);
  if (first !== undefined) {
    response.statusCode = 206;
    response.setHeader('content-range', `bytes ${start}-${end - 1}/${size}`);
  }
  sent.firstAt[path] ??= sharedNow();
  await send(response, file, start, end);
  response.end();
}

async function send(response: ServerResponse, { block }: File, start: number, end: number): Promise<void> {
  const { perConnection } = manner;
  const own = new Pacer(perConnection);
  let wake = (): void => {};
  response.on('drain', () => wake()).on('close', () => wake());
  const step = perConnection === undefined ? 64 << 10 : 16 << 10;
  for (let at = start; at < end && !response.destroyed; ) {
    const offset = at % block.length;
    const piece = block.subarray(offset, offset + Math.min(step, end - at));
    const waitMs = Math.max(own.reserve(piece.length), link.reserve(piece.length));
    if (waitMs > 1) await delay(waitMs);
    sent.bytes += piece.length;
    at += piece.length;
    if (response.write(piece) || response.destroyed) continue;
    await new Promise<void>((resolve) => {
      wake = resolve;
    });
  }
}

async function listen(): Promise<number> {
  const server = createServer((request, response) => {
    response.on('error', () => {});
    if (manner.silent !== true) void answer(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

answerQuestions<Question>(async (question) => {
  switch (question.type) {
    case 'listen':
      manner = question.manner;
      link = new Pacer(manner.total);
      return listen();
    case 'make':
      return make(question.name, question.size);
    case 'sent': {
      const answer = sent;
      sent = { bytes: 0, firstAt: {} };
      return answer;
    }
  }
});
