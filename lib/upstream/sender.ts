// Sends the requests of one upstream, over its connections and through its proxy, and follows where they are redirected to.
import { OFFERED } from '../bytes/codings.ts';
import type { Deadlines, UpstreamConfig } from '../config/config.ts';
import { CacheError } from '../errors.ts';
import type { Emit } from '../events.ts';
import { isAhead } from '../sync/ahead.ts';
import { Slots } from '../sync/slots.ts';
import { DialAgent } from '../wire/agent.ts';
import { dial } from '../wire/dial.ts';
import { Origins } from '../wire/origins.ts';
import { Whereabouts } from '../wire/reach.ts';
import { get } from '../wire/request.ts';
import type { Resolver } from '../wire/resolve.ts';
import type { Response } from '../wire/response.ts';
import { USER_AGENT } from '../wire/target.ts';
import { prepareTls } from '../wire/tls.ts';
import { hostOf, redirected, shown, targetOf } from '../wire/urls.ts';
import { isContinuation, rangeHeader } from './answer.ts';
import { discard } from './body.ts';
import type { Breakers } from './breaker.ts';
import { Connections } from './connections.ts';
import { isWebPage } from './forbidden.ts';
import type { Health } from './health.ts';
import { Parties, type Party, type Way } from './parties.ts';
import { Postponement } from './standing.ts';
import type { Throttle } from './throttle.ts';
import { NOBODY, viaHeader } from './via.ts';

interface SenderOptions {
  readonly ca: readonly string[] | undefined;
  readonly deadlines: Deadlines;
  readonly breakers: Breakers;
  readonly connections: Connections | undefined;
  readonly emit: Emit;
  readonly health: Health;
  /** Connections at once for one large answer. */
  readonly parallel: number;
  /** Finds the addresses of names. */
  readonly resolver: Resolver;
  /** What this service calls itself towards others of its kind. */
  readonly self: string;
  /** Told of every answer, and whether it is the upstream's own. */
  readonly seen: (response: Response, own: boolean) => void;
}

/** How long a NAR may take to begin: some are packed only then, and clients wait for 300 s. */
const NAR_FIRST_BYTE_MS = 280_000;
/** How long a request may be held back as the upstream was asked too often: what is large, and what is not. */
const MOST_HELD_MS = { large: 30_000, small: 10_000 };

export class Sender {
  /** For messages: ` through proxy http://…`, or nothing. */
  readonly through: string;
  readonly #base: URL;
  readonly #authorization: string | undefined;
  readonly #whereabouts: Whereabouts;
  readonly #connections: Connections;
  /** A look does not queue behind requests that hang. */
  readonly #lookSlots = new Slots(4);
  readonly #agent: DialAgent;
  readonly #origins: Origins;
  readonly #deadlines: Deadlines;
  readonly #emit: Emit;
  readonly #url: string;
  /** Who may answer. */
  readonly parties: Parties;
  readonly #self: string;
  readonly #seen: SenderOptions['seen'];
  readonly #now: () => number;
  readonly #closing = new AbortController();

  constructor({ url, credentials, maxConnections, proxy }: UpstreamConfig, options: SenderOptions) {
    const { ca, deadlines, breakers, connections, emit, health, parallel, resolver, self, seen } = options;
    this.#self = self;
    this.#seen = seen;
    this.#url = url;
    this.#base = new URL(url);
    if (credentials !== undefined) {
      const { username, password } = credentials;
      this.#authorization = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
    }
    this.through = proxy === undefined ? '' : ` through proxy ${proxy.label}`;
    this.#whereabouts = new Whereabouts(hostOf(this.#base), proxy !== undefined, resolver);
    this.#connections = new Connections(maxConnections, connections);
    const timeoutMs = deadlines.connectMs;
    this.#origins = new Origins({
      dial: (target, signal, protocols) =>
        dial(target, { proxy, ca, timeoutMs, signal, resolver, protocols }),
      most: Math.min(parallel + 1, maxConnections),
      now: () => performance.now(),
    });
    this.#agent = new DialAgent(
      (target, signal) => this.#origins.at(target).connect(signal),
      maxConnections,
      this.through,
    );
    for (const slots of [this.#connections.small, this.#connections.large])
      slots.whenCrowded(() => this.#origins.giveWay());
    if (this.#base.protocol === 'https:') setImmediate(prepareTls, ca);
    this.#deadlines = deadlines;
    this.#emit = emit;
    const { through } = this;
    const wayOut = proxy && breakers.wayOut(proxy.label);
    this.parties = new Parties({ url, through, health, breakers, deadlines, wayOut });
    this.#now = breakers.clock.now;
  }

  /** Whether somebody waits for a connection for a large answer. */
  get largeSlots(): Pick<Slots, 'isCrowded' | 'whenCrowded'> {
    const both = [this.#connections.large, this.#origins];
    return {
      get isCrowded() {
        return both.some(({ isCrowded }) => isCrowded);
      },
      whenCrowded: (listener) => {
        for (const one of both) one.whenCrowded(listener);
      },
    };
  }

  /** Has a connection be there before anybody asks, which over a long line costs more than the answer. */
  prepare(): void {
    if (this.#base.protocol === 'https:')
      this.#origins.at(targetOf(this.#base, false)).prepare(this.#connections.small);
  }

  /** The answer at the end of all redirects, and whose it is. */
  async follow(start: URL, way: Way): Promise<{ response: Response; party: Party }> {
    let url = start;
    for (let redirects = 0; ; redirects++) {
      const party = this.parties.at(url, start, way);
      const response = await this.#ask(url, party, way);
      const { location } = response.headers;
      if (!isRedirect(response) || location === undefined) return { response, party };
      discard(response);
      url = redirected(start, url, location, redirects);
    }
  }

  /** The first answer, be it a redirect. */
  ask(url: URL, way: Way): Promise<Response> {
    return this.#ask(url, this.parties.at(url, url, way), way);
  }

  /** Whoever insists waits, and asks again, for as long as the other side wants to be left alone. */
  async #ask(url: URL, party: Party, way: Way): Promise<Response> {
    const insists = !isAhead(way.ahead) && (way.insist || isContinuation(way.part));
    const heldMs = insists ? MOST_HELD_MS[way.large ? 'large' : 'small'] : 0;
    const until = this.#now() + heldMs;
    for (;;) {
      const leftMs = until - this.#now();
      const response = await this.#askOnce(url, party, way, leftMs);
      if (response.statusCode !== 429 || way.looking || party.standing.throttle.leftMs > leftMs)
        return response;
      discard(response);
    }
  }

  async #askOnce(url: URL, party: Party, way: Way, heldMs: number): Promise<Response> {
    const { large, signal } = way;
    const { throttle } = party.standing;
    const admit = () => this.parties.admit(url, way, () => this.#peek(url));
    admit();
    const release = way.looking ? () => {} : await this.#turn(throttle, heldMs, url, signal);
    const sent = { at: undefined as number | undefined, connected: false };
    const { firstByteMs } = this.#deadlines;
    try {
      const onlyPublic = !party.own && !(await this.#whereabouts.isPrivate());
      const response = await get(url, {
        agent: this.#agent,
        origins: this.#origins,
        isLarge: large,
        isPart: isContinuation(way.part),
        slots: way.looking ? this.#lookSlots : this.#connections[large ? 'large' : 'small'],
        // Called when a slot is free: meanwhile others may have found the upstream dead.
        admit: (waitedMs = 0) => {
          admit();
          sent.at = this.#now() - waitedMs;
        },
        connected: () => {
          sent.connected = true;
        },
        headers: this.#headers(party.own, way),
        firstByteMs: way.patient
          ? Math.max(this.#deadlines.narFirstByteMs ?? NAR_FIRST_BYTE_MS, firstByteMs)
          : firstByteMs,
        onlyPublic,
        ahead: way.ahead,
        signal,
      });
      this.#seen(response, party.own);
      if (party.own) this.#whereabouts.answeredOn(response.socket);
      this.#told(sent.at, response.statusCode, undefined);
      this.parties.answered(party, response, way);
      return response;
    } catch (error) {
      this.#told(sent.at, undefined, error);
      if (sent.at !== undefined && !this.#closing.signal.aborted)
        this.parties.failed(error, url, party, way, { ...sent, ms: this.#now() - sent.at });
      throw error;
    } finally {
      release();
    }
  }

  /** Of what was not sent, nothing is told. */
  #told(sentAt: number | undefined, status: number | undefined, error: unknown): void {
    if (sentAt === undefined) return;
    const ms = this.#now() - sentAt;
    this.#emit({ kind: 'upstream-request', upstream: this.#url, status, error, ms });
  }

  async #turn(throttle: Throttle, ms: number, url: URL, signal: AbortSignal): Promise<() => void> {
    const release = await throttle.turn(ms, signal).catch((cause) => {
      throw new CacheError('aborted', `${shown(url)}: no longer wanted`, cause);
    });
    const name = `${shown(url)}${this.through}`;
    if (release === undefined) throw new Postponement(`${name} is not asked now: too many requests`);
    return release;
  }

  #headers(own: boolean, { codings = false, part, via }: Way): Record<string, string> {
    const isPart = part !== undefined && part.whole !== true;
    const headers: Record<string, string> = {
      'accept-encoding': codings && !isPart ? OFFERED : 'identity',
      'user-agent': USER_AGENT,
      via: viaHeader([...via, this.#self]),
    };
    if (isPart) headers.range = rangeHeader(part);
    // Credentials go to this upstream's own origin only.
    if (this.#authorization !== undefined && own) headers.authorization = this.#authorization;
    return headers;
  }

  /** Asks for one byte of what somebody wants of an origin that is believed dead. */
  async #peek(url: URL): Promise<void> {
    const { signal } = this.#closing;
    const part = { start: 0, end: 1 };
    const manner = { part, ahead: undefined, insist: false, patient: false, looking: true };
    const way = { large: false, via: NOBODY, signal, excuses: () => false, ...manner };
    const response = await this.ask(url, way);
    discard(response);
    const { statusCode: status = 0 } = response;
    if (status >= 500 || isWebPage(response))
      throw new CacheError('upstream', `${shown(url)}${this.through}: answered ${status} to a look`);
  }

  /** Of what nobody else waits for. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /** Closes idle connections; busy ones end with their requests. */
  close(): void {
    const stopping = new CacheError('aborted', 'the service is stopping');
    this.#closing.abort(stopping);
    this.#agent.destroy();
    this.#origins.close(stopping);
  }
}

export function isRedirect({ statusCode = 0 }: Response): boolean {
  return [301, 302, 303, 307, 308].includes(statusCode);
}
