// A stored object held open: a file descriptor and where in it the body lies.
import type { FileHandle } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { CacheError } from '../errors.ts';
import type { ObjectMeta, StoredObject } from './store.ts';

const READ_BYTES = 256 * 1024;

export class OpenFile implements StoredObject {
  readonly meta: ObjectMeta;
  readonly version: string;
  readonly #handle: FileHandle;
  readonly #bodyAt: number;

  constructor(handle: FileHandle, meta: ObjectMeta, bodyAt: number, version: string) {
    this.#handle = handle;
    this.#bodyAt = bodyAt;
    this.meta = meta;
    this.version = version;
  }

  stream(start: number, end: number): Readable {
    let at = start;
    const next = async (): Promise<Buffer | null> => {
      if (at >= end) return null;
      const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, end - at));
      const { bytesRead } = await this.#handle.read(buffer, 0, buffer.length, this.#bodyAt + at);
      // Never end early without a word: the client would wait for the rest, or take the part for the whole.
      if (bytesRead === 0) throw this.#short(at);
      at += bytesRead;
      return buffer.subarray(0, bytesRead);
    };
    return new Readable({
      highWaterMark: READ_BYTES,
      read() {
        next().then(
          (chunk) => this.push(chunk),
          (error) => this.destroy(error),
        );
      },
      destroy: (error, callback) => {
        this.close().then(() => callback(error), callback);
      },
    });
  }

  async bytes(): Promise<Buffer> {
    try {
      const body = Buffer.alloc(this.meta.size);
      let done = 0;
      while (done < body.length) {
        const { bytesRead } = await this.#handle.read(body, done, body.length - done, this.#bodyAt + done);
        if (bytesRead === 0)
          throw new CacheError('damaged', `${this.meta.path} ends after ${done} of ${body.length} bytes`);
        done += bytesRead;
      }
      return body;
    } finally {
      await this.close();
    }
  }

  close(): Promise<void> {
    return this.#handle.close();
  }

  #short(at: number): CacheError {
    return new CacheError('damaged', `${this.meta.path} ends after ${at} of ${this.meta.size} bytes`);
  }
}
