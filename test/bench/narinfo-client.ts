// The client of the benchmark of narinfos: asks for many at once, over HTTP/1.1 with a connection for each that is under way, or
// over one connection of HTTP/2.
import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { connect as connectHttp2, constants } from 'node:http2';
import { setTimeout as delay } from 'node:timers/promises';
import { answerQuestions } from './child.ts';

export interface Question {
  /** http: over HTTP/1.1; https: over HTTP/2. */
  readonly url: string;
  readonly caFile: string;
  /** Each is asked for path after path. */
  readonly series: readonly (readonly string[])[];
  /** How many series are under way at once. */
  readonly atOnce: number;
  /** A request that takes longer is given up, and done again later; nix-index does so. */
  readonly patienceMs?: number;
}

export interface Taken {
  readonly ms: number;
  readonly givenUp: number;
}

type Ask = (path: string, signal: AbortSignal) => Promise<void>;

/** nix-index: at least so long after it was given up. */
const AGAIN_MS = 5000;

answerQuestions(async ({ url, caFile, series, atOnce, patienceMs }: Question): Promise<Taken> => {
  const started = performance.now();
  const { ask, close } = url.startsWith('https:') ? http2(url, caFile) : http1(url, atOnce);
  let givenUp = 0;
  const get = async (path: string): Promise<void> => {
    for (;;) {
      const patience = new AbortController();
      const timer = patienceMs === undefined ? undefined : setTimeout(() => patience.abort(), patienceMs);
      try {
        return await ask(path, patience.signal);
      } catch (error) {
        if (!patience.signal.aborted) throw error;
        givenUp++;
        await delay(AGAIN_MS);
      } finally {
        clearTimeout(timer);
      }
    }
  };
  const rest = [...series];
  const work = async () => {
    for (let next = rest.shift(); next !== undefined; next = rest.shift())
      for (const path of next) await get(path);
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  close();
  return { ms: performance.now() - started, givenUp };
});

function http1(url: string, atOnce: number): { ask: Ask; close: () => void } {
  const agent = new Agent({ keepAlive: true, maxSockets: atOnce });
  const ask: Ask = (path, signal) =>
    new Promise((resolve, reject) => {
      const outgoing = request(`${url}/${path}`, { agent, signal }, (message) => {
        message.resume().once('error', reject);
        message.once('end', () => {
          if (message.statusCode === 200) resolve();
          else reject(new Error(`GET ${url}/${path}: ${message.statusCode}`));
        });
      });
      outgoing.once('error', reject).end();
    });
  return { ask, close: () => agent.destroy() };
}

function http2(url: string, caFile: string): { ask: Ask; close: () => void } {
  const session = connectHttp2(url, { ca: readFileSync(caFile) });
  const ask: Ask = (path, signal) =>
    new Promise((resolve, reject) => {
      const stream = session.request({ ':path': `/${path}` }, { signal });
      let status: number | undefined;
      stream.once('response', (headers) => {
        status = headers[':status'];
      });
      stream.once('error', reject).resume();
      stream.once('close', () => {
        if (status === 200 && stream.rstCode === constants.NGHTTP2_NO_ERROR) resolve();
        else reject(new Error(`GET ${url}/${path}: ${status}, reset with ${stream.rstCode}`));
      });
    });
  return { ask, close: () => session.close() };
}
