// The cache for the time of one command, beside a running service or without one.
import { setMaxListeners } from 'node:events';
import type { Config } from '../config/config.ts';
import { loadSecrets } from '../config/secrets.ts';
import { createEngine, type Engine } from '../engine.ts';
import { CacheError } from '../errors.ts';
import { logSink } from '../event-log.ts';
import type { Output } from './progress.ts';
import { TransferProgress } from './transfer-progress.ts';

export interface Tools {
  readonly engine: Engine;
  readonly progress: TransferProgress;
  /** Aborts when the command is to end: SIGINT, SIGTERM. */
  readonly signal: AbortSignal;
}

/**
 * Runs `use`, then lets everything go. A second signal ends the process there and then.
 * @throws CacheError `config`, `aborted`, or what `use` throws
 */
export async function withEngine<T>(
  config: Config,
  { stderr }: Output,
  use: (tools: Tools) => Promise<T>,
  { create = false, quiet = false }: { readonly create?: boolean; readonly quiet?: boolean } = {},
): Promise<T> {
  const secrets = await loadSecrets(config);
  const ending = new AbortController();
  setMaxListeners(0, ending.signal);
  const { signal } = ending;
  const progress = new TransferProgress(stderr);
  const context = { quiet, signal, now: () => performance.now() };
  const engine = await createEngine(config, secrets, logSink(progress.log), context);
  await (create ? engine.storage.create() : engine.storage.check());
  const writer = await engine.scratch.show();
  const interrupt = () => ending.abort(new CacheError('aborted', 'interrupted; run it again to go on'));
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
  try {
    return await use({ engine, progress, signal });
  } finally {
    progress.end();
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
    ending.abort(new CacheError('aborted', 'the command has ended'));
    await engine.close();
    await writer.close();
  }
}
