// The program as it was at an earlier commit, built for a benchmark that asks how much faster it has become.
import { symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { type Owner, temporaryFolder } from '../fixtures/defer.ts';
import { projectRoot } from '../fixtures/project.ts';
import { output } from '../fixtures/run.ts';

/** Before anything was done for speed. */
export const BEFORE = 'd5c2792';

/**
 * The built program of that commit, with this checkout's dependencies.
 * @throws Error if the checkout does not have the commit, as a shallow one
 */
export async function programAt(t: Owner, commit: string): Promise<string> {
  const folder = await temporaryFolder(t, 'baseline');
  const archive = join(folder, 'archive.tar');
  const source = join(folder, 'source');
  await output('git', ['-C', projectRoot, 'archive', '--prefix=source/', `--output=${archive}`, commit]);
  await output('tar', ['-xf', archive, '-C', folder]);
  await symlink(join(projectRoot, 'node_modules'), join(source, 'node_modules'));
  await output(process.execPath, ['scripts/build.js'], { cwd: source });
  return join(source, 'dist/bin/nix-binary-cache.js');
}
