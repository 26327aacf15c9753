// Undoes compressions, whether a Content-Encoding or a NAR's: those that this Node knows. A stream that is cut off, or is
// no such stream, fails.
import type { Transform } from 'node:stream';
import * as zlib from 'node:zlib';
import { CacheError, describe, isCacheError } from '../errors.ts';
import { PIECE_BYTES } from './buffers.ts';
import { type FramePiece, ZstdFrames } from './zstd-frames.ts';

/** Node 22.15 and later have it; the types are those of the oldest Node we run on. */
const { createZstdDecompress } = zlib as { createZstdDecompress?: (options: typeof OPTIONS) => Decoder };

/** Also tells how many bytes it has taken in. */
type Decoder = Transform & { readonly bytesWritten: number };
type Chunks = AsyncIterable<Buffer>;
type Decode = (chunks: Chunks) => AsyncGenerator<Buffer>;

/** Each piece that is decoded costs a trip to the thread pool: with these, not of 16 KiB, 20 MB of text take half of the time. */
const OPTIONS = { chunkSize: PIECE_BYTES };

const gunzip: Decode = (chunks) => through(zlib.createGunzip(OPTIONS), chunks);

const DECODERS = new Map<string, Decode>([
  ['gzip', gunzip],
  ['x-gzip', gunzip],
  ['deflate', (chunks) => through(zlib.createInflate(OPTIONS), chunks)],
  ['br', (chunks) => through(zlib.createBrotliDecompress(OPTIONS), chunks)],
]);
if (createZstdDecompress !== undefined) {
  DECODERS.set('zstd', (chunks) => unzstd(() => createZstdDecompress(OPTIONS), chunks));
}

/** The names of the codings that {@link decode} undoes. */
export const DECODABLE: readonly string[] = [...DECODERS.keys()];

/** The Accept-Encoding that offers what servers know of these, and nothing that costs more than it saves. */
export const OFFERED = ['zstd', 'gzip', 'br'].filter((coding) => DECODERS.has(coding)).join(', ');

/** What servers write that leave the body as it is: S3 repeats what the uploader said, or how the upload was signed. */
const NO_CODINGS = new Set(['', 'identity', 'none', 'utf-8', 'utf8', 'aws-chunked']);

/** A Content-Encoding header's coding; undefined if it leaves the body as it is. */
export function codingOf(header: string | undefined): string | undefined {
  const codings = (header ?? '').split(',').map((one) => one.trim().toLowerCase());
  return codings.filter((one) => !NO_CODINGS.has(one)).join(', ') || undefined;
}

const MAGIC: readonly (readonly [coding: string, hex: string])[] = [
  ['zstd', '28b52ffd'],
  ['xz', 'fd377a585a00'],
  ['gzip', '1f8b08'],
];

/** The coding that these first bytes are of; undefined for a text. Some servers do not name it. */
export function sniffCoding(head: Buffer): string | undefined {
  const hex = head.toString('hex', 0, 8);
  return MAGIC.find(([, magic]) => hex.startsWith(magic))?.[0];
}

/** Whether whoever asks for logs and listings knows it, whatever they say: it may be passed on. */
export function isPassable(coding: string): boolean {
  return ['zstd', 'xz', 'bzip2'].includes(coding);
}

/** Whether {@link decode} undoes `coding`. */
export function isDecodable(coding: string): boolean {
  return DECODERS.has(coding);
}

/**
 * What `chunks` were before `coding`, which must be one of {@link DECODABLE}. Errors of `chunks` come through as they are;
 * each of them is let go before the next is asked for.
 * @throws CacheError `invalid` while it is read, if they are not what the coding makes
 */
export async function* decode(coding: string, chunks: Chunks): AsyncGenerator<Buffer> {
  const decoder = DECODERS.get(coding);
  if (decoder === undefined) throw new TypeError(`no decoder for ${coding}`);
  let failure: unknown;
  try {
    yield* decoder(
      noting(chunks, (error) => {
        failure = error;
      }),
    );
  } catch (error) {
    if (error === failure || isCacheError(error)) throw error;
    throw new CacheError('invalid', `can't be decoded as ${coding}: ${describe(error)}`, error);
  }
}

/** Tells errors of `chunks` from those that a decoder throws into whom it reads. */
async function* noting(chunks: Chunks, note: (error: unknown) => void): AsyncGenerator<Buffer> {
  const iterator = chunks[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await iterator.next().catch((error) => {
        note(error);
        throw error;
      });
      if (next.done) return;
      yield next.value;
    }
  } finally {
    await iterator.return?.();
  }
}

async function* through(decoder: Decoder, chunks: Chunks): AsyncGenerator<Buffer> {
  const fed = { bytes: 0 };
  // The error surfaces where the decoder is read.
  feed(decoder, chunks, fed).catch((error) => decoder.destroy(error));
  try {
    yield* decoder as AsyncIterable<Buffer>;
  } finally {
    decoder.destroy();
  }
  // Decoders do not report input that they leave unread.
  if (decoder.bytesWritten === fed.bytes) return;
  throw new CacheError('invalid', `found bytes behind its end, which is at ${decoder.bytesWritten}`);
}

/** A chunk is only lent: the next is asked for when the decoder is done with it. */
async function feed(decoder: Decoder, chunks: Chunks, fed: { bytes: number }): Promise<void> {
  for await (const chunk of chunks) {
    fed.bytes += chunk.length;
    await new Promise<void>((resolve, reject) => {
      decoder.write(chunk, (error) => (error ? reject(error) : resolve()));
    });
  }
  decoder.end();
}

/** A decoder of its own for every frame: see zstd-frames.ts. */
async function* unzstd(create: () => Decoder, chunks: Chunks): AsyncGenerator<Buffer> {
  const pieces = framePieces(chunks);
  try {
    for (;;) {
      const next = await pieces.next();
      if (next.done) return;
      yield* through(create(), oneFrame(next.value, pieces));
    }
  } finally {
    // Not awaited: a piece may still be on its way to a decoder that has failed.
    pieces.return(undefined).catch(() => {});
  }
}

async function* framePieces(chunks: Chunks): AsyncGenerator<FramePiece> {
  const frames = new ZstdFrames();
  for await (const chunk of chunks) yield* frames.push(chunk);
  frames.end();
}

/** The bytes of the frame that begins with `first`; the pieces behind it stay where they are. */
async function* oneFrame(first: FramePiece, pieces: AsyncGenerator<FramePiece>): AsyncGenerator<Buffer> {
  for (let piece = first; ; ) {
    if (piece.bytes.length > 0) yield piece.bytes;
    if (piece.last) return;
    const next = await pieces.next();
    // A frame that is cut off has made the pieces fail already.
    if (next.done) return;
    piece = next.value;
  }
}
