// The servers that one upstream has led to, itself among them, and the connections to them.
import type { CacheError } from '../errors.ts';
import { Origin, type OriginOptions } from './origin.ts';
import type { Target } from './target.ts';

/** An upstream may name as many as it likes; those used longest ago are forgotten. */
const MOST = 100;

export class Origins {
  readonly #all = new Map<string, Origin>();
  /** The one used last: mostly it is the next, too. */
  #last: readonly [string, Origin] | undefined;
  readonly #options: Omit<OriginOptions, 'target'>;
  readonly #onCrowded = new Set<() => void>();

  constructor(options: Omit<OriginOptions, 'target'>) {
    this.#options = options;
  }

  at(target: Target): Origin {
    const key = `${target.tls}:${target.host}:${target.port}:${target.onlyPublic}`;
    const [last, kept] = this.#last ?? [];
    if (last === key && kept !== undefined) return kept;
    const origin = this.#all.get(key) ?? this.#make(target);
    this.#all.delete(key);
    this.#all.set(key, origin);
    this.#last = [key, origin];
    if (this.#all.size > MOST)
      for (const [oldest, { isIdle }] of this.#all)
        if (isIdle) {
          this.#all.delete(oldest);
          break;
        }
    return origin;
  }

  /** Whether large answers wait for places that do not come by themselves. */
  get isCrowded(): boolean {
    for (const { isCrowded } of this.#all.values()) if (isCrowded) return true;
    return false;
  }

  whenCrowded(listener: () => void): void {
    this.#onCrowded.add(listener);
    for (const origin of this.#all.values()) origin.whenCrowded(listener);
  }

  /** Others want the slots that connections have: those that are idle are given up. */
  giveWay(): void {
    for (const origin of this.#all.values()) origin.giveWay();
  }

  close(error: CacheError): void {
    for (const origin of this.#all.values()) origin.close(error);
  }

  #make(target: Target): Origin {
    const origin = new Origin({ ...this.#options, target });
    for (const listener of this.#onCrowded) origin.whenCrowded(listener);
    return origin;
  }
}
