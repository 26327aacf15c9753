// Whoever may answer for an address: the upstream, or another origin that it leads to. Each has a standing of its own, which
// tells whether to ask, and is told how that went; so is the proxy before them.
import type { Deadlines } from '../config/config.ts';
import { CacheError, isCacheError } from '../errors.ts';
import { type Ahead, isAhead } from '../sync/ahead.ts';
import type { Response } from '../wire/response.ts';
import { shown } from '../wire/urls.ts';
import { isContinuation, type Part } from './answer.ts';
import type { Breakers } from './breaker.ts';
import { type Health, tells } from './health.ts';
import { Postponement, type Standing } from './standing.ts';
import { Target, Targets } from './targets.ts';
import type { Via } from './via.ts';
import type { WayOut } from './way-out.ts';

/** How a request goes out. */
export interface Way {
  readonly large: boolean;
  readonly part: Part | undefined;
  /** See {@link Need}. */
  readonly insist: boolean;
  readonly patient: boolean;
  /** Whether it is to find out if the upstream is alive: then its head alone proves nothing yet. */
  readonly looking: boolean;
  /** Whom the request that needs it has come through. */
  readonly via: Via;
  /** Whether to offer transport codings; where a part is asked for they are not, as it would be one of the coded body. */
  readonly codings?: boolean;
  /** Set while it is fetched ahead of whoever may want it. */
  readonly ahead: Ahead | undefined;
  /** Whether a failure before any answer says nothing of whoever is asked. */
  readonly excuses: (error: unknown) => boolean;
  readonly signal: AbortSignal;
}

/** Who has answered. */
export interface Party {
  /** Whether it is the upstream, and not another origin. */
  readonly own: boolean;
  /** `connected`: not at connecting, but at what was asked for. */
  failed(error: CacheError, connected?: boolean): void;
  delivered(): void;
  readonly standing: Standing;
}

interface PartiesOptions {
  /** Of the upstream, as messages have it. */
  readonly url: string;
  /** For messages: ` through proxy http://…`, or nothing. */
  readonly through: string;
  /** Of the upstream. */
  readonly health: Health;
  readonly breakers: Breakers;
  readonly deadlines: Deadlines;
  /** What the proxy leads to, if there is one. */
  readonly wayOut: WayOut | undefined;
}

/** Who has had that part of its time was late: others are asked when it is over, but a request is sent a moment after it began. */
const NEARLY = 0.9;

export class Parties {
  readonly #origin: string;
  readonly #through: string;
  readonly #health: Health;
  readonly #deadlines: Deadlines;
  readonly #wayOut: WayOut | undefined;
  readonly #targets: Targets;

  constructor({ url, through, health, breakers, deadlines, wayOut }: PartiesOptions) {
    this.#origin = new URL(url).origin;
    this.#through = through;
    this.#health = health;
    this.#deadlines = deadlines;
    this.#wayOut = wayOut;
    this.#targets = new Targets((origin) => new Target(`${origin}${through}, where ${url} leads`, breakers));
  }

  /** Whether it is an address of the upstream itself. */
  isOwn(url: URL): boolean {
    return url.origin === this.#origin;
  }

  /** Whether whoever answers for this address first is believed to work. */
  believes(url: URL, large: boolean): boolean {
    if (this.isOwn(url)) return this.#health.goodFor(large);
    return this.#health.hasWay && this.#targets.at(url).standing.good(large);
  }

  /** Who answers for `url`, to which what was wanted of `start` has led. */
  at(url: URL, start: URL, { large, looking, part }: Way): Party {
    const own = this.isOwn(url);
    const health = this.#health;
    // Counted by the name asked for, not by where redirects led: one name that fails at several places is one failure.
    const name = start.pathname + start.search;
    // A failure of a continuation is not counted again.
    const counts = !looking && !isContinuation(part);
    return {
      own,
      standing: this.#tellerAt(url).standing,
      failed: (error, connected = true) => {
        const teller = isCacheError(error, 'proxy') ? health : this.#tellerAt(url);
        if (counts) teller.failed(error, large, connected ? name : undefined);
      },
      delivered: () => {
        if (!looking) this.#tellerAt(url).delivered(large);
      },
    };
  }

  #tellerAt(url: URL): Health | Target {
    return this.isOwn(url) ? this.#health : this.#targets.at(url);
  }

  /**
   * `peek` asks whoever is there whether it is alive.
   * @throws CacheError if whoever is there is believed dead, and nobody insists; or wants to be asked less, and nobody waits
   */
  admit(url: URL, { ahead, insist, large, looking, part }: Way, peek: () => Promise<unknown>): void {
    const { name, throttle } = this.#tellerAt(url).standing;
    if (isAhead(ahead) && throttle.isStrict)
      throw new Postponement(`${name} is not asked ahead: too many requests`);
    if (insist || looking || isContinuation(part)) return;
    const health = this.#health;
    if (this.isOwn(url)) {
      if (!health.goodFor(large)) throw health.refusal(large);
    } else this.#targets.at(url).admit(large, peek);
  }

  /** The head of an answer has come. */
  answered({ own, standing }: Party, response: Response, { looking }: Way): void {
    this.#wayOut?.reached();
    if (response.statusCode === 429) standing.throttle.refused(response.headers['retry-after']);
    else standing.throttle.succeeded();
    if (!own) standing.host.succeeded();
    else if (looking) this.#health.headSeen();
    else this.#health.answered();
  }

  /** No head has come. */
  failed(
    error: unknown,
    url: URL,
    party: Party,
    { excuses, large }: Way,
    { connected, ms }: { connected: boolean; ms: number },
  ): void {
    if (!isCacheError(error, 'aborted')) {
      if (tells(error) && error.code !== 'proxy') this.#wayOut?.missed(url.host, error);
      if (isCacheError(error) && !excuses(error)) party.failed(error, connected);
      return;
    }
    // The request was given up because another won or its readers left; it counts as late if it had its time.
    if (!large || !connected || ms < NEARLY * this.#deadlines.firstByteMs) return;
    const seconds = Math.round(ms / 1000);
    party.failed(new CacheError('timeout', `${shown(url)}${this.#through}: no answer within ${seconds} s`));
  }
}
