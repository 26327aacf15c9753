// What listings, realisations, build traces and debug information are: JSON of a certain shape; and what a log is not.
import type { ObjectKind } from './object-name.ts';

interface Text {
  readonly head: Buffer;
  /** Whether that is all of it. */
  readonly whole: boolean;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** By kind: what it must have. */
const SHAPES = new Map<ObjectKind, (value: Record<string, unknown>) => boolean>([
  ['listing', ({ root }) => isObject(root) && typeof root.type === 'string'],
  ['realisation', ({ id }) => typeof id === 'string'],
  ['build-trace', ({ outPath }) => typeof outPath === 'string'],
  ['debug-info', ({ archive }) => typeof archive === 'string'],
]);
/** One that is too long to be read as a whole begins with one of these: only listings are. */
const LISTING = /^\s*\{\s*"(?:root|version)"\s*:/;
const WEB_PAGE = /^(?:\ufeff|\s)*<(?:!doctype|html|\?xml)/i;
const XZ = Buffer.from('fd377a585a00', 'hex');

/** Whether what is of this kind is a JSON text. */
export function isJson(kind: ObjectKind): boolean {
  return SHAPES.has(kind);
}

/** Why it can't be of this kind; undefined if it may be. */
export function fileProblem(kind: ObjectKind, { head, whole }: Text): string | undefined {
  if (kind === 'packed-listing')
    return head.subarray(0, XZ.length).equals(XZ) ? undefined : 'is no xz file, expected a listing as one';
  const shape = SHAPES.get(kind);
  if (shape === undefined)
    return WEB_PAGE.test(head.toString('utf8', 0, 100)) ? `is a web page, expected a ${kind}` : undefined;
  if (!whole) return LISTING.test(head.toString('utf8', 0, 100)) ? undefined : `is no ${kind}`;
  try {
    const value: unknown = JSON.parse(head.toString());
    return isObject(value) && shape(value) ? undefined : `is JSON, but no ${kind}`;
  } catch {
    return `is no JSON, expected a ${kind}`;
  }
}
