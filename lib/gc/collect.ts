// One collection: how much must go by the limits, what that is, and its removal, step by step beside whoever reads and writes.
import { basename, dirname } from 'node:path';
import type { GcConfig } from '../config/config.ts';
import type { Collected, Emit } from '../events.ts';
import { pathOf } from '../nix/object-name.ts';
import { isBasename, isStoreHash, type StoreHash } from '../nix/store-path.ts';
import { minFree } from '../store/min-free.ts';
import { idOf } from '../store/object-id.ts';
import type { Limits, Stretch, Unit } from '../store/plan.ts';
import type { Scratch } from '../store/scratch.ts';
import type { Storage } from '../store/storage.ts';
import { TOUCH_INTERVAL_MS } from '../store/store.ts';
import type { Totals } from '../store/upkeep.ts';
import { closureOf } from './closure.ts';

interface CollectOptions {
  readonly storage: Storage;
  readonly storeDir: string;
  readonly gc: GcConfig;
  readonly signal: AbortSignal;
  readonly emit: Emit;
  /** Times that also mean a use within the last hour, where the clock was set; see {@link ClockSteps}. */
  readonly alsoKeep?: readonly Stretch[];
  /** Told of units before they go. */
  readonly onUnits?: (units: readonly Unit[]) => Promise<void> | void;
  /** Whether to remove nothing, only to tell. */
  readonly dryRun?: boolean;
}

/** What was used within the last hour stays; files may tell of it as late as that. */
export const FRESH_MS = 3_600_000 + TOUCH_INTERVAL_MS;
/** Uploads of a closure send its narinfos hours after its first NARs. */
const ORPHAN_MS = 24 * 3_600_000;
/** How far below `max_size` a collection goes, so that the next object does not begin another. */
const LOW_WATER = 0.95;

/** @throws CacheError `storage`, or the signal's reason */
export async function collect(options: CollectOptions): Promise<Collected> {
  const { alsoKeep = [], dryRun = false, emit, gc, onUnits, signal, storage, storeDir } = options;
  const { upkeep } = storage;
  const now = Date.now();
  const freeBytes = await missingFree(storage.scratch, gc);
  const limits: Limits = {
    freeBytes,
    mostBytes: gc.maxBytes === undefined ? Number.POSITIVE_INFINITY : gc.maxBytes * LOW_WATER,
    expireBeforeMs: gc.maxAgeMs === undefined ? Number.NEGATIVE_INFINITY : now - gc.maxAgeMs,
    keepSinceMs: now - FRESH_MS,
    alsoKeep,
    nowMs: now,
    keepPushed: gc.keepPushed,
    orphanBeforeMs: now - ORPHAN_MS,
    pinned: await pinnedIds(storage, storeDir),
  };
  const done = { removedObjects: 0, removedBytes: 0 };
  const add = ({ objects, bytes }: Totals) => {
    done.removedObjects += objects;
    done.removedBytes += bytes;
  };
  let summary = { objects: 0, totalBytes: 0, kept: { pushed: 0, pinned: 0, used: 0 } };
  const how = { storeDir, remove: !dryRun, tell: dryRun || onUnits !== undefined };
  for await (const step of upkeep.collect(limits, how, signal)) {
    if (step.kind === 'unreadable') {
      const { first, objects } = step;
      emit({ kind: 'uncollectable', objects, first });
    }
    if (step.kind === 'summary') summary = step;
    if (step.kind === 'units') {
      await onUnits?.(step.units);
      if (dryRun) add(sum(step.units));
    }
    if (step.kind === 'removed') add(step);
  }
  const { objects, totalBytes: bytes, kept } = summary;
  const wanted = Math.max(freeBytes, gc.maxBytes === undefined ? 0 : bytes - gc.maxBytes);
  return { objects, bytes, kept, ...done, stillTooMuch: Math.max(0, wanted - done.removedBytes) };
}

function sum(units: readonly Unit[]): Totals {
  const parts = units.flat();
  return { objects: parts.length, bytes: parts.reduce((total, { bytes }) => total + bytes, 0) };
}

/**
 * Bytes that are to be freed so that the disk has as much free as the configuration wants.
 * @throws CacheError `storage`
 */
export async function missingFree(scratch: Pick<Scratch, 'room'>, gc: GcConfig): Promise<number> {
  const { free, total } = await scratch.room();
  return Math.max(0, minFree(gc, total) - free);
}

/** The narinfos of all that pins keep. */
async function pinnedIds({ store, upkeep }: Storage, storeDir: string): Promise<Set<string>> {
  const rootsIn = new Map<string, StoreHash[]>();
  for (const { storePath } of await upkeep.pins()) {
    // A full path says itself which store it is in, whatever the configuration says now.
    const isWhole = storePath.startsWith('/') && isBasename(basename(storePath));
    const folder = isWhole ? dirname(storePath) : storeDir;
    const root = hashIn(storePath, folder);
    if (root !== undefined) rootsIn.set(folder, [...(rootsIn.get(folder) ?? []), root]);
  }
  const ids = new Set<string>();
  for (const [folder, roots] of rootsIn) {
    const { infos } = await closureOf(store, folder, roots);
    for (const hash of infos.keys()) ids.add(idOf(pathOf({ kind: 'narinfo', hash })));
  }
  return ids;
}

/** The hash part of a store path, also of one inside it, or of a hash alone. */
export function hashIn(storePath: string, storeDir: string): StoreHash | undefined {
  const rest = storePath.startsWith(`${storeDir}/`) ? storePath.slice(storeDir.length + 1) : storePath;
  const hash = rest.slice(0, 32);
  return isStoreHash(hash) && /^(?:$|[-.])/.test(rest.slice(32)) ? hash : undefined;
}
