// A spool of the folder: in memory while it is small, and in a temporary file from then on. Most NARs are small, and each way to the
// disk costs more than their bytes: a cold closure of 601 small paths takes a tenth less time without.
import { storageError } from '../../disk/files.ts';
import type { Spool } from '../scratch.ts';
import type { TempFile } from './temp-file.ts';

/** Bodies up to this stay in memory; as many as there are downloads and uploads at once. */
export const SMALL_BYTES = 64 * 1024;
const FIRST_BYTES = 4096;

interface Watch {
  closed(): void;
}

export class FolderSpool implements Spool {
  readonly #create: () => TempFile;
  readonly #watch: Watch;
  #memory: Buffer | undefined = Buffer.alloc(0);
  #length = 0;
  #file: TempFile | undefined;
  /** When all that was in memory is in the file. */
  #moving: Promise<TempFile> | undefined;
  #closed: Promise<void> | undefined;

  /** `create`: makes its file, which tells that it is closed; `watch` is told so where there is none. */
  constructor(create: () => TempFile, watch: Watch) {
    this.#create = create;
    this.#watch = watch;
  }

  /** One that has a file already. */
  static of(file: TempFile): FolderSpool {
    const spool = new FolderSpool(() => file, { closed: () => {} });
    spool.#memory = undefined;
    spool.#file = file;
    spool.#moving = Promise.resolve(file);
    return spool;
  }

  /** All of it, if it is in memory alone. */
  get small(): Buffer | undefined {
    return this.#moving === undefined ? this.#memory?.subarray(0, this.#length) : undefined;
  }

  /**
   * Its file, with all of it.
   * @throws CacheError `storage`
   */
  file(): Promise<TempFile> {
    this.#moving ??= this.#move();
    return this.#moving;
  }

  async #move(): Promise<TempFile> {
    if (this.#closed !== undefined) throw storageError('a spool', new Error('it is closed'));
    const file = this.#create();
    this.#file = file;
    await file.ready();
    if (this.#memory !== undefined && this.#length > 0)
      await file.write(this.#memory.subarray(0, this.#length), 0);
    this.#memory = undefined;
    return file;
  }

  async ready(): Promise<void> {
    await this.file();
  }

  async write(chunk: Uint8Array, offset: number): Promise<void> {
    const end = offset + chunk.length;
    const memory = this.#moving === undefined && end <= SMALL_BYTES ? this.#memoryOf(end) : undefined;
    if (memory === undefined) {
      const file = await this.file();
      return file.write(chunk, offset);
    }
    memory.set(chunk, offset);
    this.#length = Math.max(this.#length, end);
  }

  /** With room for so many bytes; zeros where nothing was written yet. */
  #memoryOf(bytes: number): Buffer | undefined {
    const memory = this.#memory;
    if (memory === undefined || memory.length >= bytes) return memory;
    const larger = Buffer.alloc(Math.min(SMALL_BYTES, Math.max(bytes, 2 * memory.length, FIRST_BYTES)));
    memory.copy(larger, 0, 0, this.#length);
    this.#memory = larger;
    return larger;
  }

  async read(buffer: Uint8Array, offset: number): Promise<number> {
    const memory = this.#memory;
    if (memory === undefined) return (await this.file()).read(buffer, offset);
    const piece = memory.subarray(offset, Math.min(this.#length, offset + buffer.length));
    buffer.set(piece);
    return piece.length;
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    await this.#moving?.catch(() => {});
    this.#memory = undefined;
    if (this.#file === undefined) this.#watch.closed();
    else await this.#file.close();
  }
}
