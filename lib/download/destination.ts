// Under which name a file that was fetched is stored, and under which it may be stored already: a NAR's name may be made of the
// hash of the file or of what is in it, and which it is shows only when all of it is there.
import { namesFor } from '../nix/nar-names.ts';
import { hashInNarName, type ObjectName, pathOf } from '../nix/object-name.ts';
import type { Arrived, Expected } from './verify.ts';

/** Where it is to be stored; undefined for a NAR of which nobody can tell whether it is what its name says. */
export function keptAs(
  name: ObjectName,
  { named, nar, fileHash }: Expected,
  { proof }: Arrived,
): { path: string; narHash: string | undefined } | undefined {
  const narHash = nar && `sha256:${nar.narHash}`;
  if (name.kind !== 'nar' || named === undefined) {
    const isTold = name.kind !== 'nar' || nar !== undefined || fileHash !== undefined;
    return isTold ? { path: pathOf(name), narHash } : undefined;
  }
  const [byFileHash, byNarHash = byFileHash] = namesFor(named.name, name.hash);
  if (proof === 'file') return { path: pathOf({ ...name, name: byFileHash }), narHash };
  if (proof !== 'nar') return undefined;
  return { path: pathOf({ ...name, name: byNarHash }), narHash: `sha256:${hashInNarName(byFileHash)}` };
}

/** Under which it may be known here. */
export function pathsFor(name: ObjectName): string[] {
  if (name.kind !== 'nar') return [pathOf(name)];
  return namesFor(name.name, name.hash).map((one) => pathOf({ ...name, name: one }));
}
