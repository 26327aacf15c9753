// A stored object held open: a file descriptor, which others may share, and where in it the body lies.
import { createHash } from 'node:crypto';
import type { Reader } from '../../bytes/streams.ts';
import { storageError } from '../../disk/files.ts';
import { CacheError } from '../../errors.ts';
import { type ObjectMeta, type StoredObject, TOUCH_INTERVAL_MS } from '../store.ts';
import { FileReader } from './file-reader.ts';
import type { HotReads } from './hot-reads.ts';
import type { Known } from './kept-files.ts';
import { FRESH_MS, isStale } from './last-use.ts';

export interface OpenFileOptions {
  /** The descriptor has the object for a user, until it is closed. */
  readonly known: Known;
  /** So much of the body, from its first byte, was read already. */
  readonly begun: Buffer;
  /** For reads of a small body; undefined where all are for the thread pool. */
  readonly hot?: HotReads | undefined;
  /** Notes a use in the file. Never rejects. */
  readonly noteUse: (known: Known) => Promise<void>;
  /** Whether it was read and found right a short while ago. */
  readonly trusted: boolean;
  /** Told that somebody begins to read it. */
  readonly onRead: () => void;
  /** Told that a reader got the whole, and that it is right. */
  readonly onRight: () => void;
  /** Sets a damaged object aside. */
  readonly onDamage: (reason: string) => Promise<unknown>;
}

export class OpenFile implements StoredObject {
  readonly #options: OpenFileOptions;
  /** The use that is still to be noted, if there is one. */
  #noting: Promise<void> | undefined;
  #isUsed = false;
  #isClosed = false;

  constructor(options: OpenFileOptions) {
    this.#options = options;
  }

  used(): void {
    if (this.#isUsed) return;
    this.#isUsed = true;
    if (isStale(this.#options.known.mtimeMs)) this.#noteUse();
  }

  #noteUse(): void {
    const { known, noteUse } = this.#options;
    this.#noting = noteUse(known).finally(() => {
      this.#noting = undefined;
    });
  }

  get meta(): ObjectMeta {
    return this.#options.known.meta;
  }

  get freshForMs(): number {
    return FRESH_MS;
  }

  get version(): string {
    return this.#options.known.version;
  }

  reader(start: number, end: number): Reader {
    const { onRead, onRight, trusted } = this.#options;
    onRead();
    const { bodyAt, meta } = this.#options.known;
    const whole = start === 0 && end === meta.size;
    let usedAt = performance.now();
    return new FileReader({
      read: (buffer, length, at) => this.#readPiece(buffer, length, at),
      from: bodyAt + start,
      to: bodyAt + end,
      check:
        whole && !trusted && meta.sha256 !== undefined
          ? (sha256) => this.#compare(sha256, onRight)
          : undefined,
      short: (at) => this.#damaged(`it ends after ${at - bodyAt} of ${meta.size} bytes`),
      // A client that reads for hours uses the object all the time.
      onPiece: () => {
        if (!this.#isUsed || performance.now() - usedAt < TOUCH_INTERVAL_MS) return;
        usedAt = performance.now();
        this.#noteUse();
      },
      onClose: () => void this.close().catch(() => {}),
    });
  }

  async bytes(): Promise<Buffer> {
    const { begun } = this.#options;
    const { bodyAt, meta } = this.#options.known;
    try {
      const body = Buffer.allocUnsafe(meta.size);
      for (let done = begun.copy(body); done < body.length; ) {
        const bytesRead = await this.#read(body, done, body.length - done, bodyAt + done);
        if (bytesRead === 0) await this.#damaged(`it ends after ${done} of ${body.length} bytes`);
        done += bytesRead;
      }
      if (meta.sha256 !== undefined) await this.#compare(createHash('sha256').update(body).digest('hex'));
      return body;
    } finally {
      await this.close();
    }
  }

  async #readPiece(buffer: Buffer, length: number, at: number): Promise<number> {
    const { hot, known } = this.#options;
    if (hot === undefined || length !== known.meta.size) return this.#read(buffer, 0, length, at);
    if (hot.canRead(known, length) && hot.read(known, buffer, length, at)) return length;
    const bytesRead = await this.#read(buffer, 0, length, at);
    if (bytesRead === length) hot.done(known);
    return bytesRead;
  }

  /** @throws CacheError `storage` */
  async #read(buffer: Buffer, offset: number, length: number, position: number): Promise<number> {
    const { descriptor, file } = this.#options.known;
    try {
      return await descriptor.read(buffer, offset, length, position);
    } catch (error) {
      throw storageError(`can't read ${file}`, error);
    }
  }

  async #compare(sha256: string, onRight = () => {}): Promise<void> {
    const { meta } = this.#options.known;
    if (sha256 === meta.sha256) return onRight();
    await this.#damaged(`the SHA-256 of its body is ${sha256}, its header says ${meta.sha256}`);
  }

  async #damaged(reason: string): Promise<never> {
    await this.#options.onDamage(reason);
    throw new CacheError('damaged', `${this.meta.path} in the store is damaged: ${reason}`);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const { descriptor } = this.#options.known;
    if (this.#noting === undefined) await descriptor.done();
    else void this.#noting.then(() => descriptor.done()).catch(() => {});
  }
}
