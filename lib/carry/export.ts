// Writes what the cache has, or can get, as the folder that every Nix client and static web server understands:
// nix-cache-info, <hash>.narinfo and nar/<name>, and what else is here of the paths. NAR before narinfo and references before referrers, so that a folder
// whose export was interrupted lacks paths and is otherwise right.
import { join } from 'node:path';
import { isDecodable } from '../bytes/codings.ts';
import { piecesOf, type Reader } from '../bytes/streams.ts';
import type { Config } from '../config/config.ts';
import { sizeOf } from '../disk/files.ts';
import type { Engine } from '../engine.ts';
import { CacheError, isCacheError } from '../errors.ts';
import type { KnownNarInfo } from '../narinfos/served-narinfos.ts';
import { formatCacheInfo, storeDirOf } from '../nix/cache-info.ts';
import { checkFits } from '../nix/fits.ts';
import { withUrl } from '../nix/narinfo.ts';
import { hashInNarName, type ObjectName, parseObjectName, pathOf } from '../nix/object-name.ts';
import type { StoreHash } from '../nix/store-path.ts';
import { checkUnpacked, Digest } from '../nix/unpacked.ts';
import type { Store } from '../store/store.ts';
import type { Besides } from './besides.ts';
import { ExportedBesides } from './export-besides.ts';
import { placeFile, prepareTarget, readIfThere, type Write, writeText } from './place.ts';
import { inOrder, type Load, lookAhead, referencesFirst } from './references-first.ts';
import { attempt, checkAborted, counted, type TransferWatch } from './transfer.ts';

interface ExportOptions {
  readonly engine: Engine;
  readonly config: Pick<Config, 'storeDir' | 'priority'>;
  readonly folder: string;
  /** Hash → what it is called; undefined for everything whose narinfo and NAR are here. */
  readonly roots: ReadonlyMap<StoreHash, string> | undefined;
  readonly watch: TransferWatch;
  readonly signal: AbortSignal;
}

/** NARs that are copied, or downloaded, at once. */
const AT_ONCE = 4;

type NarFileName = Extract<ObjectName, { kind: 'nar' }>;

/** @throws CacheError `startup` if the folder is that of another store, `storage` or `aborted` */
export async function exportTo(options: ExportOptions): Promise<void> {
  const { config, engine, folder, signal, watch } = options;
  await prepareTarget(folder);
  await writeCacheInfo(folder, config);
  await prepareTarget(join(folder, 'nar'));
  const { besides: all, paths: wanted } =
    options.roots === undefined ? await allHere(engine.store) : { besides: undefined, paths: options.roots };
  const besides = new ExportedBesides(options);
  const load = options.roots === undefined ? loadHere(engine) : loadAnywhere(engine);
  const reporting: Load<KnownNarInfo> = async (hash, label) => {
    checkAborted(signal);
    return attempt(options, label, () => load(hash, label));
  };
  if (options.roots === undefined) watch.total(wanted.size);
  // Failures are reported once, below.
  else watch.total(await lookAhead(wanted, (hash, label) => load(hash, label).catch(() => undefined)));
  await inOrder(referencesFirst(wanted, reporting), AT_ONCE, async (known) => {
    checkAborted(signal);
    const { storePath } = known.info;
    const how = await attempt(options, storePath, () => exportNar(known, options));
    return async () => {
      if (how === undefined) return;
      const file = join(folder, `${known.info.hashPart}.narinfo`);
      const text = withUrl(Buffer.from(known.served, 'latin1').toString(), `nar/${known.narName}`);
      const there = (await readIfThere(file)) === text;
      if (!there) await writeText(file, text);
      watch.done(there && how === 'there' ? 'there' : 'taken');
      await besides.ofPath(known, known.narName);
    };
  });
  await besides.rest(all);
}

/** Another store's is left as it is. */
async function writeCacheInfo(folder: string, config: ExportOptions['config']): Promise<void> {
  const file = join(folder, 'nix-cache-info');
  const existing = await readIfThere(file);
  const other = existing === undefined ? undefined : storeDirOf(existing);
  if (other !== undefined && other !== config.storeDir) {
    throw new CacheError('startup', `${folder} is a cache for ${other}, expected one for ${config.storeDir}`);
  }
  if (existing === undefined) {
    const text = formatCacheInfo({ ...config, wantMassQuery: true });
    await writeText(file, text);
  }
}

async function allHere(store: Store): Promise<{ paths: Map<StoreHash, string>; besides: Besides[] }> {
  const paths = new Map<StoreHash, string>();
  const besides: Besides[] = [];
  for await (const { path = '' } of store.list()) {
    const name = parseObjectName(path.slice(1), '');
    if (name?.kind === 'narinfo') paths.set(name.hash, path);
    // Listings go out with their paths; for the other kinds, not all names tell which path they belong to.
    else if (name !== undefined && name.kind !== 'nar' && name.kind !== 'listing') besides.push(name);
  }
  return { paths, besides };
}

function loadHere({ narInfos, store }: Engine): Load<KnownNarInfo> {
  return async (hash) => {
    const known = await narInfos.local(hash);
    const here = known && (await store.version(pathOf(narOf(known))));
    return here === undefined ? undefined : known;
  };
}

function loadAnywhere({ narInfos }: Engine): Load<KnownNarInfo> {
  return async (hash) => {
    const found = await narInfos.find(hash);
    if (found === undefined) throw new CacheError('not-found', 'it is not here, and no upstream has it');
    return found.known;
  };
}

function narOf({ info, narName }: KnownNarInfo): NarFileName {
  return { kind: 'nar', name: narName, hash: info.hashPart };
}

async function exportNar(known: KnownNarInfo, options: ExportOptions): Promise<'taken' | 'there'> {
  const { info } = known;
  const file = join(options.folder, 'nar', known.narName);
  const size = info.fileSize ?? (info.compression === 'none' ? info.narSize : undefined);
  const existing = await sizeOf(file);
  if (existing !== undefined && existing === size) return 'there';
  try {
    return await copyNar(known, file, size === undefined ? existing : undefined, options);
  } catch (error) {
    if (!isCacheError(error, 'damaged')) throw error;
    // The damaged file has been set aside, and an upstream may have it.
    return copyNar(known, file, undefined, options);
  }
}

/** A file of `existing` bytes is left if that is its size. */
async function copyNar(
  known: KnownNarInfo,
  file: string,
  existing: number | undefined,
  options: ExportOptions,
): Promise<'taken' | 'there'> {
  const found = await options.engine.cache.find(narOf(known));
  if (found === undefined) throw new CacheError('not-found', 'its NAR is not here, and no upstream has it');
  // A file that has its final name is whole, and the name fixes the bytes.
  if (existing !== undefined && existing === found.size) {
    found.close();
    return 'there';
  }
  const body = found.open(0, undefined);
  try {
    await placeFile(file, (write) => copyChecked(known, body, write, options));
  } finally {
    body.close();
  }
  return 'taken';
}

/** @throws CacheError `invalid` at the end if the bytes are not what the narinfo says */
async function copyChecked(
  { info, narName }: KnownNarInfo,
  body: Reader,
  write: Write,
  { signal, watch }: ExportOptions,
): Promise<void> {
  const digest = new Digest();
  const chunks = digest.through(written(counted(piecesOf(body), watch, signal), write));
  // A NAR of unknown origin was never checked: where its name is no hash to check it against, it is unpacked.
  const promised = hashInNarName(narName);
  const mustUnpack = info.fileHash === undefined && (promised === undefined || promised === info.narHash);
  if (mustUnpack && isDecodable(info.compression)) await checkUnpacked(info.storePath, info, chunks);
  for await (const _ of chunks);
  checkFits(info, { path: `nar/${narName}`, size: digest.size, sha256: digest.end().toString('hex') });
}

async function* written(chunks: AsyncIterable<Buffer>, write: Write): AsyncGenerator<Buffer> {
  for await (const chunk of chunks) {
    await write(chunk);
    yield chunk;
  }
}
