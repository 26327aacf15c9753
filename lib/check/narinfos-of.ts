// Which narinfos name a NAR that is not here any more: they are found by looking at all of them.
import { isCacheError } from '../errors.ts';
import { narNameOf } from '../nix/nar-names.ts';
import { parseNarInfo } from '../nix/narinfo.ts';
import { type ObjectName, pathOf } from '../nix/object-name.ts';
import { idOf } from '../store/object-id.ts';
import type { Inspected, Upkeep } from '../store/upkeep.ts';
import { bytesOf } from './body.ts';
import { type Finding, finding } from './finding.ts';

interface NamingNarInfo {
  /** What is to be said of it if it was pushed. */
  readonly finding: Finding;
  readonly pushed: boolean;
  readonly nar: ObjectName;
  /** The NAR's. */
  readonly id: string;
}

/** @throws CacheError `storage`, or the signal's reason */
export async function* narInfosOf(
  upkeep: Pick<Upkeep, 'inspect' | 'namers'>,
  storeDir: string,
  nars: ReadonlySet<string>,
  signal: AbortSignal,
): AsyncGenerator<NamingNarInfo> {
  for await (const { kind, place } of upkeep.namers(nars, { storeDir, signal })) {
    if (kind !== 'narinfo') continue;
    const object = await upkeep.inspect(place, () => {});
    if (object === undefined) continue;
    try {
      if (object.damage === undefined) yield await read(object, storeDir);
    } catch (error) {
      // The narinfo has changed since, or is damaged itself: its own check reports that.
      if (!isCacheError(error, 'damaged') && !isCacheError(error, 'invalid')) throw error;
    } finally {
      await object.close();
    }
  }
}

async function read(object: Inspected, storeDir: string): Promise<NamingNarInfo> {
  const origin = object.meta?.origin ?? 'unknown';
  const info = parseNarInfo((await bytesOf(object)).toString(), storeDir);
  const nar: ObjectName = { kind: 'nar', name: narNameOf(info, origin), hash: info.hashPart };
  const narPath = pathOf(nar);
  const id = idOf(narPath);
  const name: ObjectName = { kind: 'narinfo', hash: info.hashPart };
  return {
    finding: { ...finding(object, name, `its NAR ${narPath} is not here`, 'dangling'), nar: id },
    pushed: origin === 'push',
    nar,
    id,
  };
}
