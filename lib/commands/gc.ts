// `gc`: removes by the limits of the configuration, beside a running service or without one.
import type { Writable } from 'node:stream';
import type { Config } from '../config/config.ts';
import { openForReading } from '../disk/files.ts';
import { formatBytes } from '../format.ts';
import { ClockSteps } from '../gc/clock-steps.ts';
import { collect, FRESH_MS } from '../gc/collect.ts';
import { collectedLine, stillTooMuchLine } from '../gc/collector.ts';
import type { Log } from '../log.ts';
import { hashPartIn } from '../nix/narinfo.ts';
import { pathOf } from '../nix/object-name.ts';
import { heeded } from '../store/folder/changed-beside.ts';
import { fileOf } from '../store/folder/files.ts';
import { readFlatNarInfo } from '../store/folder/flat-files.ts';
import { readHeader } from '../store/folder/header.ts';
import type { Unit } from '../store/folder/plan.ts';
import { openStore } from './open-store.ts';

/**
 * Tells on `out` what goes, and what could not; removes it, unless `dryRun`.
 * @throws CacheError `startup` or `storage`
 */
export async function gc(config: Config, dryRun: boolean, out: Writable, log: Log): Promise<void> {
  const store = await openStore(config, log);
  const onUnits = async (units: readonly Unit[]) => {
    for (const unit of units) out.write(`${await line(store.folder, unit)}\n`);
  };
  const { gc, storeDir } = config;
  const { signal } = new AbortController();
  const alsoKeep = new ClockSteps(FRESH_MS).stretches();
  const done = await collect({ store, storeDir, gc, log, signal, onUnits, dryRun, alsoKeep });
  if (!dryRun && done.removedObjects > 0) await heeded(store.folder);
  out.write(`${dryRun ? 'would have ' : ''}${collectedLine(done)}\n`);
  if (done.stillTooMuch > 0) out.write(`${stillTooMuchLine(done)}\n`);
}

/** What goes, and how large it is together. */
async function line(folder: string, unit: Unit): Promise<string> {
  const bytes = unit.reduce((sum, part) => sum + part.bytes, 0);
  const [first] = unit;
  const path = first === undefined ? undefined : await pathIn(fileOf(folder, first), first.flat);
  return `${formatBytes(bytes).padStart(10)}  ${path ?? first?.id}`;
}

/** The path of the object in that file, as far as that tells. */
async function pathIn(file: string, flat: boolean): Promise<string | undefined> {
  if (flat) {
    const hash = hashPartIn((await readFlatNarInfo(file)) ?? '');
    return hash && pathOf({ kind: 'narinfo', hash });
  }
  const handle = await openForReading(file);
  try {
    return handle && (await readHeader(handle)).meta.path;
  } finally {
    await handle?.close();
  }
}
