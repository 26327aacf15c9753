// Takes the realisations that clients push. Those that say the same come together with their signatures: who has not signed must
// not take away what others have. Of two that differ the first stays, as with narinfos, unless it lacks what is demanded.
import type { NarInfos } from '../narinfos/narinfos.ts';
import { pathOf } from '../nix/object-name.ts';
import { parseRealisation, type RealisationName, withRealisationSigs } from '../nix/realisation.ts';
import { type Keys, verifyText } from '../nix/signature.ts';
import type { Storage } from '../store/storage.ts';
import type { PutOptions } from '../store/store.ts';
import { storeBytes } from '../store/store-body.ts';

interface Options {
  readonly storage: Pick<Storage, 'store'>;
  readonly narInfos: NarInfos;
}

/** Longer than any. */
export const MAX_REALISATION_BYTES = 1 << 20;

/** Stores `body`, which is kept as it is if nobody knows what it says. */
export function putRealisation(
  { narInfos, storage }: Options,
  name: RealisationName,
  body: Buffer,
  { keys, options }: { readonly keys: Keys; readonly options: PutOptions },
): Promise<void> {
  const path = pathOf(name);
  return narInfos.changing.run(path, async () => {
    const { store } = storage;
    const found = await store.open(path);
    found?.used();
    const origin = found?.meta.origin;
    const before = found && (await found.bytes()).toString();
    const old = before === undefined ? undefined : parseRealisation(name, before);
    const next = parseRealisation(name, body.toString());
    const put = (merged: Buffer) => storeBytes(store, name, merged, 'push', options);
    const isDemanded = ({ fingerprint, sigs }: NonNullable<typeof old>) =>
      keys.length === 0 || verifyText(fingerprint, sigs, keys) !== undefined;
    if (before !== undefined && old !== undefined && next?.fingerprint === old.fingerprint) {
      await put(Buffer.from(withRealisationSigs(name, before, old, next.sigs)));
      return;
    }
    const stays =
      origin === 'push' && old !== undefined && (isDemanded(old) || next === undefined || !isDemanded(next));
    if (!stays) await put(body);
  });
}
