// `import`: takes in another cache, a folder of one, or what the Go service left.
import { adopt } from '../carry/adopt.ts';
import { importFrom } from '../carry/import.ts';
import { FolderSource, hashesIn, type ImportSource, UpstreamSource } from '../carry/import-source.ts';
import type { Config } from '../config/config.ts';
import { upstreamAt } from '../config/upstreams.ts';
import { CacheError } from '../errors.ts';
import { logSink } from '../event-log.ts';
import { printable } from '../log.ts';
import type { StoreHash } from '../nix/store-path.ts';
import { Breakers } from '../upstream/breaker.ts';
import { createUpstream } from '../upstream/configured.ts';
import { folderOperand, hashOperand } from './operands.ts';
import type { Output } from './progress.ts';
import { type Tools, withEngine } from './with-engine.ts';

interface ImportFlags {
  readonly fromGo: boolean;
  readonly verbose: boolean;
}

/**
 * Takes in what the operands say; the exit code: 3 if something could not be taken.
 * @throws CacheError `config`, `startup`, `storage`, `full` or `aborted`
 */
export async function importPaths(
  config: Config,
  from: string,
  storePaths: readonly string[],
  flags: ImportFlags,
  output: Output,
): Promise<number> {
  const isUrl = /^https?:/i.test(from);
  const wrong = (expected: string) => new CacheError('config', `${expected}; see --help`);
  if (flags.fromGo && (isUrl || storePaths.length > 0)) throw wrong('expected --from-go with a folder alone');
  if (flags.verbose && !flags.fromGo) throw wrong('expected --verbose with --from-go alone');
  if (isUrl && storePaths.length === 0)
    throw wrong('expected store paths behind the URL: a cache lists none');
  const source = isUrl ? { url: from } : { folder: folderOperand(from) };
  const named = new Map(storePaths.map((path) => [hashOperand(path, config), path]));
  return withEngine(
    config,
    output,
    async (tools) => {
      const done =
        source.folder === undefined
          ? await importUrl(config, source.url, named, tools)
          : flags.fromGo
            ? await adoptFolder(config, source.folder, flags.verbose, tools)
            : await importFolder(config, source.folder, named, tools);
      tools.progress.end();
      output.stdout.write(`${done.lines.join('\n')}\n`);
      return done.incomplete || tools.progress.failures > 0 ? 3 : 0;
    },
    { create: true },
  );
}

interface Done {
  readonly lines: readonly string[];
  readonly incomplete: boolean;
}

async function importFolder(
  config: Config,
  folder: string,
  named: ReadonlyMap<StoreHash, string>,
  tools: Tools,
): Promise<Done> {
  const closures = named.size > 0;
  const all = closures ? named : new Map((await hashesIn(folder)).map((hash) => [hash, `${hash}.narinfo`]));
  return importAll(config, new FolderSource(folder), all, closures, tools);
}

async function importUrl(
  config: Config,
  url: string,
  named: ReadonlyMap<StoreHash, string>,
  tools: Tools,
): Promise<Done> {
  const emit = logSink(tools.progress.log);
  const upstream = await createUpstream(upstreamAt(url, config.upstreams), {
    deadlines: config.deadlines,
    breakers: new Breakers(emit),
    emit,
  });
  try {
    return await importAll(config, new UpstreamSource(upstream, tools.signal), named, true, tools);
  } finally {
    upstream.close();
  }
}

async function importAll(
  config: Config,
  source: ImportSource,
  roots: ReadonlyMap<StoreHash, string>,
  closures: boolean,
  { engine, progress, signal }: Tools,
): Promise<Done> {
  await importFrom({
    engine,
    config,
    source,
    roots,
    closures,
    signal,
    watch: progress,
    log: progress.log,
  });
  return { lines: [progress.summary('imported')], incomplete: false };
}

async function adoptFolder(
  config: Config,
  folder: string,
  verbose: boolean,
  { engine, progress, signal }: Tools,
): Promise<Done> {
  const { storeDir } = config;
  const { lacking, unnamed } = await adopt({
    storage: engine,
    storeDir,
    folder,
    watch: progress,
    signal,
    inPlace: await engine.storage.isIn(folder),
  });
  const lines = [progress.summary('took over')];
  if (lacking.length > 0) lines.push(`${lacking.length} paths have a narinfo and no NAR here; left`);
  if (verbose) lines.push(...lacking.map((path) => `  ${printable(path)}`));
  if (unnamed.length > 0) lines.push(`${unnamed.length} files were not recognised; left`);
  if (verbose) lines.push(...unnamed.map((name) => `  ${name}`));
  return { lines, incomplete: lacking.length + unnamed.length > 0 };
}
