// One upstream: its address, its way there, its credentials and its connections. Turns what it answers into three
// outcomes: here it is, it is not there, or the upstream failed; and notes in its health what that tells.
import type { Deadlines, UpstreamConfig } from '../config/config.ts';
import { CacheError, isCacheError } from '../errors.ts';
import type { Emit } from '../events.ts';
import type { NarInfo } from '../nix/narinfo.ts';
import { checkSigned, type Keys, readKeys, verifyText } from '../nix/signature.ts';
import type { Ahead } from '../sync/ahead.ts';
import type { Slots } from '../sync/slots.ts';
import { names, type Resolver } from '../wire/resolve.ts';
import type { Response } from '../wire/response.ts';
import { httpUrl } from '../wire/urls.ts';
import { type Answer, extentOf, type Part, validatorOf } from './answer.ts';
import { Body, discard, type Watch } from './body.ts';
import type { Breakers } from './breaker.ts';
import { Coding, UnknownCoding } from './coding.ts';
import type { Connections } from './connections.ts';
import { banIn, isWebPage } from './forbidden.ts';
import { Health } from './health.ts';
import { look } from './look.ts';
import { Pace } from './pace.ts';
import type { Way } from './parties.ts';
import { Parts } from './parts.ts';
import { Sender } from './sender.ts';
import { Postponement, Standing } from './standing.ts';
import { outcomeOf } from './status.ts';
import { NOBODY, newInstance, type Via, viaOf } from './via.ts';

export interface UpstreamOptions {
  /** PEM authorities to trust for this upstream in addition to the usual ones. */
  readonly ca: readonly string[] | undefined;
  readonly deadlines: Deadlines;
  /** Of all upstreams: those with the same proxy share what is known of it. */
  readonly breakers: Breakers;
  readonly emit: Emit;
  /** What this service calls itself towards others of its kind. */
  readonly self?: string;
  /** Finds the addresses of names. */
  readonly resolver?: Resolver | undefined;
  /** Of all upstreams, if those are bounded. */
  readonly connections?: Connections;
  /** Connections at once for one large answer. */
  readonly parallel?: number;
}

/** How badly something is wanted. */
export interface Need {
  /** Whether nobody else is left to be asked: then whoever is believed dead is asked too. */
  readonly insist?: boolean | undefined;
  /** Whether minutes may pass before it begins, as whoever asks gives it up when somebody else has answered. */
  readonly patient?: boolean | undefined;
  /** Set while it is fetched ahead of whoever may want it: then it takes only connections that nobody waits for. */
  readonly ahead?: Ahead | undefined;
}

/** How something is asked for. */
export interface Manner extends Need {
  /** If only a part of it is wanted. */
  readonly part?: Part | undefined;
  /** Whether it is a name of another cache, which this one need not understand. */
  readonly foreign?: boolean | undefined;
  /** Whom the request that needs it has come through. */
  readonly via?: Via | undefined;
  /** Whether it may come packed in what this Node can't undo. */
  readonly packed?: boolean | undefined;
  /** Whether transport codings are offered, where this upstream is trusted with them. */
  readonly codings?: boolean | undefined;
}

export class Upstream {
  /** Without a trailing slash; also its name in messages and the origin of what came from it. */
  readonly url: string;
  /** Whether it is believed to work. Whoever has a choice asks this before asking the upstream. */
  readonly health: Health;
  /** How fast one connection to it has lately been. */
  readonly pace = new Pace();
  /** Whether it gives parts of its files. */
  readonly parts: Parts;
  /** What comes of transport codings here. */
  readonly coding: Coding;
  /** What it calls itself, if it is another instance of this service and has answered already. */
  instance: string | undefined;
  /** Whether something is never missing while this one can't be asked. */
  readonly required: boolean;
  #keys: Keys;
  readonly #deadlines: Deadlines;
  readonly #emit: Emit;
  readonly #sender: Sender;

  constructor(config: UpstreamConfig, options: UpstreamOptions) {
    const {
      ca,
      deadlines,
      breakers,
      connections,
      emit,
      parallel = 4,
      resolver = names,
      self = newInstance(),
    } = options;
    this.url = config.url;
    this.required = config.required;
    this.#keys = readKeys(config.publicKeys);
    this.#deadlines = deadlines;
    this.#emit = emit;
    this.parts = new Parts(breakers.clock.now);
    this.coding = new Coding(breakers.clock.now);
    const { proxy } = config;
    const through = proxy === undefined ? '' : ` through proxy ${proxy.label}`;
    this.health = new Health(
      new Standing(`upstream ${config.url}${through}`, breakers),
      proxy && breakers.ofProxy(proxy.label),
      () => this.#look(),
      breakers.clock,
    );
    const { health } = this;
    const seen = (response: Response, own: boolean) => {
      const instance = viaOf(response.headers.via).at(-1);
      if (own || instance !== undefined) this.instance = instance;
    };
    const shared = { ca, deadlines, breakers, connections, emit, parallel, resolver, self };
    this.#sender = new Sender(config, { ...shared, health, seen });
  }

  /** See {@link Sender.prepare}. */
  prepare(): void {
    this.#sender.prepare();
  }

  /** Whether somebody waits for a connection for a large answer. */
  get largeSlots(): Pick<Slots, 'isCrowded' | 'whenCrowded'> {
    return this.#sender.largeSlots;
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
      this.#emit({ kind: 'narinfo-unsigned', upstream: this.url, storePath: info.storePath });
      throw error;
    }
  }

  /** Whether one of its keys has signed the text, or it has none. */
  vouchesFor(text: string, sigs: readonly string[]): boolean {
    return this.#keys.length === 0 || verifyText(text, sigs, this.#keys) !== undefined;
  }

  /** Whether a key of that name is to sign what comes from here. */
  hasKey(name: string): boolean {
    return this.#keys.some((key) => key.name === name);
  }

  /** From now on these are its keys. */
  reconfigure({ publicKeys }: Pick<UpstreamConfig, 'publicKeys'>): void {
    this.#keys = readKeys(publicKeys);
  }

  /** What a narinfo's URL of this upstream, or a path relative to its own URL, refers to. */
  resolve(reference: string): URL {
    return httpUrl(reference, `${this.url}/`, `${this.url}: refers to`);
  }

  /** Whether whoever answers for this address, or the upstream itself, is believed to work. */
  believes(at: URL | undefined, large: boolean): boolean {
    return at === undefined ? this.health.goodFor(large) : this.#sender.parties.believes(at, large);
  }

  /**
   * Asks for `url`, following redirects. `large` answers do not hold up small ones.
   * @returns undefined if the upstream says that it has no such thing
   * @throws CacheError `not-found` if it does not know what a foreign URL means; `upstream`, `refused`, `proxy`, `timeout` or
   * `aborted`; at once if it is believed dead
   */
  get(
    url: URL,
    large: boolean,
    signal: AbortSignal,
    {
      ahead,
      codings = false,
      part,
      foreign = false,
      insist = false,
      packed = false,
      patient = false,
      via = NOBODY,
    }: Manner = {},
  ): Promise<Answer | undefined> {
    // That upstream asks us because it lacks the object.
    if (this.instance !== undefined && via.includes(this.instance)) return Promise.resolve(undefined);
    const askOnce = (asked: Part | undefined, offered: boolean) => {
      // The whole is asked for next; its answer tells whether the upstream fails.
      const excuses = (error: unknown) => this.parts.asksAgain(asked, error);
      const how = { codings: offered, insist, patient, ahead, excuses, looking: false };
      return this.#get(url, { large, signal, part: asked, via, ...how }, { foreign, packed });
    };
    const ask = async (asked: Part | undefined) => {
      const offered = codings && this.coding.isOffered && (asked === undefined || asked.whole === true);
      if (!offered) return askOnce(asked, false);
      try {
        return await askOnce(asked, true);
      } catch (error) {
        // Whoever refuses such an offer, or codes as nobody asked, may have it plain.
        if (!(error instanceof UnknownCoding || isCacheError(error, 'refused'))) throw error;
        const answer = await askOnce(asked, false);
        this.coding.distrust();
        return answer;
      }
    };
    return part === undefined ? ask(undefined) : this.parts.ask(part, ask);
  }

  async #get(
    url: URL,
    way: Way,
    { foreign, packed }: { readonly foreign: boolean; readonly packed: boolean },
  ): Promise<Answer | undefined> {
    const { response, party } = await this.#sender.follow(url, way);
    const { health } = this;
    const { through } = this.#sender;
    // A failure of another origin, named by a narinfo's URL or a redirect, is not this upstream's.
    const asked = this.#sender.parties.isOwn(url);
    let failure: CacheError | undefined;
    const watch: Watch = {
      delivered: () => {
        party.delivered();
        if (asked && !party.own && !way.looking) health.delivered(way.large);
      },
      failed: (error) => {
        failure = error;
        party.failed(error);
      },
      ended: (bytes, received) =>
        this.#emit({ kind: 'upstream-body', upstream: this.url, bytes, received, error: failure }),
    };
    const name = `${url.href}${through}`;
    const refuse = (problem: string, code: 'upstream' | 'refused' | 'not-found' = 'refused') => {
      discard(response);
      return new CacheError(code, `${name}: ${problem}`);
    };
    const { statusCode: status = 0, statusMessage } = response;
    const part = way.part?.whole === true ? undefined : way.part;
    let outcome = outcomeOf(status, { part, foreign, proxied: through !== '' });
    const ban = outcome === 'missing' && status === 403 ? await banIn(response) : undefined;
    if (ban !== undefined) outcome = foreign ? 'busy' : 'broken';
    if (outcome === 'missing') {
      discard(response);
      watch.delivered();
      return undefined;
    }
    if (outcome !== 'here') {
      const code = outcome === 'refused' ? outcome : outcome === 'strange' ? 'not-found' : 'upstream';
      const answered = `answered ${status} ${statusMessage}${ban === undefined ? '' : ` (${ban})`}`;
      const error = refuse(`${answered}${hintAt(status, through)}`, code);
      if (outcome === 'broken' && !way.excuses(error)) watch.failed(error);
      else if (status < 500 && ban === undefined) watch.delivered();
      throw status === 429 ? new Postponement(error.message) : error;
    }
    if (isWebPage(response)) {
      const error = refuse('answered with a web page, expected a file of a binary cache', 'upstream');
      if (!foreign) watch.failed(error);
      // Also checked at the end of a redirect: captive portals answer that way.
      if (asked && !party.own && !foreign && !way.looking)
        health.failed(error, way.large, url.pathname + url.search);
      throw error;
    }
    const extent = extentOf(response, way.part);
    if (typeof extent === 'string') throw refuse(extent);
    const { stallMs } = this.#deadlines;
    const body = new Body(response, name, { stallMs, watch, packed, signal: way.signal });
    return { body, ...extent, validator: validatorOf(response), coding: body.packedIn, undone: body.undone };
  }

  /** Rejects unless it is alive. */
  #look(): Promise<void> {
    const sender = this.#sender;
    return look({
      url: this.url,
      through: sender.through,
      signal: sender.closing,
      head: (path, way) => sender.ask(this.resolve(path), way),
      answer: (path, way) => this.#get(this.resolve(path), way, { foreign: false, packed: false }),
    });
  }

  /** Closes idle connections; busy ones end with their requests. */
  close(): void {
    this.health.close();
    this.#sender.close();
  }
}

function hintAt(status: number, through: string): string {
  return status === 400 && through.includes('socks5')
    ? ' (trojan passes this on for every path when its password is wrong)'
    : '';
}
