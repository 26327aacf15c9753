// Which file a source gives, as far as its answers tell by their sizes, ETags and dates: what comes of several of them is joined only
// where it is of one file, or a hash tells in the end.
import { CacheError } from '../errors.ts';
import type { Answer } from '../upstream/answer.ts';

/** Why an answer is not to be used. */
interface Problem {
  readonly error: CacheError;
  /** Whether the source is not to be asked again. */
  readonly isFinal: boolean;
}

export class Identity {
  readonly #label: string;
  /** Answers that were taken. */
  #taken = 0;
  /** Of the last of them. */
  #validator: string | undefined;
  /** What that was coded in. */
  #undone: string | undefined;
  /** Whether its ETag or date is known to tell nothing. */
  #varies = false;
  #isOther = false;

  /** `label`: in messages. */
  constructor(label: string) {
    this.#label = label;
  }

  /** Takes an answer that is to continue, or begin, the body of `size` bytes, unless it is of another file, or may be. */
  take(answer: Answer, size: number | undefined, hashKnown: boolean): Problem | undefined {
    if (answer.size !== undefined && size !== undefined && answer.size !== size) {
      this.#isOther = true;
      return this.#problem(`has ${answer.size} bytes, expected ${size}`, true);
    }
    // A coded body is another representation, with an ETag of its own, so what it tells is nothing to compare with; the hash decides.
    if (this.isSeen && answer.undone !== this.#undone && hashKnown) this.#varies = true;
    if (this.isSeen && answer.validator !== this.#validator && !this.#varies) {
      // The source has another file, or several machines with different ones: others are asked first, and the hash decides.
      this.#varies = hashKnown;
      return this.#problem('has another ETag or date than before', !hashKnown);
    }
    if (this.isSeen && !hashKnown && !this.isTold)
      return this.#problem('can not be told from another file, without a hash, an ETag or a date', true);
    this.#taken++;
    this.#validator = answer.validator;
    this.#undone = answer.undone;
    return undefined;
  }

  /** Whether it has given anything. */
  get isSeen(): boolean {
    return this.#taken > 0;
  }

  /** Whether its answers tell which file they are of, even if no hash can. */
  get isTold(): boolean {
    return this.#validator !== undefined;
  }

  /** Whether it may be asked again where no hash can tell: it has given nothing yet, or shows which file it gives. */
  get mayGoOn(): boolean {
    return !this.isSeen || this.isTold;
  }

  /** Whether what it gave is of one file, as far as it tells. */
  get isSteady(): boolean {
    return this.#taken === 1 || (this.isTold && !this.#varies);
  }

  /** Whether it has shown to have another file than is wanted. */
  get isOther(): boolean {
    return this.#isOther;
  }

  #problem(what: string, isFinal: boolean): Problem {
    return { error: new CacheError('upstream', `${this.#label}: ${what}`), isFinal };
  }
}
