// What node:http alone costs: a handler that has nothing to do but look up the answer. It sends what another server gave, headers and
// bytes, for each path that it was told of.
import { createServer, get } from 'node:http';
import type { AddressInfo } from 'node:net';
import { answerQuestions } from './child.ts';

export interface Question {
  /** Where it learns its answers. */
  readonly base: string;
  readonly paths: readonly string[];
}

interface Answer {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: Buffer;
}

/** What node:http adds by itself. */
const ADDED = new Set(['date', 'connection', 'keep-alive']);

const answers = new Map<string, Answer>();
const server = createServer(
  { keepAliveTimeout: 150_000, requestTimeout: 0, noDelay: true, keepAlive: true },
  (req, res) => {
    const answer = answers.get(req.url ?? '');
    if (answer === undefined) return void res.writeHead(500).end();
    res.writeHead(answer.status, answer.headers);
    res.end(answer.body);
  },
);

answerQuestions(async ({ base, paths }: Question) => {
  const rest = [...paths];
  const learnAll = async () => {
    for (let path = rest.pop(); path !== undefined; path = rest.pop())
      answers.set(path, await learn(base + path));
  };
  await Promise.all(Array.from({ length: 16 }, learnAll));
  if (!server.listening) await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
});

function learn(url: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    get(url, async (res) => {
      const pieces: Buffer[] = [];
      for await (const piece of res) pieces.push(piece);
      resolve({ status: res.statusCode ?? 0, headers: given(res.rawHeaders), body: Buffer.concat(pieces) });
    }).on('error', reject);
  });
}

function given(raw: readonly string[]): Record<string, string> {
  const headers: Record<string, string> = {};
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] as string;
    if (!ADDED.has(name.toLowerCase())) headers[name] = raw[i + 1] as string;
  }
  return headers;
}
