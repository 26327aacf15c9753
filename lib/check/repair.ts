// Fetches anew what was set aside, just as the service would for a client, but for nobody.
import type { Config } from '../config/config.ts';
import { Fetcher } from '../download/fetcher.ts';
import { describe, isCacheError } from '../errors.ts';
import type { Log } from '../log.ts';
import { NarInfos } from '../narinfos/narinfos.ts';
import type { ObjectName } from '../nix/object-name.ts';
import type { Storage } from '../store/storage.ts';
import { createUpstreams } from '../upstream/configured.ts';

export interface Repairer {
  /** Tries to have it in the store again; why that could not be, undefined if nothing is known to be in the way. */
  fetch(name: ObjectName): Promise<string | undefined>;
  /** When nothing of it is under way any more. */
  close(): Promise<void>;
}

/** @throws CacheError `config` */
export async function createRepairer(
  config: Config,
  context: { readonly storage: Storage; readonly log: Log; readonly signal: AbortSignal },
): Promise<Repairer> {
  const { signal, storage } = context;
  const { scratch, store } = storage;
  const now = () => performance.now();
  const upstreams = await createUpstreams(config, { ...context, now });
  const shared = { ...config, ...context, scratch, store, upstreams, now, signing: undefined };
  const narInfos = new NarInfos(shared);
  const fetcher = new Fetcher({ ...shared, narInfos });
  const get = async (name: ObjectName): Promise<unknown> => {
    if (name.kind !== 'narinfo') {
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
    close: async () => {
      await Promise.all([fetcher.idle(), narInfos.idle()]);
      await scratch.idle();
      upstreams.close();
    },
  };
}
