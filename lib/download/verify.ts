// The verdict on a body: follows the front of the file, hashes it, unpacks it where Node can, and compares with what is
// known of it beforehand.
import { createHash } from 'node:crypto';
import { CacheError, isCacheError } from '../errors.ts';
import type { Compression } from '../nix/compression.ts';
import { type Sha256, sha256FromBytes, sha256ToHex } from '../nix/hash.ts';
import type { Growing } from './growing.ts';
import { createUnpacker } from './unpack.ts';

/** What is known beforehand of a body; undefined where nothing is. */
export interface Expected {
  readonly fileHash: Sha256 | undefined;
  readonly fileSize: number | undefined;
  readonly nar: ExpectedNar | undefined;
}

/** What a narinfo says of the NAR inside. */
export interface ExpectedNar {
  readonly compression: Compression;
  readonly narHash: Sha256;
  readonly narSize: number;
}

/** What arrived, and was right. */
export interface Arrived {
  readonly size: number;
  /** In hexadecimal. */
  readonly sha256: string;
}

/** How the filling of the file stands. */
export interface Filling {
  state: 'running' | 'ended' | 'failed';
}

const READ_BYTES = 256 * 1024;

/**
 * Reads the growing file to its end, which is where its front stands when the filling has ended.
 * @throws CacheError `invalid` if it is not what was expected, `aborted` if the filling failed
 */
export async function verify(
  growing: Growing,
  expected: Expected,
  filling: Filling,
  label: string,
): Promise<Arrived> {
  const { nar } = expected;
  const hash = createHash('sha256');
  const unpacker = nar && createUnpacker(nar.compression, nar.narSize);
  const compare = (what: string, wanted: string | number | undefined, found: string | number) => {
    if (wanted === undefined || wanted === found) return;
    throw new CacheError('invalid', `${label}: ${what} is wrong: expected ${wanted}, found ${found}`);
  };
  try {
    let at = 0;
    for (;;) {
      if (filling.state === 'failed') throw new CacheError('aborted', `${label}: there is no more of it`);
      // Before the front is looked at, which does not move after the end.
      const last = filling.state === 'ended';
      const { front, spool } = growing;
      while (at < front) {
        const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, front - at));
        const read = await spool.read(buffer, at);
        if (read === 0) throw new CacheError('storage', `${label}: the temporary file lost bytes`);
        const chunk = buffer.subarray(0, read);
        hash.update(chunk);
        await unpacker?.write(chunk);
        at += read;
      }
      if (last) break;
      if (growing.front === at && filling.state === 'running') await growing.change();
    }
    compare('size', expected.fileSize, at);
    const digest = hash.digest();
    const sha256 = digest.toString('hex');
    compare('SHA-256', expected.fileHash && sha256ToHex(expected.fileHash), sha256);
    if (nar !== undefined) {
      const plain = { narHash: sha256FromBytes(digest), narSize: at };
      const found = unpacker ? await unpacker.end() : nar.compression === 'none' ? plain : undefined;
      if (found !== undefined) {
        compare('NarSize', nar.narSize, found.narSize);
        compare('NarHash', nar.narHash, found.narHash);
      }
    }
    return { size: at, sha256 };
  } catch (error) {
    if (!isCacheError(error, 'invalid') || error.message.startsWith(label)) throw error;
    throw new CacheError('invalid', `${label}: ${error.message}`, error);
  } finally {
    unpacker?.destroy();
  }
}
