// Whether an upstream gives parts of its files. Whatever one that does not makes of a Range, the whole is asked for once, and if
// that is there, nothing but the whole is asked for from then on, for a while: whoever wanted a part skips what comes before it.
import { isCacheError, lacksDescriptors } from '../errors.ts';
import type { Answer, Part } from './answer.ts';

/** How long is believed what an upstream has shown. */
const BELIEVED_MS = 10 * 60_000;
/** What may be chance, as it says nothing of ranges, must happen so often in a row before it is believed. */
const TIMES = 2;

export class Parts {
  readonly #now: () => number;
  #given: boolean | undefined;
  #until = Number.NEGATIVE_INFINITY;
  #doubts = 0;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Undefined if nobody has asked for one of late. */
  get given(): boolean | undefined {
    return this.#now() < this.#until ? this.#given : undefined;
  }

  /** What `ask` says to the part or, if there is none to be had, to the whole. */
  async ask(part: Part, ask: (part: Part) => Promise<Answer | undefined>): Promise<Answer | undefined> {
    const whole = { ...part, whole: true };
    if (part.whole === true || this.given === false) return ask(whole);
    let sure = false;
    try {
      const answer = await ask(part);
      if (answer !== undefined) return answer;
    } catch (error) {
      if (!this.asksAgain(part, error)) throw error;
      sure = isCacheError(error, 'refused');
    }
    const answer = await ask(whole);
    // A file that ends before the part begins has no part to give.
    if (answer !== undefined && (answer.size ?? Number.POSITIVE_INFINITY) > part.start) this.refused(sure);
    return answer;
  }

  /** Whether the whole is asked for after this failure to get a part, which may not say more than that there are no parts. */
  asksAgain(part: Part | undefined, error: unknown): boolean {
    if (part === undefined || part.whole === true || lacksDescriptors(error)) return false;
    // An upstream that has given parts before may simply have failed, so the whole is not asked for.
    if (isCacheError(error, 'upstream')) return this.given !== true;
    return isCacheError(error, 'refused') || isCacheError(error, 'not-found');
  }

  /** A part has come, and not only been promised. */
  gave(): void {
    this.#note(true);
  }

  /** The whole was there, and the part was not; `sure` if it was that of which there is none. */
  refused(sure: boolean): void {
    this.#doubts++;
    if (sure || this.#doubts >= TIMES) this.#note(false);
  }

  #note(given: boolean): void {
    this.#given = given;
    this.#until = this.#now() + BELIEVED_MS;
    this.#doubts = 0;
  }
}
