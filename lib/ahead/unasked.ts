// What was fetched ahead and nobody has asked for yet: counted, and bounded. When too much of it is there, nothing more is fetched
// until somebody asks for some of it, or it has been there for so long that nobody will.
import type { Emit } from '../events.ts';

interface UnaskedOptions {
  readonly what: 'narinfo' | 'nar';
  readonly most: number;
  readonly mostBytes: number;
  readonly emit: Emit;
  /** Milliseconds from anywhere. */
  readonly now: () => number;
}

/** How long it may take a client to come for it: some builds stand between two paths of one closure. */
const KEPT_MS = 10 * 60_000;

export class Unasked {
  readonly #options: UnaskedOptions;
  /** The one that came longest ago first. */
  readonly #entries = new Map<string, { readonly bytes: number; readonly at: number }>();
  #bytes = 0;

  constructor(options: UnaskedOptions) {
    this.#options = options;
  }

  get count(): number {
    return this.#entries.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Whether nothing more should be fetched, though so many more things and bytes are on their way. */
  isFull(coming = 0, comingBytes = 0): boolean {
    this.#expire();
    const { most, mostBytes } = this.#options;
    return this.#entries.size + coming >= most || this.#bytes + comingBytes >= mostBytes;
  }

  has(key: string): boolean {
    return this.#entries.has(key);
  }

  /** It has come; `isAsked`: somebody has asked for it by now. */
  add(key: string, bytes: number, isAsked: boolean): void {
    const { emit, now, what } = this.#options;
    emit({ kind: 'ahead-fetched', what, bytes });
    if (isAsked) {
      emit({ kind: 'ahead-settled', what, bytes, used: true });
      return;
    }
    this.#settle(key, false);
    this.#entries.set(key, { bytes, at: now() });
    this.#bytes += bytes;
  }

  /** Somebody asks for it. */
  asked(key: string): void {
    this.#settle(key, true);
  }

  #expire(): void {
    const before = this.#options.now() - KEPT_MS;
    for (const [key, { at }] of this.#entries) {
      if (at > before) return;
      this.#settle(key, false);
    }
  }

  #settle(key: string, used: boolean): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    const { emit, what } = this.#options;
    const { bytes } = entry;
    this.#entries.delete(key);
    this.#bytes -= bytes;
    emit({ kind: 'ahead-settled', what, bytes, used });
  }
}
