// Fetches anew what was set aside, just as the service would for a client, but for nobody.
import { pathsFor } from '../download/destination.ts';
import type { Engine } from '../engine.ts';
import { describe, isCacheError } from '../errors.ts';
import type { ObjectName } from '../nix/object-name.ts';

export interface Repairer {
  /** Tries to have it in the store again; why that could not be, undefined if nothing is known to be in the way. */
  fetch(name: ObjectName): Promise<string | undefined>;
}

export function createRepairer(
  { fetcher, narInfos, store, upstreams }: Pick<Engine, 'fetcher' | 'narInfos' | 'store' | 'upstreams'>,
  signal: AbortSignal,
): Repairer {
  const get = async (name: ObjectName): Promise<unknown> => {
    if (name.kind !== 'narinfo') {
      // A service may have fetched it since it was set aside; whoever asks the fetcher has looked.
      for (const path of pathsFor(name)) if ((await store.version(path)) !== undefined) return 'stored';
      const { value } = await fetcher.fetch(name);
      if (value !== undefined && value !== 'stored') await value.ended;
      return value;
    }
    // The narinfo may be in memory still, from before it was set aside.
    narInfos.forget(name.hash);
    const value = await narInfos.find(name.hash);
    await narInfos.settled(name.hash);
    return value;
  };
  return {
    fetch: async (name) => {
      if (upstreams.all.length === 0) return 'there are no upstreams';
      try {
        const value = await get(name);
        signal.throwIfAborted();
        return value === undefined ? 'no upstream has it' : undefined;
      } catch (error) {
        if (signal.aborted || !isCacheError(error)) throw error;
        return describe(error);
      }
    },
  };
}
