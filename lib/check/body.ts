// The body of an object that is looked into, as a whole or as a hash.
import { createHash } from 'node:crypto';
import type { Inspected } from '../store/upkeep.ts';

/** Bytes of something small. */
export async function bytesOf(object: Inspected, from = 0, to = object.size): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const piece of object.pieces(from, to)) parts.push(Buffer.from(piece));
  return Buffer.concat(parts);
}

/** The SHA-256 of all of it. */
export async function hashOf(object: Inspected): Promise<Buffer> {
  const hash = createHash('sha256');
  for await (const piece of object.pieces()) hash.update(piece);
  return hash.digest();
}
