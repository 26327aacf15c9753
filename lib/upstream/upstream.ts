// One upstream: its address, its way there, its credentials and its connections. Turns what it answers into three
// outcomes: here it is, it is not there, or the upstream failed.
import type { IncomingMessage } from 'node:http';
import type { Deadlines, UpstreamConfig } from '../config.ts';
import { CacheError } from '../errors.ts';
import { codingOf } from '../streams.ts';
import { DialAgent } from './agent.ts';
import { Body, discard, type Incoming } from './body.ts';
import { dial } from './dial.ts';
import { get } from './request.ts';
import { Slots } from './slots.ts';

/** What an upstream has under a URL. Read the body to its end or destroy it. */
export interface Answer {
  readonly body: Incoming;
  /** Bytes of the body; undefined if the upstream does not tell. */
  readonly size: number | undefined;
}

const MAX_REDIRECTS = 10;
/** Connections at once for small answers, and as many again for NARs, so that narinfos never queue behind them. */
const CONNECTIONS = 16;

export class Upstream {
  /** Without a trailing slash; also its name in messages and the origin of what came from it. */
  readonly url: string;
  readonly #base: URL;
  readonly #authorization: string | undefined;
  readonly #deadlines: Deadlines;
  readonly #agent: DialAgent;
  readonly #slots = { small: new Slots(CONNECTIONS), large: new Slots(CONNECTIONS) };

  /** `ca`: PEM authorities to trust for this upstream in addition to the usual ones. */
  constructor(config: UpstreamConfig, ca: readonly string[] | undefined, deadlines: Deadlines) {
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
   * Asks for `url`, following redirects. `large` answers do not hold up small ones.
   * @returns undefined if the upstream says that it has no such thing
   * @throws CacheError `upstream`, `proxy`, `timeout` or `aborted`
   */
  async get(url: URL, large: boolean, signal: AbortSignal): Promise<Answer | undefined> {
    const response = await this.#follow(url, large ? this.#slots.large : this.#slots.small, signal);
    const status = response.statusCode ?? 0;
    const label = url.href;
    if (status === 404 || status === 403 || status === 410) {
      discard(response);
      return undefined;
    }
    if (status !== 200) {
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
    const length = response.headers['content-length'];
    const size =
      length === undefined || codingOf(response.headers['content-encoding']) !== undefined
        ? undefined
        : Number(length);
    return { body: new Body(response, label, this.#deadlines.stallMs, signal), size };
  }

  async #follow(start: URL, slots: Slots, signal: AbortSignal): Promise<IncomingMessage> {
    let url = start;
    for (let redirects = 0; ; redirects++) {
      const headers: Record<string, string> = {
        'accept-encoding': 'identity',
        'user-agent': 'nix-binary-cache',
      };
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
