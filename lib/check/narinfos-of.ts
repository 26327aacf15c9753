// Which narinfos name a NAR that is not here any more: they are found by looking at all of them.
import { setImmediate as turn } from 'node:timers/promises';
import { isCacheError } from '../errors.ts';
import { narNameOf } from '../nix/nar-names.ts';
import { parseNarInfo } from '../nix/narinfo.ts';
import { type ObjectName, pathOf } from '../nix/object-name.ts';
import { readFacts } from '../store/folder/facts.ts';
import { decodeHeader } from '../store/folder/header.ts';
import { walkFolder } from '../store/folder/walk.ts';
import { idOf } from '../store/object-id.ts';
import { CheckedFile } from './checked-file.ts';
import type { Finding } from './finding.ts';

interface NamingNarInfo {
  /** What is to be said of it if it was pushed. */
  readonly finding: Finding;
  readonly pushed: boolean;
  readonly nar: ObjectName;
  /** The NAR's. */
  readonly id: string;
}

/** Files to look at before others get a turn. */
const BATCH = 32;

/** @throws CacheError `storage`, or the signal's reason */
export async function* narInfosOf(
  folder: string,
  storeDir: string,
  nars: ReadonlySet<string>,
  signal: AbortSignal,
): AsyncGenerator<NamingNarInfo> {
  if (nars.size === 0) return;
  let looked = 0;
  for await (const source of walkFolder(folder)) {
    signal.throwIfAborted();
    if (++looked % BATCH === 0) await turn();
    const facts = readFacts(source, storeDir);
    if (facts?.kind !== 'narinfo' || facts.ref === undefined || !nars.has(facts.ref)) continue;
    const file = await CheckedFile.open(source, () => {});
    if (file === undefined) continue;
    try {
      const named = await read(file, storeDir);
      if (named !== undefined) yield named;
    } catch (error) {
      // The narinfo has changed since, or is damaged itself: its own check reports that.
      if (!isCacheError(error, 'damaged') && !isCacheError(error, 'invalid')) throw error;
    } finally {
      await file.close();
    }
  }
}

async function read(file: CheckedFile, storeDir: string): Promise<NamingNarInfo | undefined> {
  const { source, version } = file;
  const head = source.flat ? undefined : decodeHeader(await file.head());
  const origin = head?.meta.origin ?? 'unknown';
  const info = parseNarInfo((await file.text(head?.length ?? 0, file.bytes)).toString(), storeDir);
  const nar: ObjectName = { kind: 'nar', name: narNameOf(info, origin), hash: info.hashPart };
  const narPath = pathOf(nar);
  const id = idOf(narPath);
  const name: ObjectName = { kind: 'narinfo', hash: info.hashPart };
  const label = pathOf(name);
  const reason = `its NAR ${narPath} is not here`;
  return {
    finding: { source, version, name, label, reason, kind: 'dangling', nar: id },
    pushed: origin === 'push',
    nar,
    id,
  };
}
