// The first line of an object's file: JSON that explains the body behind it, padded with spaces to a fixed length so
// that the body can be written before its hash is known. `head -1` shows it.
import type { FileHandle } from 'node:fs/promises';
import { CacheError } from '../../errors.ts';
import { isObjectKind } from '../../nix/object-name.ts';
import type { ObjectMeta } from '../store.ts';

/** Bytes of the first line as this version writes it, newline included. */
export const HEADER_BYTES = 1024;
/** No version will write a longer one. */
export const MAX_HEADER_BYTES = 4096;

const FORMAT = 1;

/**
 * The header of an object, `HEADER_BYTES` long.
 * @throws CacheError `storage` if it does not fit: names and upstream URLs are bounded so that it does
 */
export function encodeHeader(meta: ObjectMeta): Buffer {
  const { path, kind, origin, storedAt, size, sha256, narHash, otherNars } = meta;
  const fields = { format: FORMAT, path, kind, origin, storedAt, size, sha256, narHash, otherNars };
  const line = JSON.stringify(fields);
  const header = Buffer.alloc(HEADER_BYTES, ' ');
  if (Buffer.byteLength(line) >= HEADER_BYTES) {
    throw new CacheError('storage', `the header of ${path} is longer than ${HEADER_BYTES} bytes`);
  }
  header.write(line);
  header[HEADER_BYTES - 1] = 0x0a;
  return header;
}

/**
 * Reads the header at the start of `bytes`; `length` is where the body begins.
 * @throws CacheError `damaged` if there is none
 */
export function decodeHeader(bytes: Buffer): { meta: ObjectMeta; length: number } {
  const end = bytes.subarray(0, MAX_HEADER_BYTES).indexOf(0x0a);
  if (end < 0) throw new CacheError('damaged', 'its first line is no header');
  let fields: Record<string, unknown>;
  try {
    fields = JSON.parse(bytes.toString('utf8', 0, end));
  } catch (cause) {
    throw new CacheError('damaged', 'its first line is no JSON', cause);
  }
  const { format, path, kind, origin, storedAt, size, sha256, narHash, otherNars } = fields ?? {};
  if (format !== FORMAT)
    throw new CacheError('damaged', `its format is ${JSON.stringify(format)}, expected ${FORMAT}`);
  if (
    typeof path !== 'string' ||
    !isObjectKind(kind) ||
    typeof origin !== 'string' ||
    typeof storedAt !== 'string' ||
    Number.isNaN(Date.parse(storedAt)) ||
    !isSize(size) ||
    typeof sha256 !== 'string' ||
    (narHash !== undefined && typeof narHash !== 'string') ||
    (otherNars !== undefined && !isStrings(otherNars))
  ) {
    throw new CacheError('damaged', 'its header lacks a field, or one is not what it should be');
  }
  const meta = { path, kind, origin, storedAt: new Date(storedAt), size, sha256, narHash, otherNars };
  return { meta, length: end + 1 };
}

function isStrings(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((one) => typeof one === 'string');
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/**
 * The header of an open file, and as much of the body as came with it in one read: of a small one all.
 * @throws CacheError `damaged` if it has none
 */
export async function readHeader(
  handle: FileHandle,
): Promise<ReturnType<typeof decodeHeader> & { readonly begun: Buffer }> {
  const head = Buffer.allocUnsafe(MAX_HEADER_BYTES);
  const { bytesRead } = await handle.read(head, 0, head.length, 0);
  const known = decodeHeader(head.subarray(0, bytesRead));
  return { ...known, begun: head.subarray(known.length, bytesRead) };
}
