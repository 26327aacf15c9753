// Hashes what a compressed NAR unpacks to, for the compressions that Node can undo.
import { createHash, type Hash } from 'node:crypto';
import type { Transform } from 'node:stream';
import * as zlib from 'node:zlib';
import { CacheError, describe } from '../errors.ts';
import type { Compression } from '../nix/compression.ts';
import { type Sha256, sha256FromBytes } from '../nix/hash.ts';
import { ZstdFrames } from '../nix/zstd-frames.ts';

export interface Unpacked {
  readonly narHash: Sha256;
  readonly narSize: number;
}

/** Takes the packed bytes in order. Call `end` or `destroy`. */
export interface Unpacker {
  /** @throws CacheError `invalid` if the bytes are not what they should be */
  write(chunk: Buffer): Promise<void>;
  end(): Promise<Unpacked>;
  destroy(): void;
}

/** Node 22.15 and later have it; the types are those of the oldest Node we run on. */
const { createZstdDecompress } = zlib as { createZstdDecompress?: () => Transform };

/** An unpacker for the compression; undefined where Node has none, or none is needed. `maxSize` stops a bomb. */
export function createUnpacker(compression: Compression, maxSize: number): Unpacker | undefined {
  switch (compression) {
    case 'gzip':
      return new StreamUnpacker(zlib.createGunzip(), maxSize);
    case 'br':
      return new StreamUnpacker(zlib.createBrotliDecompress(), maxSize);
    case 'zstd':
      return createZstdDecompress && new ZstdUnpacker(createZstdDecompress, maxSize);
    default:
      return undefined;
  }
}

/** Feeds one decoder, or one after the other, into a hash. */
class Sink {
  readonly #hash: Hash = createHash('sha256');
  readonly #maxSize: number;
  #size = 0;

  constructor(maxSize: number) {
    this.#maxSize = maxSize;
  }

  /** Everything that `decoder` yields, to its end. */
  async drain(decoder: Transform): Promise<void> {
    for await (const chunk of decoder as AsyncIterable<Buffer>) {
      this.#size += chunk.length;
      if (this.#size > this.#maxSize) {
        throw new CacheError(
          'invalid',
          `unpacks to more than the ${this.#maxSize} bytes that were announced`,
        );
      }
      this.#hash.update(chunk);
    }
  }

  finish(): Unpacked {
    return { narHash: sha256FromBytes(this.#hash.digest()), narSize: this.#size };
  }
}

/** One decoder at work, and its failure once there is one. */
class Run {
  readonly #decoder: Transform;
  readonly #drained: Promise<void>;

  constructor(decoder: Transform, sink: Sink) {
    this.#decoder = decoder;
    this.#drained = sink.drain(decoder).catch((error) => {
      decoder.destroy();
      throw error instanceof CacheError
        ? error
        : new CacheError('invalid', `can't be unpacked: ${describe(error)}`, error);
    });
    this.#drained.catch(() => {});
  }

  async write(chunk: Buffer): Promise<void> {
    if (chunk.length === 0) return;
    const taken = new Promise<void>((resolve) => this.#decoder.write(chunk, () => resolve()));
    // A decoder that has failed, or ended before its input did, may never say that it took the bytes.
    await Promise.race([taken, this.#drained]);
  }

  async end(): Promise<void> {
    this.#decoder.end();
    await this.#drained;
  }

  destroy(): void {
    this.#decoder.destroy();
  }
}

class StreamUnpacker implements Unpacker {
  readonly #sink: Sink;
  readonly #run: Run;

  constructor(decoder: Transform, maxSize: number) {
    this.#sink = new Sink(maxSize);
    this.#run = new Run(decoder, this.#sink);
  }

  write(chunk: Buffer): Promise<void> {
    return this.#run.write(chunk);
  }

  async end(): Promise<Unpacked> {
    await this.#run.end();
    return this.#sink.finish();
  }

  destroy(): void {
    this.#run.destroy();
  }
}

/** A decoder of its own for every frame: see {@link ZstdFrames}. */
class ZstdUnpacker implements Unpacker {
  readonly #create: () => Transform;
  readonly #frames = new ZstdFrames();
  readonly #sink: Sink;
  #run: Run | undefined;

  constructor(create: () => Transform, maxSize: number) {
    this.#create = create;
    this.#sink = new Sink(maxSize);
  }

  async write(chunk: Buffer): Promise<void> {
    for (const { bytes, last } of this.#frames.push(chunk)) {
      this.#run ??= new Run(this.#create(), this.#sink);
      await this.#run.write(bytes);
      if (!last) continue;
      await this.#run.end();
      this.#run = undefined;
    }
  }

  async end(): Promise<Unpacked> {
    this.#frames.end();
    return this.#sink.finish();
  }

  destroy(): void {
    this.#run?.destroy();
  }
}
