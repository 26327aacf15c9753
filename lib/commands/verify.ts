// `verify`: is all that is stored still what it was? Beside a running service or without one.
import type { Writable } from 'node:stream';
import { checkAll, type Progress, type Verified, type VerifyEvent } from '../check/check-all.ts';
import { createRepairer } from '../check/repair.ts';
import type { Config } from '../config/config.ts';
import { createEngine, type Engine, openStorage } from '../engine.ts';
import { CacheError } from '../errors.ts';
import { logSink } from '../event-log.ts';
import { formatAge, formatBytes } from '../format.ts';
import { type Level, type Log, printable } from '../log.ts';
import type { CacheStorage } from '../store/storage.ts';
import { ProgressLine, type Terminal } from './progress.ts';

interface VerifyCommand {
  readonly repair: boolean;
  /** As written: `5%`. */
  readonly sample: string | undefined;
  readonly out: Writable;
  /** Where progress is shown. */
  readonly progress: Terminal;
  readonly log: Log;
}

const EXIT = { right: 0, unfinished: 1, damage: 3 } as const;
/** What the first moments take tells nothing of the rest. */
const GUESS_MS = 1000;

/**
 * Tells on `out` what is wrong; resolves to the exit code: 0 if nothing is, or all was repaired, 1 if it was interrupted, 3 for
 * damage.
 * @throws CacheError `config`, `startup` or `storage`
 */
export async function verify(config: Config, command: VerifyCommand): Promise<number> {
  const { log, out } = command;
  const share = command.sample === undefined ? 1 : parseSample(command.sample);
  const line = new ProgressLine(command.progress);
  const storage = await openStorage(config, logSink(quiet(log, line)));
  const { upkeep } = storage;
  const stop = new AbortController();
  const interrupt = () => stop.abort(new CacheError('aborted', 'interrupted'));
  // Heard once: a second signal ends the process at once.
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
  const writer = command.repair ? await storage.scratch.show() : undefined;
  const engine = command.repair ? await engineFor(config, aside(log, line), storage, stop.signal) : undefined;
  const repairer = engine && createRepairer(engine, stop.signal);
  try {
    const done = await checkAll({
      upkeep,
      config,
      share,
      repairer,
      signal: stop.signal,
      onProgress: (progress) => line.update(progress.done, (elapsedMs) => progressText(progress, elapsedMs)),
      onEvent: (event) => {
        line.clear();
        out.write(`${printable(eventLine(event))}\n`);
      },
    });
    if (done.damaged > 0) await upkeep.heeded();
    line.clear();
    out.write(`${summary(done)}\n`);
    if (done.damaged + done.doubtful > done.repaired) return EXIT.damage;
    return done.interrupted ? EXIT.unfinished : EXIT.right;
  } finally {
    line.clear();
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
    stop.abort(new CacheError('aborted', 'verify has ended'));
    await engine?.close();
    await writer?.close();
  }
}

/** @throws CacheError `config` */
export function parseSample(text: string): number {
  const percent = /^\d{1,3}(?:\.\d{1,6})?%?$/.test(text) ? Number.parseFloat(text) : Number.NaN;
  if (percent > 0 && percent <= 100) return percent / 100;
  throw new CacheError('config', `--sample: found ${JSON.stringify(text)}, expected a share such as 5%`);
}

export function progressText({ bytes, done, findings }: Progress, elapsedMs: number): string {
  const rate = elapsedMs > 0 ? (bytes * 1000) / elapsedMs : 0;
  const leftMs = done > 0 && elapsedMs >= GUESS_MS ? (elapsedMs * (1 - done)) / done : undefined;
  return [
    `${String(Math.floor(done * 100)).padStart(3)} %`,
    `${formatBytes(bytes)} read`,
    `${formatBytes(rate)}/s`,
    ...(leftMs === undefined ? [] : [`${formatAge(leftMs)} left`]),
    ...(findings === 0 ? [] : [`${findings} found`]),
  ].join('  ');
}

function eventLine(event: VerifyEvent): string {
  switch (event.kind) {
    case 'found': {
      const { kind, label, reason } = event.finding;
      const where = event.aside === true ? 'lies in' : kind === 'damaged' ? 'moved to' : undefined;
      if (event.stays !== undefined)
        return `damaged: ${label}: ${reason}; it stays, as it can't be moved: ${event.stays}`;
      if (kind === 'doubtful') return `doubtful: ${label}: ${reason}; it stays`;
      return `damaged: ${label}: ${reason}${where === undefined ? '' : `; ${where} quarantine/`}`;
    }
    case 'repaired':
      return `repaired: ${event.label}`;
    case 'not repaired':
      return `not repaired: ${event.label}: ${event.why}`;
  }
}

function summary({ bytes, damaged, doubtful, interrupted, objects, repaired, unknown }: Verified): string {
  const parts = [
    `${interrupted ? 'interrupted: ' : ''}checked ${objects} objects, ${formatBytes(bytes)}`,
    `${damaged} damaged${repaired > 0 ? ` (${repaired} repaired)` : ''}`,
    ...(doubtful > 0 ? [`${doubtful} doubtful`] : []),
    ...(unknown > 0 ? [`${unknown} files of the Go service not recognised`] : []),
  ];
  return parts.join(', ');
}

/** What is found stands on standard output already. */
function quiet(log: Log, line: ProgressLine): Log {
  return { ...aside(log, line), info: () => {}, warn: () => {} };
}

function aside(log: Log, line: ProgressLine): Log {
  const write = (level: Level) => (message: string) => {
    line.clear();
    log[level](message);
  };
  return { info: write('info'), warn: write('warn'), error: write('error') };
}

/** What fetches anew: it serves nobody, so it needs no secrets. */
function engineFor(config: Config, log: Log, storage: CacheStorage, signal: AbortSignal): Promise<Engine> {
  const nothing = { tokens: [], signers: [], tls: undefined };
  const now = () => performance.now();
  return createEngine({ ...config, signing: undefined }, nothing, logSink(log), { signal, now, storage });
}
