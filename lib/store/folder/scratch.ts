// Scratch space in the folder: `tmp/` for bodies on their way, `partial/` for beginnings that a stop left, and the room on its disk.
import { constants } from 'node:fs';
import { access, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { storageError } from '../../disk/files.ts';
import { CacheError, isErrno } from '../../errors.ts';
import type { Emit } from '../../events.ts';
import { UnderWay } from '../../sync/under-way.ts';
import type { Beginning, Room, Scratch, Spool } from '../scratch.ts';
import { Beginnings } from './beginnings.ts';
import { FolderSpool } from './folder-spool.ts';
import { makeFolderIn } from './own.ts';
import { Preparation } from './prepare.ts';
import type { Tally } from './tally.ts';
import { dropAbandoned, TempFile, type TempFileWatch } from './temp-file.ts';
import { showWriter, tempName } from './writer.ts';

/** What an upload leaves free: its narinfo and other small files need room too. */
const SPARE_BYTES = 1 << 20;
/** The same of the files that a filesystem may have: its temporary file, a folder, and those of its narinfo. */
const SPARE_FILES = 4;

export class FolderScratch implements Scratch {
  readonly #folder: string;
  readonly #tmp: string;
  readonly #tally: Tally;
  readonly #beginnings: Beginnings;
  readonly #preparation: Preparation;
  /** Whether no other service has the folder. */
  #sole = false;
  /** Spools that are open. */
  readonly #spools = new UnderWay();
  readonly #watch: TempFileWatch;

  constructor(folder: string, tally: Tally, emit: Emit) {
    this.#folder = folder;
    this.#tmp = join(folder, 'tmp');
    this.#tally = tally;
    this.#beginnings = new Beginnings(join(folder, 'partial'), emit);
    this.#preparation = new Preparation(folder, this.#beginnings, emit);
    this.#watch = {
      closed: () => this.#spools.end(),
      full: () => this.full(),
      left: (error) => emit({ kind: 'notice', level: 'warn', text: error.message }),
    };
  }

  /** See {@link Preparation.begin}. */
  prepare(sole: boolean): Promise<void> {
    this.#sole = sole;
    return this.#preparation.begin(sole);
  }

  room(): Promise<Room> {
    return roomOf(this.#folder);
  }

  async checkRoom(bytes = 0): Promise<void> {
    const look = () => lackOfRoom(this.#folder, bytes);
    const early = look().then(
      (refusal) => ({ refusal }),
      // Without the folder there is nothing to be seen.
      () => undefined,
    );
    await checkWritable(this.#folder);
    const seen = await early;
    const refusal = seen === undefined ? await look() : seen.refusal;
    if (refusal === undefined) return;
    this.full();
    throw refusal;
  }

  /** The disk takes no more. */
  full(): void {
    this.#tally.full();
    // A new body goes before beginnings that a client may or may not ask for again.
    void this.#beginnings.clear();
  }

  spool(): FolderSpool {
    void this.#preparation.goOn();
    this.#spools.begin();
    return new FolderSpool(() => TempFile.create(this.#tmp, this.#watch), this.#watch);
  }

  /** A spool that is a file from the start. */
  tempFile(): TempFile {
    void this.#preparation.goOn();
    this.#spools.begin();
    return TempFile.create(this.#tmp, this.#watch);
  }

  async noteBeginning(spool: Spool, beginning: Beginning): Promise<void> {
    const file = await fileOf(spool);
    if (file !== undefined) await this.#beginnings.note(file, beginning);
  }

  async keepBeginning(spool: Spool, beginning: Beginning): Promise<void> {
    const file = await fileOf(spool);
    if (file !== undefined) await this.#beginnings.keep(file, beginning);
  }

  async takeBeginning(
    wanted: Omit<Beginning, 'length'>,
  ): Promise<{ spool: Spool; length: number } | undefined> {
    const taken = await this.#beginnings.take(wanted, join(this.#tmp, tempName()), async (file) => {
      const spool = await TempFile.adopt(file, this.#watch);
      this.#spools.begin();
      return spool;
    });
    return taken && { ...taken, spool: FolderSpool.of(taken.spool) };
  }

  idle(): Promise<void> {
    return this.#spools.idle();
  }

  dropAbandoned(): Promise<void> {
    return dropAbandoned(this.#tmp, this.#sole);
  }

  show(): Promise<{ close(): Promise<void> }> {
    return showWriter(this.#folder);
  }
}

/** If it is one of the folder's, and the disk takes it. */
function fileOf(spool: Spool): Promise<TempFile | undefined> | undefined {
  return spool instanceof FolderSpool ? spool.file().catch(() => undefined) : undefined;
}

interface DiskRoom extends Room {
  /** How many files more there may be; undefined where the filesystem has no limit. */
  readonly freeFiles: number | undefined;
}

/**
 * What the disk that the folder is on has.
 * @throws CacheError `storage`
 */
async function roomOf(folder: string): Promise<DiskRoom> {
  const { bavail, blocks, bsize, ffree, files } = await statfs(folder).catch((error) => {
    throw storageError(`can't see how much is free in ${folder}`, error);
  });
  return { free: bavail * bsize, total: blocks * bsize, freeFiles: files > 0 ? ffree : undefined };
}

/**
 * Why an upload of so many bytes is refused, as `full`; undefined if there is room for it.
 * @throws CacheError `storage`
 */
async function lackOfRoom(folder: string, bytes: number): Promise<CacheError | undefined> {
  const expected = bytes + SPARE_BYTES;
  const { free, freeFiles } = await roomOf(folder);
  if (freeFiles !== undefined && freeFiles < SPARE_FILES) {
    return new CacheError('full', `the disk has room for ${freeFiles} files, expected ${SPARE_FILES}`);
  }
  if (free >= expected) return undefined;
  return new CacheError('full', `the disk has room for ${free} bytes, expected ${expected} for this upload`);
}

/**
 * Somebody may have removed the folder or taken it away from us, or the disk may have become read-only: that is seen without
 * writing anything.
 * @throws CacheError `full`
 */
async function checkWritable(folder: string): Promise<void> {
  const tmp = join(folder, 'tmp');
  const isWritable = () => Promise.all([tmp, folder].map((one) => access(one, constants.W_OK)));
  try {
    await isWritable().catch(async (error) => {
      if (!isErrno(error, 'ENOENT')) throw error;
      await makeFolderIn(folder, tmp);
      await isWritable();
    });
  } catch (error) {
    throw new CacheError('full', 'the disk takes no writes now', error);
  }
}
