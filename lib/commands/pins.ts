// `pin`, `unpin` and `pins`: what a collection never takes.
import { basename } from 'node:path';
import type { Writable } from 'node:stream';
import type { Config } from '../config/config.ts';
import { openStorage } from '../engine.ts';
import { CacheError } from '../errors.ts';
import { logSink } from '../event-log.ts';
import { closureOf } from '../gc/closure.ts';
import type { Log } from '../log.ts';
import { hashOperand } from './operands.ts';

/**
 * Pins the path and all that it refers to, under `name` or its own.
 * @throws CacheError `config`, `startup` or `storage`
 */
export async function pin(
  config: Config,
  storePath: string,
  name: string | undefined,
  out: Writable,
  log: Log,
): Promise<void> {
  const { store, upkeep } = await openStorage(config, logSink(log));
  const hash = hashOperand(storePath, config);
  const { infos, missing } = await closureOf(store, config.storeDir, [hash]);
  const info = infos.get(hash);
  if (info === undefined) {
    throw new CacheError(
      'config',
      `${storePath} is not in the cache: push it, or have a client fetch it, first`,
    );
  }
  const own = name ?? basename(info.storePath);
  await upkeep.pin({ name: own, storePath: info.storePath });
  out.write(`pinned ${info.storePath} as ${own}: ${infos.size} paths\n`);
  if (missing.length > 0)
    out.write(`${missing.length} paths it refers to are not here; they are kept once they come\n`);
}

/**
 * Removes the pin of this name, or all pins of this store path.
 * @throws CacheError `config` if there is none, `startup` or `storage`
 */
export async function unpin(config: Config, pinOrPath: string, out: Writable, log: Log): Promise<void> {
  const { upkeep } = await openStorage(config, logSink(log));
  const found = (await upkeep.pins()).filter(
    ({ name, storePath }) => name === pinOrPath || storePath === pinOrPath,
  );
  if (found.length === 0)
    throw new CacheError('config', `found no pin ${pinOrPath}; see pins for what there is`);
  for (const { name, storePath } of found) {
    await upkeep.unpin(name);
    out.write(`unpinned ${name}: ${storePath}\n`);
  }
}

/** @throws CacheError `startup` or `storage` */
export async function listPins(config: Config, out: Writable, log: Log): Promise<void> {
  const { upkeep } = await openStorage(config, logSink(log));
  for (const { name, storePath } of await upkeep.pins()) out.write(`${name}  ${storePath}\n`);
}
