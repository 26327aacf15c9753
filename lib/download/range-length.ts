// How many bytes to ask for at once: neither a round trip for every megabyte of a fast link nor minutes lost with a dead
// connection on a slow one.

/** Shorter ones are not worth a request. */
export const MIN_RANGE = 1 << 20;
/** From a source nobody has measured. */
const FIRST_RANGE = 2 << 20;
const MAX_RANGE = 64 << 20;
/** How long a range should take. */
export const RANGE_MS = 4000;
/** How long the shortest ones should take at least: a good part of that must not be the wait for an answer. */
const LEAST_MS = 200;

/** For one of `connections` to a source of that pace, when so many bytes are to be had. */
export function rangeLength(bytesPerMs: number | undefined, unclaimed: number, connections: number): number {
  const length = bytesPerMs === undefined ? FIRST_RANGE : Math.round(bytesPerMs * RANGE_MS);
  // Half of a fair share: the ranges get shorter towards the end, so that the last ones end together and the front,
  // which stands while the first of several is under way, has no long way to go when all is there.
  const share = Math.ceil(unclaimed / (2 * connections));
  const least = Math.max(Math.round((bytesPerMs ?? 0) * LEAST_MS), MIN_RANGE);
  return Math.min(Math.max(length, MIN_RANGE), MAX_RANGE, Math.max(share, least));
}
