// Which objects name a NAR, and which: narinfos, and indexes of debug information. See notes.ts.
import { isCacheError } from '../../errors.ts';
import { MAX_INDEX_BYTES } from '../../nix/debug-index.ts';
import { MAX_NARINFO_BYTES } from '../../nix/narinfo.ts';
import { factsOf } from '../facts.ts';
import { idOf } from '../object-id.ts';
import type { ObjectMeta } from '../store.ts';
import type { Facts } from '../upkeep.ts';
import { decodeHeader, MAX_HEADER_BYTES } from './header.ts';

/** Of one object that names a NAR. */
export interface Note {
  /** The ids of the NAR, and of the object. */
  readonly nar: string;
  readonly namer: string;
}

/** The id of the NAR that an object names. */
export function narOf({ archive, kind, ref }: Pick<Facts, 'archive' | 'kind' | 'ref'>): string | undefined {
  return kind === 'narinfo' ? ref : archive;
}

/** As much of a file as tells what it names. */
export const MOST_TELLING_BYTES = MAX_HEADER_BYTES + Math.max(MAX_NARINFO_BYTES, MAX_INDEX_BYTES);

/** Whether an object of this kind may name a NAR. */
export function mayName({ kind }: ObjectMeta): boolean {
  return kind === 'narinfo' || kind === 'debug-info';
}

/** Which NAR the object with this text names, if it does. */
export function noteOf(meta: ObjectMeta, text: string): Note | undefined {
  if (!mayName(meta)) return undefined;
  // A narinfo that does not say itself which store it is of is none.
  const nar = narOf(factsOf(meta, () => text, '/nix/store'));
  return nar === undefined ? undefined : { nar, namer: idOf(meta.path) };
}

/** The same of a file that begins with these bytes; undefined also for what is no object, or is not all there yet. */
export function noteIn(bytes: Uint8Array): Note | undefined {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  try {
    const { length, meta } = decodeHeader(head);
    return mayName(meta) ? noteOf(meta, head.toString('utf8', length, length + meta.size)) : undefined;
  } catch (error) {
    if (isCacheError(error, 'damaged')) return undefined;
    throw error;
  }
}
