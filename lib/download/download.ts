// A download: one body on its way from an upstream into a spool, and any number of readers that follow it there, each
// at its own pace. Nothing ties it to the readers: they come and go, it goes on.
//
// The body is hashed as it arrives. Its last byte is shown only when size and hash are right; if they are not, every
// reader fails and nothing is kept.
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { CacheError } from '../errors.ts';
import { type Sha256, sha256ToHex } from '../nix/hash.ts';
import type { Spool } from '../store/store.ts';
import type { Answer } from '../upstream/upstream.ts';

/** What is known beforehand of the body; undefined where nothing is. */
export interface Expected {
  readonly fileHash: Sha256 | undefined;
  readonly fileSize: number | undefined;
}

/** What arrived, checked against what was expected. */
export interface Arrived {
  readonly size: number;
  /** In hexadecimal. */
  readonly sha256: string;
}

const READ_BYTES = 256 * 1024;

export class Download {
  /** Bytes of the body; undefined if nobody told beforehand. */
  readonly size: number | undefined;
  /** In hexadecimal, if it was known beforehand. */
  readonly sha256: string | undefined;
  /** Settles, and never rejects, when the last of it is done: everything kept, or given up. */
  readonly ended: Promise<void>;

  readonly #spool: Spool;
  readonly #label: string;
  /** Bytes written, from the start and without a gap. */
  #front = 0;
  #state: 'running' | 'complete' | Error = 'running';
  #waiting: (() => void)[] = [];
  /** The writer and the readers; the last one closes the spool. */
  #users = 1;

  /**
   * Takes over `answer` and `spool`. `keep` gets the finished body; the readers do not wait for it. `label` names
   * the source in messages.
   */
  constructor(
    answer: Answer,
    spool: Spool,
    expected: Expected,
    label: string,
    keep: (outcome: Arrived | Error) => Promise<void>,
  ) {
    this.size = answer.size ?? expected.fileSize;
    this.sha256 = expected.fileHash === undefined ? undefined : sha256ToHex(expected.fileHash);
    this.#spool = spool;
    this.#label = label;
    this.ended = this.#run(answer)
      .catch((error: Error) => error)
      .then((outcome) => {
        this.#change(outcome instanceof Error ? outcome : 'complete');
        return keep(outcome);
      })
      .finally(() => this.release());
  }

  async #run(answer: Answer): Promise<Arrived> {
    const hash = createHash('sha256');
    for await (const chunk of answer.body) {
      const front = this.#front + chunk.length;
      if (this.size !== undefined && front > this.size)
        throw this.#wrong('size', `${this.size}`, `at least ${front}`);
      const written = this.#spool.write(chunk, this.#front);
      hash.update(chunk);
      await written;
      this.#front = front;
      // The last byte waits for the verdict, so nobody need wake for it.
      if (front !== this.size) this.#change('running');
    }
    const size = this.#front;
    if (this.size !== undefined && size !== this.size) throw this.#wrong('size', `${this.size}`, `${size}`);
    const sha256 = hash.digest('hex');
    if (this.sha256 !== undefined && sha256 !== this.sha256)
      throw this.#wrong('SHA-256', this.sha256, sha256);
    return { size, sha256 };
  }

  #wrong(what: string, expected: string, found: string): CacheError {
    return new CacheError(
      'upstream',
      `${this.#label}: ${what} is wrong: expected ${expected}, found ${found}`,
    );
  }

  #change(state: 'running' | 'complete' | Error): void {
    this.#state = state;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }

  /** How far readers may read now. */
  get #visible(): number {
    if (this.#state === 'complete' || this.size === undefined) return this.#front;
    return Math.min(this.#front, this.size - 1);
  }

  /**
   * Keeps the bytes readable for one {@link stream}, or until {@link release}. False if it is too late for that: then
   * the body is in the store, or could not be kept there.
   * @throws the failure of the download, if it has failed
   */
  hold(): boolean {
    if (this.#state instanceof Error) throw this.#state;
    if (this.#users === 0) return false;
    this.#users++;
    return true;
  }

  release(): void {
    this.#users--;
    // Nothing depends on the outcome: the bytes are kept already, or not wanted.
    if (this.#users === 0) this.#spool.close().catch(() => {});
  }

  /**
   * The bytes from `start` up to `end`, or to the end if undefined, as they arrive; fails if the download fails.
   * Takes over one {@link hold}.
   */
  stream(start: number, end: number | undefined): Readable {
    let at = start;
    const next = async (reader: Readable): Promise<Buffer | null> => {
      while (!reader.destroyed) {
        // Before the front, because a client should stop at its known end and not wait for what comes after.
        if (at === (end ?? this.size)) return null;
        if (this.#state instanceof Error) throw this.#state;
        const visible = Math.min(this.#visible, end ?? Number.POSITIVE_INFINITY);
        if (at < visible) {
          const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, visible - at));
          const read = await this.#spool.read(buffer, at);
          if (read === 0) throw new CacheError('storage', `${this.#label}: the temporary file lost bytes`);
          at += read;
          return buffer.subarray(0, read);
        }
        if (this.#state === 'complete') return null;
        await new Promise<void>((wake) => this.#waiting.push(wake));
      }
      return null;
    };
    return new Readable({
      highWaterMark: READ_BYTES,
      read() {
        next(this).then(
          (chunk) => this.destroyed || this.push(chunk),
          (error) => this.destroy(error),
        );
      },
      destroy: (error, callback) => {
        this.release();
        callback(error);
      },
    });
  }
}
