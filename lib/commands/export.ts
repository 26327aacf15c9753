// `export`: a folder for `nix copy --from file://…`, a USB stick or a static web server.

import { exportTo } from '../carry/export.ts';
import type { Config } from '../config/config.ts';
import { folderOperand, hashOperand } from './operands.ts';
import type { Output } from './progress.ts';
import { type Tools, withEngine } from './with-engine.ts';

/**
 * Writes the closures of the store paths, or everything if there are none; the exit code: 3 if something could not be had.
 * @throws CacheError `config`, `startup`, `storage` or `aborted`
 */
export async function exportPaths(
  config: Config,
  target: string,
  storePaths: readonly string[],
  output: Output,
): Promise<number> {
  const named = storePaths.map((path) => [hashOperand(path, config), path] as const);
  const roots = named.length === 0 ? undefined : new Map(named);
  const folder = folderOperand(target);
  const run = async ({ engine, progress, signal }: Tools): Promise<number> => {
    await exportTo({ engine, config, folder, roots, watch: progress, signal });
    progress.end();
    output.stdout.write(`${progress.summary('exported')}\n`);
    return progress.failures > 0 ? 3 : 0;
  };
  // An export is not a use: if it marked all paths as used, a collection could not tell which to remove.
  return withEngine(config, output, run, { quiet: true });
}
