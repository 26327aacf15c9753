// `gc`: removes by the limits of the configuration, beside a running service or without one.
import type { Writable } from 'node:stream';
import type { Config } from '../config/config.ts';
import { openStorage } from '../engine.ts';
import { collectedLine, logSink, stillTooMuchLine } from '../event-log.ts';
import { formatBytes } from '../format.ts';
import { ClockSteps } from '../gc/clock-steps.ts';
import { collect, FRESH_MS } from '../gc/collect.ts';
import type { Log } from '../log.ts';
import type { Unit } from '../store/plan.ts';
import type { Upkeep } from '../store/upkeep.ts';

/**
 * Tells on `out` what goes, and what could not; removes it, unless `dryRun`.
 * @throws CacheError `startup` or `storage`
 */
export async function gc(config: Config, dryRun: boolean, out: Writable, log: Log): Promise<void> {
  const emit = logSink(log);
  const storage = await openStorage(config, emit);
  const { upkeep } = storage;
  const onUnits = async (units: readonly Unit[]) => {
    for (const unit of units) out.write(`${await line(upkeep, unit)}\n`);
  };
  const { gc, storeDir } = config;
  const { signal } = new AbortController();
  const alsoKeep = new ClockSteps(FRESH_MS).stretches();
  const done = await collect({
    storage,
    storeDir,
    gc,
    emit,
    signal,
    onUnits,
    dryRun,
    alsoKeep,
  });
  if (!dryRun && done.removedObjects > 0) await upkeep.heeded();
  out.write(`${dryRun ? 'would have ' : ''}${collectedLine(done)}\n`);
  if (done.stillTooMuch > 0) out.write(`${stillTooMuchLine(done)}\n`);
}

/** What goes, and how large it is together. */
async function line(upkeep: Upkeep, unit: Unit): Promise<string> {
  const bytes = unit.reduce((sum, part) => sum + part.bytes, 0);
  const [first] = unit;
  const object = first && (await upkeep.inspect(first.place, () => {}));
  await object?.close();
  return `${formatBytes(bytes).padStart(10)}  ${object?.path ?? first?.id}`;
}
