// An upstream that is never killed, as a process of its own: it has the goods of its seed, answers ranges, and takes its time
// with what is large, so that kills come in the middle.
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { upstreamGoods } from './goods.ts';

const STEP_BYTES = 512 << 10;
const STEP_MS = 20;

const files = new Map<string, Buffer>();
for (const one of upstreamGoods(Number(process.argv[2]))) {
  files.set(one.narPath, one.file);
  files.set(one.narInfoPath, Buffer.from(one.narInfo));
}

async function send(response: ServerResponse, body: Buffer): Promise<void> {
  for (let at = 0; at < body.length && !response.destroyed; at += STEP_BYTES) {
    if (at > 0) await delay(STEP_MS);
    response.write(body.subarray(at, at + STEP_BYTES));
  }
  response.end();
}

const server = createServer((request, response) => {
  response.on('error', () => {});
  const body = files.get(request.url?.split('?')[0] ?? '');
  if (body === undefined) {
    response.writeHead(404, { 'content-length': 0 }).end();
    return;
  }
  const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? [];
  const start = Number(first ?? 0);
  const end = last ? Math.min(Number(last) + 1, body.length) : body.length;
  const partial = { 'content-range': `bytes ${start}-${end - 1}/${body.length}` };
  response.writeHead(first === undefined ? 200 : 206, {
    'content-length': end - start,
    ...(first === undefined ? {} : partial),
  });
  void send(response, body.subarray(start, end));
});
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port));
process.on('disconnect', () => process.exit());
