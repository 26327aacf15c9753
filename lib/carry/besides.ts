// What a cache has of a store path besides its narinfo and its NAR: its listing, the logs of its derivation, the realisations that lead
// to it, and the index of its debug information, which names its NAR. Which is whose stands in names for some, in the bodies for others.

import { decode, isDecodable } from '../bytes/codings.ts';
import { collect } from '../bytes/streams.ts';
import { CacheError } from '../errors.ts';
import type { NarInfo } from '../nix/narinfo.ts';
import { type ObjectName, pathOf } from '../nix/object-name.ts';
import { hashPartOf, isBasename, type StoreHash } from '../nix/store-path.ts';

export type Besides = Exclude<ObjectName, { kind: 'narinfo' | 'nar' }>;

/** Of one of them; few logs are longer. */
export const MOST_BYTES = 64 << 20;
/** Longer than any realisation or index of debug information. */
export const MOST_INDEX_BYTES = 64 << 10;

const ZSTD = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);

/** Those that the narinfo leads to by their names. */
export function namesFor({ deriver, hashPart, storePath }: NarInfo): Besides[] {
  const base = storePath.slice(storePath.lastIndexOf('/') + 1);
  const drvs = [deriver, base].filter((one) => one?.endsWith('.drv') === true) as string[];
  const logs = [...new Set(drvs)].map((drv): Besides => ({ kind: 'log', drv }));
  const output = deriver && outputOf(base, deriver);
  const traces: Besides[] = deriver && output ? [{ kind: 'build-trace', drv: deriver, output }] : [];
  return [{ kind: 'listing', hash: hashPart }, ...logs, ...traces];
}

/** Of what is content-addressed the narinfo names another derivation than the one that was asked for, whose log there is. */
export function logOf({ drv }: Extract<ObjectName, { kind: 'build-trace' }>): Besides {
  return { kind: 'log', drv };
}

/** `out` has the name of its derivation, any other one its own behind that. */
function outputOf(base: string, deriver: string): string | undefined {
  const [name, drv] = [base.slice(33), deriver.slice(33, -'.drv'.length)];
  if (name === drv) return 'out';
  return name.startsWith(`${drv}-`) ? name.slice(drv.length + 1) : undefined;
}

/** The path to which a realisation, of any version, leads; undefined if it is none. */
export function outPathIn(body: Buffer): StoreHash | undefined {
  const { outPath } = objectIn(body) ?? {};
  if (typeof outPath !== 'string') return undefined;
  const base = outPath.slice(outPath.lastIndexOf('/') + 1);
  return isBasename(base) ? hashPartOf(base) : undefined;
}

/** The file name of the NAR that an index of debug information names; undefined if it is none. */
export function narIn(body: Buffer): string | undefined {
  const { archive } = objectIn(body) ?? {};
  return typeof archive === 'string' ? fileNameIn(archive) : undefined;
}

/** The same index, for a NAR of another name. */
export function withNar(body: Buffer, name: string): Buffer {
  return narIn(body) === name
    ? body
    : Buffer.from(JSON.stringify({ ...objectIn(body), archive: `../nar/${name}` }));
}

/** The last part of an URL, without a query. */
export function fileNameIn(url: string): string {
  return url.replace(/[?#].*$/s, '').replace(/^.*\//s, '');
}

function objectIn(body: Buffer): Record<string, unknown> | undefined {
  try {
    const value = JSON.parse(body.toString());
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/**
 * What was found under the name, unpacked if it is packed; undefined if that is nothing, or a web page.
 * @throws CacheError `invalid` for what is not what the name says, `unsupported` for what can't be unpacked, `too-large`
 */
export async function bodyFor(name: Besides, found: Buffer): Promise<Buffer | undefined> {
  const body = found.subarray(0, 4).equals(ZSTD) ? await unpacked(name, found) : found;
  if (body.length === 0 || /^\s*<(?:!doctype|html)/i.test(body.toString('latin1', 0, 100))) return undefined;
  if (name.kind !== 'log' && objectIn(body) === undefined)
    throw new CacheError('invalid', 'it is not the JSON that it should be');
  return body;
}

async function unpacked(name: Besides, packed: Buffer): Promise<Buffer> {
  if (!isDecodable('zstd')) {
    throw new CacheError(
      'unsupported',
      `${pathOf(name)} is packed with zstd, which takes Node 22.15 or later`,
    );
  }
  const tooLarge = () => new CacheError('too-large', `${pathOf(name)} is longer than ${MOST_BYTES} bytes`);
  return collect(decode('zstd', once(packed)), MOST_BYTES, tooLarge);
}

async function* once(body: Buffer): AsyncGenerator<Buffer> {
  yield body;
}
