// What we sign of realisations, in whatever way they are had.
import { createHash } from 'node:crypto';
import { atMost, piecesOf } from '../bytes/streams.ts';
import { CacheError } from '../errors.ts';
import type { ServedNarInfos } from '../narinfos/served-narinfos.ts';
import { pathOf } from '../nix/object-name.ts';
import { parseRealisation, type RealisationName, withRealisationSigs } from '../nix/realisation.ts';
import { type Found, inMemory } from './found.ts';

/** Longer than any. */
export const MAX_REALISATION_BYTES = 1 << 20;

/** With what we sign of it, which must be whole; whether the disk takes it does not matter. `originOf`: asked when it is. */
export async function signed(
  served: Pick<ServedNarInfos, 'sigsOf'>,
  name: RealisationName,
  found: Found,
  originOf: () => string | undefined,
): Promise<Found> {
  const tooLong = () => new CacheError('upstream', `${pathOf(name)} is longer than any realisation`);
  const reader = found.open(0, undefined);
  const pieces: Buffer[] = [];
  try {
    // The piece is only lent.
    for await (const piece of atMost(piecesOf(reader), MAX_REALISATION_BYTES, tooLong))
      pieces.push(Buffer.from(piece));
  } finally {
    reader.close();
  }
  return withSigs(served, name, found, { bytes: Buffer.concat(pieces), origin: originOf() });
}

/** The same where its bytes, which came from there, are in memory. */
export function withSigs(
  served: Pick<ServedNarInfos, 'sigsOf'>,
  name: RealisationName,
  found: Found,
  { bytes, origin }: { readonly bytes: Buffer; readonly origin: string | undefined },
): Found {
  const text = bytes.toString();
  const realisation = parseRealisation(name, text);
  const sigs = realisation === undefined || origin === undefined ? [] : served.sigsOf(realisation, origin);
  const memory = { ...found, size: bytes.length, sure: true };
  if (realisation === undefined || sigs.length === 0) return { ...memory, ...inMemory(bytes) };
  const body = Buffer.from(withRealisationSigs(name, text, realisation, sigs));
  const sha256 = createHash('sha256').update(body).digest('hex');
  return { ...memory, size: body.length, sha256, modified: undefined, ...inMemory(body) };
}
