// Logs and listings that are stored as an upstream packed them, since the Node of that time could not undo it, or nobody had said
// that they were packed: their first bytes tell. Where this Node can undo it, the plain one takes their place.
import { decode, isDecodable, sniffCoding } from '../bytes/codings.ts';
import { atMost, piecesOf } from '../bytes/streams.ts';
import { CacheError, isCacheError } from '../errors.ts';
import type { ObjectKind } from '../nix/object-name.ts';
import type { Storage } from './storage.ts';
import type { StoredObject } from './store.ts';
import { storeBody } from './store-body.ts';

const PACKED = new Set<ObjectKind>(['listing', 'log', 'realisation', 'build-trace', 'debug-info']);
const HEAD_BYTES = 8;
const MAX_BYTES = 256 << 20;

/** The object, plain where that can be; else `coding` is what it is packed in. */
export async function openPlain(
  storage: Pick<Storage, 'scratch' | 'store'>,
  path: string,
): Promise<{ object: StoredObject; coding: string | undefined } | undefined> {
  const { store } = storage;
  const object = await store.open(path, true);
  if (object === undefined) return undefined;
  const { kind, size } = object.meta;
  if (!PACKED.has(kind) || size < HEAD_BYTES) return { object, coding: undefined };
  const head = object.reader(0, HEAD_BYTES);
  const coding = sniffCoding((await head.read()) ?? Buffer.alloc(0));
  head.close();
  if (coding !== undefined && isDecodable(coding)) await unpack(storage, path, coding);
  const again = await store.open(path);
  if (again === undefined) return undefined;
  const isPacked = coding !== undefined && again.version === object.version;
  return { object: again, coding: isPacked ? coding : undefined };
}

/** If that fails, it is as it was. */
async function unpack(
  storage: Pick<Storage, 'scratch' | 'store'>,
  path: string,
  coding: string,
): Promise<void> {
  const object = await storage.store.open(path);
  if (object === undefined) return;
  const { kind, origin, size } = object.meta;
  const tooLong = () => new CacheError('too-large', `${path} unpacks to more than ${MAX_BYTES} bytes`);
  const body = atMost(decode(coding, piecesOf(object.reader(0, size))), MAX_BYTES, tooLong);
  const options = { when: { version: object.version }, durable: origin === 'push' } as const;
  try {
    await storeBody(storage, body, () => ({ path, kind, origin }), options);
  } catch (error) {
    if (!isCacheError(error)) throw error;
  } finally {
    await object.close();
  }
}
