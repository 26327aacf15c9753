// The upstreams in their order of preference, and the one rule for asking several: the first that has it answers; if
// none has it and one of them could not be asked, that is a failure and not a miss.
import { CacheError, describe, isCacheError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Upstream } from './upstream.ts';

/** Something that may have what is looked for. */
export interface Candidate<T> {
  /** In messages: the upstream's URL. */
  readonly label: string;
  /** Undefined if it says that it has no such thing; throws if it can't tell. */
  ask(): Promise<T | undefined>;
}

/**
 * What the first candidate that has it answered; undefined if all say that they have no such thing.
 * @throws CacheError the failure of the one that failed, or `timeout` or `upstream` for several
 */
export async function firstOf<T>(candidates: readonly Candidate<T>[], log: Log): Promise<T | undefined> {
  const failures: unknown[] = [];
  for (const candidate of candidates) {
    try {
      const answer = await candidate.ask();
      if (answer !== undefined) return answer;
    } catch (error) {
      if (isCacheError(error, 'aborted') || isCacheError(error, 'storage')) throw error;
      log.warn(`upstream ${candidate.label}: ${describe(error)}`);
      failures.push(error);
    }
  }
  if (failures.length === 0) return undefined;
  if (failures.length === 1) throw failures[0];
  const code = failures.every((failure) => isCacheError(failure, 'timeout')) ? 'timeout' : 'upstream';
  throw new CacheError(code, failures.map(describe).join('; '), failures[0]);
}

export class Upstreams {
  readonly all: readonly Upstream[];

  constructor(all: readonly Upstream[]) {
    this.all = all;
  }

  /** The upstream that stored objects call by this origin, if it is still configured. */
  byOrigin(origin: string): Upstream | undefined {
    return this.all.find((upstream) => upstream.url === origin);
  }

  close(): void {
    for (const upstream of this.all) upstream.close();
  }
}
