// Narinfos before anybody asks for them: of what an upstream has answered the references are looked up too, and of those theirs, so that
// a client that goes from level to level, or from one path to the next, finds them here. In the order in which they were named, so
// that what is near to what was asked comes first; and within bounds, whatever upstreams say of their paths.
import type { Emit } from '../events.ts';
import type { NarInfos } from '../narinfos/narinfos.ts';
import type { StoreHash } from '../nix/store-path.ts';
import { Ahead } from '../sync/ahead.ts';
import type { Upstream } from '../upstream/upstream.ts';
import { Unasked } from './unasked.ts';

interface NarInfosAheadOptions {
  readonly narInfos: Pick<NarInfos, 'findAhead'>;
  readonly upstreams: { readonly all: readonly Pick<Upstream, 'health'>[] };
  readonly emit: Emit;
  /** Ends it when the service stops. */
  readonly signal: AbortSignal;
  /** Milliseconds from anywhere. */
  readonly now: () => number;
}

/** Questions at once. Connections set a bound of their own; this one is of memory. */
const AT_ONCE = 256;
/** Those that wait for the disk: on one that is slow nothing more is asked until it has taken some. */
const MOST_UNKEPT = 1000;
/** Narinfos that wait for their turn, or were fetched and not asked for yet: those of the largest closures are some ten thousand. */
const MOST = 20_000;
const MOST_BYTES = 64 << 20;

export class NarInfosAhead {
  readonly #options: NarInfosAheadOptions;
  readonly #unasked: Unasked;
  /** Those whose turn comes, first named first. */
  readonly #waiting = new Set<StoreHash>();
  readonly #asking = new Set<StoreHash>();
  #keeping = 0;

  constructor(options: NarInfosAheadOptions) {
    this.#options = options;
    this.#unasked = new Unasked({ ...options, what: 'narinfo', most: MOST, mostBytes: MOST_BYTES });
  }

  /** An upstream has answered with `own`: those that it names come next. */
  follow(own: StoreHash, references: readonly StoreHash[]): void {
    for (const hash of references) {
      if (this.#unasked.isFull(this.#waiting.size + this.#asking.size)) break;
      const isKnown = hash === own || this.#asking.has(hash) || this.#unasked.has(hash);
      if (!isKnown) this.#waiting.add(hash);
    }
    this.#goOn();
  }

  /** A client asks for it. */
  asked(hash: StoreHash): void {
    this.#unasked.asked(hash);
  }

  #goOn(): void {
    while (this.#asking.size < AT_ONCE && this.#keeping < MOST_UNKEPT) {
      const [hash] = this.#waiting;
      if (hash === undefined) return;
      // Whoever asks next begins anew with what is missing then.
      if (this.#options.signal.aborted || !this.#isWorthAsking) {
        this.#waiting.clear();
        return;
      }
      this.#waiting.delete(hash);
      this.#asking.add(hash);
      void this.#ask(hash).finally(() => {
        this.#asking.delete(hash);
        this.#goOn();
      });
    }
  }

  /** Whether an upstream is believed to work that has not asked to be left alone. */
  get #isWorthAsking(): boolean {
    return this.#options.upstreams.all.some(
      ({ health }) => health.good && !health.standing.throttle.isStrict,
    );
  }

  /** Never rejects. */
  async #ask(hash: StoreHash): Promise<void> {
    const ahead = new Ahead();
    // What can't be had now whoever asks for it will be told of.
    const found = await this.#options.narInfos.findAhead(hash, ahead).catch(() => undefined);
    if (found === undefined) return;
    this.#unasked.add(hash, Buffer.byteLength(found.known.text), ahead.isWanted);
    this.#keeping++;
    void found.kept.finally(() => {
      this.#keeping--;
      this.#goOn();
    });
  }
}
