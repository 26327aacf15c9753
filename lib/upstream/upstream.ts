// One upstream: its address, its way there, its credentials and its connections. Turns what it answers into three
// outcomes: here it is, it is not there, or the upstream failed.
import type { IncomingMessage } from 'node:http';
import { codingOf } from '../codings.ts';
import type { UpstreamConfig } from '../config.ts';
import { CacheError } from '../errors.ts';
import { DialAgent } from './agent.ts';
import { Body, discard, type Incoming } from './body.ts';
import { dial } from './dial.ts';
import { Pace } from './pace.ts';
import { get } from './request.ts';
import { Slots } from './slots.ts';

/** Milliseconds an upstream may take: to be connected through all handshakes, to answer, to stay silent. */
export interface Deadlines {
  readonly connectMs: number;
  readonly firstByteMs: number;
  readonly stallMs: number;
}

export const DEADLINES: Deadlines = { connectMs: 5_000, firstByteMs: 10_000, stallMs: 20_000 };

/** What an upstream has under a URL, or a part of it. Read the body to its end or destroy it. */
export interface Answer {
  readonly body: Incoming;
  /** Bytes of the whole; undefined if the upstream does not tell. */
  readonly size: number | undefined;
  /** The body's bytes are those of the whole from here … */
  readonly start: number;
  /** … up to here; undefined if the upstream does not tell. */
  readonly end: number | undefined;
  /** Whether it is the part that was asked for; else it is the whole. */
  readonly partial: boolean;
  /** Differs when the whole has changed: a strong ETag, or else the date; undefined if there is neither. */
  readonly validator: string | undefined;
}

/** From `start` up to, not including, `end`, or to the end if that is undefined. */
export interface Part {
  readonly start: number;
  readonly end: number | undefined;
}

const MAX_REDIRECTS = 10;
/** Connections at once for small answers, and as many again for NARs, so that narinfos never queue behind them. */
const CONNECTIONS = 16;

export class Upstream {
  /** Without a trailing slash; also its name in messages and the origin of what came from it. */
  readonly url: string;
  readonly #base: URL;
  readonly #authorization: string | undefined;
  /** How fast one connection to it has lately been. */
  readonly pace = new Pace();
  readonly #deadlines: Deadlines;
  readonly #agent: DialAgent;
  readonly #slots = { small: new Slots(CONNECTIONS), large: new Slots(CONNECTIONS) };

  /** `ca`: PEM authorities to trust for this upstream in addition to the usual ones. */
  constructor(config: UpstreamConfig, ca: readonly string[] | undefined, deadlines: Deadlines = DEADLINES) {
    this.url = config.url;
    this.#base = new URL(config.url);
    this.#deadlines = deadlines;
    if (config.credentials !== undefined) {
      const { username, password } = config.credentials;
      this.#authorization = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
    }
    const timeoutMs = deadlines.connectMs;
    const { proxy } = config;
    this.#agent = new DialAgent(
      (target, signal) => dial(target, { proxy, ca, timeoutMs, signal }),
      2 * CONNECTIONS,
    );
  }

  /** What a narinfo's URL of this upstream, or a path relative to its own URL, refers to. */
  resolve(reference: string): URL {
    return httpUrl(reference, `${this.url}/`, `${this.url}: refers to`);
  }

  /**
   * Asks for `url`, or a part of it, following redirects. `large` answers do not hold up small ones.
   * @returns undefined if the upstream says that it has no such thing
   * @throws CacheError `upstream`, `proxy`, `timeout` or `aborted`
   */
  async get(url: URL, large: boolean, signal: AbortSignal, part?: Part): Promise<Answer | undefined> {
    const slots = large ? this.#slots.large : this.#slots.small;
    const response = await this.#follow(url, slots, signal, part);
    const status = response.statusCode ?? 0;
    const label = url.href;
    if (status === 404 || status === 403 || status === 410) {
      discard(response);
      return undefined;
    }
    if (status !== 200 && !(status === 206 && part !== undefined)) {
      discard(response);
      throw new CacheError('upstream', `${label}: answered ${status} ${response.statusMessage}`);
    }
    if (response.headers['content-type']?.startsWith('text/html')) {
      discard(response);
      throw new CacheError(
        'upstream',
        `${label}: answered with a web page, expected a file of a binary cache`,
      );
    }
    const extent = status === 206 ? partial(response, label) : whole(response);
    const body = new Body(response, label, this.#deadlines.stallMs, signal);
    return { body, ...extent, validator: validatorOf(response) };
  }

  async #follow(start: URL, slots: Slots, signal: AbortSignal, part?: Part): Promise<IncomingMessage> {
    let url = start;
    for (let redirects = 0; ; redirects++) {
      const headers: Record<string, string> = {
        'accept-encoding': 'identity',
        'user-agent': 'nix-binary-cache',
      };
      if (part !== undefined)
        headers.range = `bytes=${part.start}-${part.end === undefined ? '' : part.end - 1}`;
      // Credentials are this upstream's: another origin, as a narinfo's URL or a redirect may name, never sees them.
      if (this.#authorization !== undefined && url.origin === this.#base.origin) {
        headers.authorization = this.#authorization;
      }
      const { firstByteMs } = this.#deadlines;
      const response = await get(url, { agent: this.#agent, slots, headers, firstByteMs, signal });
      const { location } = response.headers;
      if (![301, 302, 303, 307, 308].includes(response.statusCode ?? 0) || location === undefined)
        return response;
      discard(response);
      if (redirects === MAX_REDIRECTS) {
        throw new CacheError('upstream', `${start.href}: redirected more than ${MAX_REDIRECTS} times`);
      }
      url = this.#redirect(start, url, location);
    }
  }

  #redirect(start: URL, from: URL, location: string): URL {
    const to = httpUrl(location, from.href, `${start.href}: redirected to`);
    if (from.protocol === 'https:' && to.protocol === 'http:') {
      throw new CacheError('upstream', `${start.href}: redirected from https to plain ${to.origin}`);
    }
    return to;
  }

  /** Closes idle connections; busy ones end with their requests. */
  close(): void {
    this.#agent.destroy();
  }
}

/** `reference` as seen from `base`, without the credentials that somebody else may have written into it. */
function httpUrl(reference: string, base: string, what: string): URL {
  const url = URL.canParse(reference, base) ? new URL(reference, base) : undefined;
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new CacheError(
      'upstream',
      `${what} ${JSON.stringify(reference.slice(0, 200))}, expected an http or https URL`,
    );
  }
  url.username = '';
  url.password = '';
  return url;
}

type Extent = Pick<Answer, 'size' | 'start' | 'end' | 'partial'>;

function whole(response: IncomingMessage): Extent {
  const length = response.headers['content-length'];
  const size =
    length === undefined || codingOf(response.headers['content-encoding']) ? undefined : Number(length);
  return { size, start: 0, end: size, partial: false };
}

/** The part that a 206 says it is. */
function partial(response: IncomingMessage, label: string): Extent {
  const header = response.headers['content-range'] ?? '';
  const [, first, last, size] = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(header.trim()) ?? [];
  const coding = codingOf(response.headers['content-encoding']);
  if (first === undefined || Number(last) < Number(first) || coding !== undefined) {
    response.destroy();
    throw new CacheError('upstream', `${label}: answered 206 with Content-Range ${JSON.stringify(header)}`);
  }
  const total = size === '*' ? undefined : Number(size);
  return { size: total, start: Number(first), end: Number(last) + 1, partial: true };
}

function validatorOf(response: IncomingMessage): string | undefined {
  const { etag, 'last-modified': date } = response.headers;
  return etag !== undefined && /^".+"$/.test(etag) ? etag : date;
}
