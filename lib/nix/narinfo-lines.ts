// The lines of a narinfo, put right where that can be done: what no signature covers is mended, and what no client needs is
// dropped, if clients would stop at it. What is left is read by every client alike; the rest is refused.
import { CacheError } from '../errors.ts';
import { isContentAddress } from './content-address.ts';
import { type Digest, parseDigest } from './hash.ts';
import { isSig } from './sig.ts';
import { isBasename } from './store-path.ts';

export interface NarInfoLines {
  /** Of each field but Sig the value, as in `text`. */
  readonly fields: ReadonlyMap<string, string>;
  readonly sigs: readonly string[];
  /** What the FileHash is if it is no SHA-256: it counts, but not all clients can read it. */
  readonly otherFileHash: Digest | undefined;
  /** The lines that are left. */
  readonly text: string;
}

/**
 * Fields that a client can do without, and what it can read there. It stops at any other value, an empty one among them; only
 * that of an algorithm which not all of them know goes too.
 */
const OPTIONAL = new Map<string, (value: string) => boolean>([
  ['Compression', (value) => value !== ''],
  ['FileHash', (value) => parseDigest(value)?.algorithm === 'sha256'],
  ['FileSize', (value) => /^[0-9]+$/.test(value) && Number.isSafeInteger(Number(value)) && Number(value) > 0],
  ['Deriver', (value) => value === 'unknown-deriver' || isBasename(value)],
  ['CA', isContentAddress],
]);
/** Fields without which there is no narinfo, or another one. */
const NEEDED = new Set(['StorePath', 'URL', 'NarHash', 'NarSize', 'References']);
/** Of several such lines clients take the last: no signature covers them. */
const LAST_COUNTS = new Set(['URL', 'Compression', 'FileHash', 'FileSize', 'Deriver']);

const PRINTABLE = /^[^\p{Cc}\p{Zl}\p{Zp}]*$/u;

/**
 * Reads them.
 * @throws CacheError `invalid`, with the line at fault
 */
export function readLines(text: string): NarInfoLines {
  if (!text.endsWith('\n'))
    throw new CacheError('invalid', 'narinfo does not end with a newline: it is empty or cut off');
  const lines: (string | undefined)[] = [];
  /** Where the line of a field stands. */
  const at = new Map<string, number>();
  const fields = new Map<string, string>();
  const sigs: string[] = [];
  const keep = (name: string, value: string) => {
    at.set(name, lines.length);
    fields.set(name, value);
    lines.push(`${name}: ${value}`);
  };
  const drop = (name: string) => {
    lines[at.get(name) as number] = undefined;
  };
  let otherFileHash: Digest | undefined;
  for (const line of text.slice(0, -1).split('\n')) {
    const colon = line.indexOf(':');
    if (colon < 0) throw malformed(line);
    const name = line.slice(0, colon);
    if (name === 'Sig') {
      // Some signatures end in CR; clients read no further than the base64 padding.
      const value = line.slice(colon + 1).trim();
      if (!isSig(value)) continue;
      sigs.push(value);
      lines.push(`Sig: ${value}`);
      continue;
    }
    const value = NEEDED.has(name) ? neededValue(line, name) : readableValue(line, name);
    if (name === 'FileHash') otherFileHash = value === undefined ? parseDigest(line.slice(10)) : undefined;
    if (value === undefined) continue;
    if (!fields.has(name)) keep(name, value);
    else if (!NEEDED.has(name) && !OPTIONAL.has(name)) lines.push(line);
    else if (fields.get(name) === value) continue;
    else if (LAST_COUNTS.has(name)) {
      drop(name);
      keep(name, value);
    } else if (OPTIONAL.has(name)) {
      // Two lines that contradict each other.
      drop(name);
      fields.set(name, '');
    } else throw new CacheError('invalid', `narinfo has more than one ${name}`);
  }
  const left = lines.filter((line) => line !== undefined);
  return { fields, sigs, otherFileHash, text: `${left.join('\n')}\n` };
}

/** @throws CacheError `invalid` */
function neededValue(line: string, name: string): string {
  const value = line.slice(name.length + 2);
  if (line[name.length + 1] !== ' ' || !PRINTABLE.test(value)) throw malformed(line);
  return name === 'References' ? value.split(' ').filter(Boolean).join(' ') : value;
}

/** Undefined for a line that is better left out. */
function readableValue(line: string, name: string): string | undefined {
  const value = line.slice(name.length + 2);
  const isReadable =
    line[name.length + 1] === ' ' && PRINTABLE.test(value) && !/\s/.test(name) && name !== '';
  const isRight = OPTIONAL.get(name) ?? (() => true);
  return isReadable && isRight(value) ? value : undefined;
}

function malformed(line: string): CacheError {
  return new CacheError(
    'invalid',
    `narinfo line is not "Name: value": ${JSON.stringify(line.slice(0, 100))}`,
  );
}
