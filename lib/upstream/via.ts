// Which instances of this service a request has come through, as its Via header tells (RFC 9110, 7.6.3). Caches that have each
// other as upstream, or themselves, would else wait for each other: what comes round is answered from what is here.
import { randomBytes } from 'node:crypto';

/** Names of instances, in the order in which the request came through them. */
export type Via = readonly string[];

export const NOBODY: Via = [];

/** No chain of caches that anybody wants is longer. */
const MAX_INSTANCES = 8;
const NAMES = /(?<=^|[\s,])nix-binary-cache-[0-9a-f]{16}(?=$|[\s,])/g;

/** A name for an instance; a new one at every start, since a request does not live longer than that. */
export function newInstance(): string {
  return `nix-binary-cache-${randomBytes(8).toString('hex')}`;
}

/** The instances in a Via header; whatever else has been on the way is none of our concern. */
export function viaOf(header: string | undefined): Via {
  return header?.match(NAMES) ?? NOBODY;
}

/** Whether the request has been at `self` before, or at so many that it leads nowhere. */
export function isRound(via: Via, self: string): boolean {
  return via.includes(self) || via.length >= MAX_INSTANCES;
}

/** The header of what goes on from the last of them. */
export function viaHeader(via: Via): string {
  return via.map((name) => `1.1 ${name}`).join(', ');
}

/** Equal for requests that have come through the same instances. */
export function viaKey(path: string, via: Via): string {
  return via.length === 0 ? path : `${path} ${[...new Set(via)].sort().join(' ')}`;
}
