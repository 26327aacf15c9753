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
}

/** Stands for not having asked now; whoever insists may be answered all the same. */
export class Postponement extends CacheError {
  /** `why`: the failure that is the reason, which this is to those who do not insist. */
  constructor(message: string, why?: CacheError) {
    super(why?.code ?? 'upstream', message, why);
  }
}
