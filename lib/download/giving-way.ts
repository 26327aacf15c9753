// A download that nobody has asked for yet, while it begins: it asks only where nobody waits, and gives way to those who do.
import { CacheError } from '../errors.ts';
import type { Ahead } from '../sync/ahead.ts';
import type { Source, Wanted } from './sources.ts';
import type { Stoppable } from './yielding.ts';

/** The same, whose sources are asked only with what is idle for as long as nobody waits for it. */
export function askedAhead({ expected, sources }: Wanted, ahead: Ahead): Wanted {
  const all = sources.map((source) => {
    const ask: Source['ask'] = (signal, part, need) => source.ask(signal, part, { ...need, ahead });
    return { ...source, ask };
  });
  return { expected, sources: all };
}

interface Beginning {
  /** Aborted when its first answer is not waited for any more: nobody wants it, or others who are waited for need its connection. */
  readonly signal: AbortSignal;
  /** To be called when it has begun, or has not. */
  end(): void;
}

/** Has it give way among all of that `crowd`, until it has begun. */
export function givingWay(
  crowd: { addAhead(starting: Stoppable): void },
  path: string,
  ahead: Ahead,
  isWanted: AbortSignal,
): Beginning {
  const stop = new AbortController();
  let end = () => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  crowd.addAhead({
    get isAbandoned() {
      return !ahead.isWanted;
    },
    stop: () => {
      if (ahead.isWanted) return false;
      const why = `${path}: nobody has asked for it, and others wait for its connection`;
      stop.abort(new CacheError('aborted', why));
      return true;
    },
    ended,
  });
  return { signal: AbortSignal.any([isWanted, stop.signal]), end };
}
