// One upstream: its address, its way there, its credentials and its connections. Turns what it answers into three
// outcomes: here it is, it is not there, or the upstream failed; and notes in its health what that tells.
import type { IncomingMessage } from 'node:http';
import type { Deadlines, UpstreamConfig } from '../config.ts';
import { CacheError, isCacheError } from '../errors.ts';
import type { NarInfo } from '../nix/narinfo.ts';
import { checkSigned, type Keys, type PublicKey, readKeys } from '../nix/signature.ts';
import { collect } from '../streams.ts';
import { DialAgent } from './agent.ts';
import { type Answer, extentOf, isContinuation, type Part, rangeHeader, validatorOf } from './answer.ts';
import { Body, discard, type Watch } from './body.ts';
import type { Breakers } from './breaker.ts';
import { Connections } from './connections.ts';
import { dial } from './dial.ts';
import { Health } from './health.ts';
import { Pace } from './pace.ts';
import { Parts } from './parts.ts';
import { Whereabouts } from './reach.ts';
import { get } from './request.ts';
import { names, type Resolver } from './resolve.ts';
import type { Slots } from './slots.ts';
import { outcomeOf, type Question } from './status.ts';
import { USER_AGENT } from './target.ts';
import { hostOf, httpUrl, redirected } from './urls.ts';
import { NOBODY, newInstance, type Via, viaHeader, viaOf } from './via.ts';

export interface UpstreamOptions {
  /** PEM authorities to trust for this upstream in addition to the usual ones. */
  readonly ca: readonly string[] | undefined;
  readonly deadlines: Deadlines;
  /** Of all upstreams: those with the same proxy share what is known of it. */
  readonly breakers: Breakers;
  /** What this service calls itself towards others of its kind. */
  readonly self?: string;
  /** Finds the addresses of names. */
  readonly resolver?: Resolver;
  /** Of all upstreams, if those are bounded. */
  readonly connections?: Connections;
}

/** How badly something is wanted. */
export interface Need {
  /** Whether nobody else is left to be asked: then whoever is believed dead is asked too. */
  readonly insist?: boolean | undefined;
  /** Whether minutes may pass before it begins, as whoever asks gives it up when somebody else has answered. */
  readonly patient?: boolean | undefined;
}

/** How something is asked for. */
export interface Manner extends Need {
  /** If only a part of it is wanted. */
  readonly part?: Part | undefined;
  /** Whether it is a name of another cache, which this one need not understand. */
  readonly foreign?: boolean | undefined;
  /** Whom the request that needs it has come through. */
  readonly via?: Via | undefined;
}

/** How a request goes out. */
interface Way extends Question {
  readonly slots: Slots;
  /** Throws if it is not to be sent after all. */
  readonly admit: () => void;
  readonly signal: AbortSignal;
  readonly part: Part | undefined;
  readonly via: Via;
}

const MAX_CACHE_INFO_BYTES = 64 * 1024;

export class Upstream {
  /** Without a trailing slash; also its name in messages and the origin of what came from it. */
  readonly url: string;
  /** Whether it is believed to work. Whoever has a choice asks this before asking the upstream. */
  readonly health: Health;
  /** How fast one connection to it has lately been. */
  readonly pace = new Pace();
  /** Whether it gives parts of its files. */
  readonly parts: Parts;
  /** What it calls itself, if it is another instance of this service and has answered already. */
  instance: string | undefined;
  #keys: Keys;
  readonly #self: string;
  readonly #base: URL;
  readonly #whereabouts: Whereabouts;
  readonly #authorization: string | undefined;
  readonly #deadlines: Deadlines;
  readonly #agent: DialAgent;
  readonly #connections: Connections;
  readonly #now: () => number;
  readonly #closing = new AbortController();

  constructor(config: UpstreamConfig, options: UpstreamOptions) {
    const { ca, deadlines, breakers, connections, resolver = names, self = newInstance() } = options;
    this.url = config.url;
    this.#self = self;
    this.#keys = readKeys(config.publicKeys);
    this.#base = new URL(config.url);
    this.#deadlines = deadlines;
    this.#now = breakers.now;
    this.parts = new Parts(breakers.now);
    if (config.credentials !== undefined) {
      const { username, password } = config.credentials;
      this.#authorization = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
    }
    const timeoutMs = deadlines.connectMs;
    const { maxConnections, proxy } = config;
    this.#whereabouts = new Whereabouts(hostOf(this.#base), proxy !== undefined, resolver);
    this.#connections = new Connections(maxConnections, connections);
    this.#agent = new DialAgent(
      (target, signal) => dial(target, { proxy, ca, timeoutMs, signal, resolver }),
      maxConnections,
      proxy && ` through proxy ${proxy.label}`,
    );
    this.health = new Health(
      breakers.of(`upstream ${config.url}`),
      proxy && breakers.of(`proxy ${proxy.label}`),
      () => this.#probe(),
      breakers.now,
    );
  }

  /**
   * Whether one of its keys has signed the narinfo, which came from here; if it has none, nobody need have.
   * @throws CacheError `invalid` if one had to and none has
   */
  checkSigned(info: NarInfo, storeDir: string): boolean {
    try {
      checkSigned(info, this.#keys, storeDir);
      return this.#keys.length > 0;
    } catch (error) {
      this.health.stats.unsigned++;
      throw error;
    }
  }

  /** Whether a key of that name is to sign what comes from here. */
  hasKey(name: string): boolean {
    return this.#keys.some((key) => key.name === name);
  }

  /** From now on these are its keys. */
  trust(keys: readonly PublicKey[]): void {
    this.#keys = readKeys(keys);
  }

  /** What a narinfo's URL of this upstream, or a path relative to its own URL, refers to. */
  resolve(reference: string): URL {
    return httpUrl(reference, `${this.url}/`, `${this.url}: refers to`);
  }

  /**
   * Asks for `url`, following redirects. `large` answers do not hold up small ones.
   * @returns undefined if the upstream says that it has no such thing
   * @throws CacheError `not-found` if it does not know what a foreign URL means; `upstream`, `refused`, `proxy`, `timeout` or
   * `aborted`; at once if the upstream is believed dead
   */
  get(
    url: URL,
    large: boolean,
    signal: AbortSignal,
    { part, foreign = false, insist = false, via = NOBODY }: Manner = {},
  ): Promise<Answer | undefined> {
    // It asks us because it has no such thing.
    if (this.instance !== undefined && via.includes(this.instance)) return Promise.resolve(undefined);
    const insists = insist || isContinuation(part);
    // Called again when a slot is there: whoever waited for one need not try what others have tried in vain.
    const admit = () => {
      if (!this.health.good && !insists) throw this.health.refusal(this.url);
    };
    const { [large ? 'large' : 'small']: slots } = this.#connections;
    const ask = (asked: Part | undefined) =>
      this.#get(url, { slots, admit, signal, part: asked, foreign, via });
    return part === undefined ? ask(undefined) : this.parts.ask(part, ask);
  }

  async #get(url: URL, way: Way): Promise<Answer | undefined> {
    way.admit();
    const { health } = this;
    const { response, own } = await this.#follow(url, way);
    // What another origin does, which a narinfo's URL or a redirect may name, does not tell against this upstream.
    const asked = url.origin === this.#base.origin;
    const watch: Watch = {
      received: (bytes) => health.received(bytes),
      delivered: () => asked && health.delivered(),
      failed: (error) => own && !isContinuation(way.part) && health.failed(error),
    };
    const name = `${url.href}${this.#agent.through}`;
    const refuse = (problem: string, code: 'upstream' | 'refused' | 'not-found' = 'refused') => {
      discard(response);
      return new CacheError(code, `${name}: ${problem}`);
    };
    const { statusCode: status = 0, statusMessage } = response;
    const question = way.part?.whole === true ? { ...way, part: undefined } : way;
    const outcome = outcomeOf(status, { ...question, proxied: this.#agent.through !== '' });
    if (outcome === 'missing') {
      discard(response);
      watch.delivered();
      return undefined;
    }
    if (outcome !== 'here') {
      const code = outcome === 'refused' ? outcome : outcome === 'strange' ? 'not-found' : 'upstream';
      const error = refuse(`answered ${status} ${statusMessage}${hintAt(status, this.#agent.through)}`, code);
      if (outcome === 'broken' && !this.parts.asksAgain(way.part, error)) watch.failed(error);
      else if (status < 500) watch.delivered();
      throw error;
    }
    if (response.headers['content-type']?.startsWith('text/html')) {
      const error = refuse('answered with a web page, expected a file of a binary cache', 'upstream');
      // Also at the end of a redirect: so networks answer that want a login first.
      if (asked && !way.foreign) health.failed(error);
      throw error;
    }
    const extent = extentOf(response, way.part);
    if (typeof extent === 'string') throw refuse(extent);
    const body = new Body(response, name, this.#deadlines.stallMs, watch, way.signal);
    return { body, ...extent, validator: validatorOf(response) };
  }

  /** The answer at the end of all redirects; `own` if it is this upstream's and not that of another origin. */
  async #follow(start: URL, way: Way): Promise<{ response: IncomingMessage; own: boolean }> {
    let url = start;
    for (let redirects = 0; ; redirects++) {
      const own = url.origin === this.#base.origin;
      const response = await this.#ask(url, own, way);
      const { location } = response.headers;
      if (![301, 302, 303, 307, 308].includes(response.statusCode ?? 0) || location === undefined)
        return { response, own };
      discard(response);
      url = redirected(start, url, location, redirects);
    }
  }

  async #ask(url: URL, own: boolean, { slots, admit, signal, part, via }: Way): Promise<IncomingMessage> {
    const { health } = this;
    const headers: Record<string, string> = {
      'accept-encoding': 'identity',
      'user-agent': USER_AGENT,
      via: viaHeader([...via, this.#self]),
    };
    if (part !== undefined && part.whole !== true) headers.range = rangeHeader(part);
    // Credentials are this upstream's: another origin never sees them.
    if (this.#authorization !== undefined && own) headers.authorization = this.#authorization;
    const started = this.#now();
    let sent = false;
    const send = () => {
      admit();
      sent = true;
      health.stats.requests++;
    };
    const { firstByteMs } = this.#deadlines;
    const onlyPublic = !own && !(await this.#whereabouts.isPrivate());
    try {
      const response = await get(url, {
        agent: this.#agent,
        slots,
        admit: send,
        headers,
        firstByteMs,
        onlyPublic,
        signal,
      });
      const instance = viaOf(response.headers.via).at(-1);
      if (own || instance !== undefined) this.instance = instance;
      if (own) {
        this.#whereabouts.answeredOn(response.socket);
        health.answered(this.#now() - started);
      }
      return response;
    } catch (error) {
      const tells = own || isCacheError(error, 'proxy');
      // What it says to the whole, which is asked for then, tells whether it fails.
      if (sent && tells && !isContinuation(part) && !this.parts.asksAgain(part, error)) health.failed(error);
      throw error;
    }
  }

  /** Asks for the one thing that every cache has, whatever it answers. */
  async #probe(): Promise<void> {
    const url = this.resolve('nix-cache-info');
    const way = {
      slots: this.#connections.small,
      admit: () => {},
      signal: this.#closing.signal,
      part: undefined,
      foreign: false,
      via: NOBODY,
    };
    const answer = await this.#get(url, way);
    const tooLong = () => new CacheError('upstream', `${this.url}/nix-cache-info: is too long`);
    if (answer !== undefined) await collect(answer.body, MAX_CACHE_INFO_BYTES, tooLong);
  }

  /** Closes idle connections; busy ones end with their requests. */
  close(): void {
    this.#closing.abort(new CacheError('aborted', 'the service is stopping'));
    this.#agent.destroy();
  }
}

function hintAt(status: number, through: string): string {
  return status === 400 && through.includes('socks5')
    ? ' (trojan passes this on for every path when its password is wrong)'
    : '';
}
