// The body of an upload: its 100-continue, its content coding, its deadline on silence, and what is left of it when it
// is refused.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { codingOf, DECODABLE, decode, isDecodable } from '../bytes/codings.ts';
import { atMost, untilStalled } from '../bytes/streams.ts';
import { CacheError, isCacheError } from '../errors.ts';

/** What a coded body may unpack to. Clients code narinfos, listings and logs only. */
const MAX_DECODED_BYTES = 256 << 20;
/** What is read of a refused body, so that a client which is still sending comes to read the refusal. */
const DRAIN = { bytes: 16 << 20, ms: 5_000 };

/**
 * The upload's body as it is to be stored. `expects` is whether the client waits for leave to send it; `stallMs` is how
 * long it may send nothing.
 * @throws CacheError `unsupported` before anything is read; while it is read `aborted`, `timeout`, `too-large`
 */
export function receive(
  req: IncomingMessage,
  res: ServerResponse,
  expects: boolean,
  stallMs: number,
): AsyncIterable<Buffer> {
  const header = req.headers['content-encoding'];
  // In an upload, aws-chunked means that signatures stand between the chunks; in an answer it means nothing.
  const coding = /aws-chunked/i.test(header ?? '') ? 'aws-chunked' : codingOf(header);
  if (coding !== undefined && !isDecodable(coding)) {
    const known = DECODABLE.join(', ');
    throw new CacheError(
      'unsupported',
      `expected Content-Encoding ${known} or none, found ${coding.slice(0, 100)}`,
    );
  }
  const transfer = req.headers['transfer-encoding'];
  // For other transfer codings node:http only undoes the chunks.
  if (transfer !== undefined && transfer.trim().toLowerCase() !== 'chunked') {
    throw new CacheError(
      'unsupported',
      `expected Transfer-Encoding chunked or none, found ${transfer.slice(0, 100)}`,
    );
  }
  const chunks = received(req, expects ? res : undefined, stallMs);
  if (coding === undefined) return chunks;
  const tooLong = () =>
    new CacheError('too-large', `the ${coding} body unpacks to more than ${MAX_DECODED_BYTES} bytes`);
  return atMost(decode(coding, chunks), MAX_DECODED_BYTES, tooLong);
}

async function* received(
  req: IncomingMessage,
  waiting: ServerResponse | undefined,
  stallMs: number,
): AsyncGenerator<Buffer> {
  // 100 is sent only when the body is read: until then a refusal costs the client no byte.
  waiting?.writeContinue();
  const stalled = () => new CacheError('timeout', `the client sent nothing for ${stallMs / 1000} s`);
  try {
    yield* untilStalled(req, stallMs, stalled);
  } catch (error) {
    if (isCacheError(error)) throw error;
    throw new CacheError('aborted', 'the client left before the end of its upload', error);
  }
}

/** Reads what a client is still sending though it was refused, within bounds. */
export async function drain(req: IncomingMessage): Promise<void> {
  if (req.readableEnded || req.destroyed) return;
  let bytes = 0;
  await new Promise<void>((done) => {
    const timer = setTimeout(done, DRAIN.ms);
    req.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > DRAIN.bytes) done();
    });
    req.once('close', done).once('end', done).once('error', done);
    req.once('close', () => clearTimeout(timer)).once('end', () => clearTimeout(timer));
  });
}
