// What is believed of one host as something to ask: whether connections to it can be made, and whether the small and the
// large things it is asked for come. A NAR that is late says nothing about narinfos.
import { CacheError } from '../errors.ts';
import type { Breaker, Breakers } from './breaker.ts';
import { Throttle } from './throttle.ts';

export class Standing {
  /** What it is called, in messages. */
  readonly name: string;
  /** Of connections to it. */
  readonly host: Breaker;
  readonly small: Breaker;
  readonly large: Breaker;
  readonly throttle: Throttle;

  constructor(name: string, breakers: Breakers) {
    this.name = name;
    this.host = breakers.make(name);
    this.small = breakers.make(name);
    this.large = breakers.make(`NARs of ${name}`);
    this.throttle = new Throttle(breakers.clock);
  }

  of(large: boolean): Breaker {
    return large ? this.large : this.small;
  }

  good(large: boolean): boolean {
    return !this.host.open && !this.of(large).open;
  }

  /** The breaker that is open, or the one of such answers. */
  worst(large: boolean): Breaker {
    return this.host.open ? this.host : this.of(large);
  }

  /** `name` is of what was asked for; undefined if no connection could be made. */
  failed(error: CacheError, large: boolean, name: string | undefined): void {
    if (name === undefined) this.host.failed(error, undefined);
    else this.of(large).failed(error, name);
  }

  /** It has answered to a look. */
  revived(): void {
    this.host.succeeded();
    this.small.succeeded();
  }

  get opened(): number {
    return this.host.opened + this.small.opened;
  }
}

const notNow = new WeakSet<CacheError>();

/** An error that stands for not having asked now; whoever insists may be answered all the same. */
export function postponement(name: string, reason: string, why: CacheError | undefined): CacheError {
  return postponed(new CacheError(why?.code ?? 'upstream', `${name} ${reason}`, why));
}

/** Marks the error as such. */
export function postponed(error: CacheError): CacheError {
  notNow.add(error);
  return error;
}

export function isPostponement(error: unknown): boolean {
  return error instanceof CacheError && notNow.has(error);
}
