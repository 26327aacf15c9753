// Takes another cache's paths in, with the checks of an upload and as if they had been pushed, so that they stay. NARs are
// stored under their hash, whatever they are called there.
import type { Config } from '../config/config.ts';
import type { Engine } from '../engine.ts';
import { CacheError } from '../errors.ts';
import type { Log } from '../log.ts';
import { endingOf } from '../nix/compression.ts';
import { sameContent, withoutNeedlessSize } from '../nix/fits.ts';
import { mended, type NarInfo, parseNarInfo, withFileSize, withUrl } from '../nix/narinfo.ts';
import { type NarName, type ObjectName, pathOf } from '../nix/object-name.ts';
import { checkVouchedFor, isVouchedFor, readKeys } from '../nix/signature.ts';
import type { StoreHash } from '../nix/store-path.ts';
import { ImportedBesides } from './import-besides.ts';
import type { ImportSource } from './import-source.ts';
import { inOrder, type Load, lookAhead, referencesFirst } from './references-first.ts';
import { attempt, checkAborted, counted, type TransferWatch } from './transfer.ts';

interface ImportOptions {
  readonly engine: Engine;
  readonly config: Pick<Config, 'storeDir' | 'trustedKeys'>;
  readonly source: ImportSource;
  /** Hash → what it is called. */
  readonly roots: ReadonlyMap<StoreHash, string>;
  /** Whether what the roots refer to must be there, or here, too. */
  readonly closures: boolean;
  readonly watch: TransferWatch;
  readonly log: Log;
  readonly signal: AbortSignal;
}

interface Offered {
  readonly info: NarInfo;
  readonly text: string;
}

/** NARs that are copied at once. */
const AT_ONCE = 4;

/** @throws CacheError `storage`, `full` or `aborted` */
export async function importFrom(options: ImportOptions): Promise<void> {
  const { closures, engine, roots, signal, watch } = options;
  const load: Load<Offered> = async (hash, label) => {
    checkAborted(signal);
    const text = await options.source.narInfo(hash);
    if (text !== undefined) return offered(hash, text, options);
    // A path's references may have been here for long, or come from another stick.
    if (!roots.has(hash) && (!closures || (await engine.narInfos.local(hash)) !== undefined))
      return undefined;
    throw new CacheError('not-found', `there is no narinfo of ${label}`);
  };
  const reporting: Load<Offered> = (hash, label) => attempt(options, label, () => load(hash, label));
  if (closures) {
    const quietly: Load<Offered> = (hash, label) => load(hash, label).catch(() => undefined);
    // Paths that are here already count towards the total, but are not walked.
    watch.total(await lookAhead(roots, quietly));
  } else watch.total(roots.size);
  const besides = new ImportedBesides(options);
  await inOrder(referencesFirst(roots, reporting), AT_ONCE, async (one) => {
    const { storePath } = one.info;
    const narName = await attempt(options, storePath, () => takeNar(one, options));
    return async () => {
      if (narName === undefined) return;
      const how = await attempt(options, storePath, () => takeNarInfo(one, narName, options));
      if (how === undefined) return;
      watch.done(how);
      await besides.ofPath(one.info);
    };
  });
  await besides.rest(!closures);
}

function offered(hash: StoreHash, text: string, { config }: ImportOptions): Offered {
  const info = parseNarInfo(text, config.storeDir);
  if (info.hashPart !== hash) {
    throw new CacheError('invalid', `expected the narinfo of ${hash}, found that of ${info.storePath}`);
  }
  return { info, text: mended(text, info, config.storeDir) };
}

/** Its name here; `there` if nothing is to be done for this path. */
async function takeNar(one: Offered, options: ImportOptions): Promise<NarName | 'there'> {
  const { config, engine, signal, source, watch } = options;
  const { info } = one;
  const { scratch, store, uploads } = engine;
  checkAborted(signal);
  // Checked before its NAR is read for nothing.
  checkVouchedFor(info, readKeys(config.trustedKeys), config.storeDir);
  if (await isHere(info, options)) return 'there';
  const sha256 = info.fileHash ?? (info.compression === 'none' ? info.narHash : undefined);
  const ending = endingOf(info.compression);
  const body = async () => counted(await source.nar(info.url), watch, signal);
  if (sha256 === undefined) {
    await scratch.checkRoom(info.fileSize);
    return uploads.putNar(ending, await body());
  }
  const name: ObjectName & { kind: 'nar' } = {
    kind: 'nar',
    name: `${sha256}.nar${ending}` as NarName,
    hash: undefined,
  };
  if ((await store.version(pathOf(name))) === undefined) {
    await uploads.check(name, info.fileSize);
    await uploads.put(name, await body(), signal);
  }
  return name.name;
}

/** Whether the path was pushed already, with all these signatures; or is here with another content, which stays. */
async function isHere(info: NarInfo, { config, engine, log }: ImportOptions): Promise<boolean> {
  const { narInfos, store } = engine;
  const existing = await narInfos.local(info.hashPart);
  if (existing === undefined) return false;
  const { storeDir, trustedKeys } = config;
  if (!sameContent(existing.info, info)) {
    // A path without a signature that is demanded by now is replaced by one that has it.
    if (existing.origin === 'push' && !isVouchedFor(existing.info, readKeys(trustedKeys), storeDir))
      return false;
    log.info(`${info.storePath} is already here with another content, which stays`);
    return true;
  }
  const nar = pathOf({ kind: 'nar', name: existing.narName, hash: undefined });
  if (existing.origin !== 'push' || (await store.version(nar)) === undefined) return false;
  return info.sigs.every((sig) => existing.info.sigs.includes(sig));
}

async function takeNarInfo(
  { info, text }: Offered,
  narName: NarName | 'there',
  { engine, signal }: ImportOptions,
): Promise<'taken' | 'there'> {
  if (narName === 'there') return 'there';
  const { store } = engine;
  const nar = await store.open(pathOf({ kind: 'nar', name: narName, hash: undefined }));
  await nar?.close();
  // A wrong FileSize beside a right hash is mended: no client looks at it. Without a hash the size must be right.
  const isNeedless = withoutNeedlessSize(info).fileSize === undefined;
  const sized = nar !== undefined && isNeedless ? withFileSize(text, nar.meta.size) : text;
  const body = Buffer.from(withUrl(sized, `nar/${narName}`));
  await engine.uploads.put({ kind: 'narinfo', hash: info.hashPart }, pieces(body), signal);
  return 'taken';
}

async function* pieces(body: Buffer): AsyncGenerator<Buffer> {
  yield body;
}
