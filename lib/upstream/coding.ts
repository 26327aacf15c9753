// What an upstream makes of an offer to code a NAR in transfer: whether it does, whether that can be undone, and how fast such a NAR
// comes beside one that comes in parts. A large one is had in the way that was faster of late: over a slow line the coding saves
// most of the time; over a fast one, several connections do more than any encoder keeps up with.
import { CacheError } from '../errors.ts';
import { Pace } from './pace.ts';

/** How long is believed what an upstream has shown. */
const BELIEVED_MS = 10 * 60_000;
/** How long a pace in parts stands for what another such NAR would come at; after that it is estimated again. */
const MEASURED_MS = 60 * 60_000;
/** What several connections together bring is seldom as many times what one does: most lines are shared by them. */
const SHARED = 3 / 4;
/** A body that can't be decoded may have been cut; so many in a row were not. */
const DOUBTS = 2;

/** An answer can't be used as this Node can't undo its Content-Encoding. */
export class UnknownCoding extends CacheError {}

/** One coded answer, or a part of its time. */
interface Coded {
  /** Bytes that it was decoded to. */
  readonly bytes: number;
  /** Bytes that came over the line. */
  readonly received: number;
  readonly ms: number;
}

/** How a large NAR is to be had. */
interface Choice {
  readonly manner: 'coded' | 'parts';
  /** Bytes of the NAR per millisecond, in one coded answer; undefined where that was never seen. */
  readonly coded: number | undefined;
  /** The same in parts, measured or estimated. */
  readonly parts: number | undefined;
}

export class Coding {
  readonly #now: () => number;
  /** Of one connection, in bytes of NARs. */
  readonly #coded = new Pace();
  /** Of one connection, in bytes on the line. */
  readonly #line = new Pace();
  #parts: { readonly pace: number; readonly at: number } | undefined;
  #doubts = 0;
  #refusedUntil = Number.NEGATIVE_INFINITY;
  #wholeUntil = Number.NEGATIVE_INFINITY;

  /** `now`: milliseconds from anywhere, never backwards. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Whether to offer it: not to one whose codings could not be undone of late. */
  get isOffered(): boolean {
    return this.#now() >= this.#refusedUntil;
  }

  /** It was offered, and what came of that can't be used. */
  distrust(): void {
    this.#refusedUntil = this.#now() + BELIEVED_MS;
    this.#doubts = 0;
  }

  /** A body that was decoded to so many bytes went on with what can't be decoded, or was cut where that does not show. */
  broke(decoded: number): void {
    this.#doubts++;
    if (decoded === 0 || this.#doubts >= DOUBTS) this.distrust();
  }

  /** A body was decoded to its end. */
  undone(): void {
    this.#doubts = 0;
  }

  note({ bytes, ms, received }: Coded): void {
    this.#coded.note(bytes, ms);
    this.#line.note(received, ms);
  }

  /** A large NAR came in parts, not coded: `bytes` within `ms`, over all connections together. */
  noteParts(bytes: number, ms: number): void {
    this.#parts = { pace: bytes / Math.max(ms, 1), at: this.#now() };
  }

  /** A part was asked for, and the whole came. */
  ignoredPart(): void {
    this.#wholeUntil = this.#now() + BELIEVED_MS;
  }

  /**
   * How to have a NAR that may come in parts over so many connections. `plain`: the pace of one of them, not coded. In parts,
   * unless it is known that a coded answer is faster, or that there are no parts.
   */
  choose(connections: number, plain: Pick<Pace, 'bytesPerMs'>): Choice {
    const coded = this.#coded.bytesPerMs;
    const parts = this.#partsPace(connections, plain);
    const isFaster = coded !== undefined && parts !== undefined && coded > parts;
    const isWhole = this.#now() < this.#wholeUntil;
    return { manner: this.isOffered && (isFaster || isWhole) ? 'coded' : 'parts', coded, parts };
  }

  /** Where nothing was measured: as if the connections shared the line in part. */
  #partsPace(connections: number, plain: Pick<Pace, 'bytesPerMs'>): number | undefined {
    if (this.#parts !== undefined && this.#now() - this.#parts.at < MEASURED_MS) return this.#parts.pace;
    const one = plain.bytesPerMs ?? this.#line.bytesPerMs;
    return one === undefined ? undefined : one * connections * SHARED;
  }
}
