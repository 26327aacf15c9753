// A request without an answer that may have one elsewhere, or in another way.
import type { CacheError } from '../errors.ts';

/** `unprocessed`: the peer says so. `reused`: the connection may have been ending. `http/1.1`: the peer wants that. */
type Why = 'unprocessed' | 'reused' | 'http/1.1' | 'h2';

/** A request was not answered, and may be elsewhere; `cause` is what to say if it can't be asked again. */
export class AskAgain extends Error {
  readonly why: Why;

  constructor(why: Why, cause: CacheError) {
    super(cause.message, { cause });
    this.why = why;
  }
}
