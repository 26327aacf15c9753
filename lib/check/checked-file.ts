// A file of the folder while it is checked: opened without a trace, read piece by piece into one buffer, as gently as whoever
// checks wishes.
import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { PIECE_BYTES } from '../bytes/buffers.ts';
import { openForReading, storageError } from '../disk/files.ts';
import { CacheError, isErrno } from '../errors.ts';
import { versionOf } from '../store/folder/files.ts';
import { MAX_HEADER_BYTES } from '../store/folder/header.ts';
import type { FolderFile } from '../store/folder/walk.ts';

/** What is called for every piece that was read: it may wait, and ends everything by throwing. */
export type Pause = (bytes: number) => Promise<void> | void;

export class CheckedFile {
  readonly source: FolderFile;
  readonly bytes: number;
  readonly version: string;
  readonly #handle: FileHandle;
  readonly #pause: Pause;

  private constructor(
    source: FolderFile,
    handle: FileHandle,
    stats: { bytes: number; version: string },
    pause: Pause,
  ) {
    this.source = source;
    this.bytes = stats.bytes;
    this.version = stats.version;
    this.#handle = handle;
    this.#pause = pause;
  }

  /** Undefined if there is no such file any more. */
  static async open(source: FolderFile, pause: Pause): Promise<CheckedFile | undefined> {
    const handle = await openForReading(source.file);
    if (handle === undefined) return undefined;
    const stats = await handle.stat().catch(async (error) => {
      await handle.close();
      throw storageError(`can't read ${source.file}`, error);
    });
    if (stats.isFile()) {
      return new CheckedFile(source, handle, { bytes: stats.size, version: versionOf(stats) }, pause);
    }
    await handle.close();
    return undefined;
  }

  /** Its first bytes, in which the header is. */
  head(): Promise<Buffer> {
    return this.text(0, Math.min(MAX_HEADER_BYTES, this.bytes));
  }

  /** The bytes from `from` to `to`, or to the end of the file, of something small. */
  async text(from: number, to: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    for await (const piece of this.pieces(from, to)) parts.push(Buffer.from(piece));
    return Buffer.concat(parts);
  }

  /**
   * Its bytes, each piece lent until the next is asked for.
   * @throws CacheError `damaged` if the disk can't read them, `storage`
   */
  async *pieces(from: number, to = this.bytes): AsyncGenerator<Buffer> {
    const buffer = Buffer.allocUnsafe(Math.min(PIECE_BYTES, Math.max(0, to - from)));
    for (let at = from; at < to; ) {
      const wanted = Math.min(buffer.length, to - at);
      const { bytesRead } = await this.#handle.read(buffer, 0, wanted, at).catch((error) => {
        // With these errors the disk says that it has lost the bytes.
        if (isErrno(error, 'EIO', 'EBADMSG', 'EUCLEAN', 'EILSEQ'))
          throw new CacheError('damaged', `it can't be read from byte ${at} on`, error);
        throw storageError(`can't read ${this.source.file}`, error);
      });
      if (bytesRead === 0) return;
      at += bytesRead;
      await this.#pause(bytesRead);
      yield buffer.subarray(0, bytesRead);
    }
  }

  /** The SHA-256 of what is behind `from`. */
  async hash(from: number): Promise<Buffer> {
    const hash = createHash('sha256');
    for await (const piece of this.pieces(from)) hash.update(piece);
    return hash.digest();
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}
