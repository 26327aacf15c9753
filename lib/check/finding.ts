// What a check of the folder comes to.
import { type ObjectName, pathOf } from '../nix/object-name.ts';
import type { Inspected, Place } from '../store/upkeep.ts';

/** Something that is not as it should be. */
export interface Finding {
  /** Undefined of what had been set aside before. */
  readonly place: Place | undefined;
  readonly id: string;
  /** Of the object that was looked at. */
  readonly version: string;
  /** What it is, or is to be; undefined if nobody can tell. */
  readonly name: ObjectName | undefined;
  /** The same for people. */
  readonly label: string;
  readonly reason: string;
  /**
   * `damaged`: it is to be set aside. `dangling`: so is this one, a pushed narinfo, unless its NAR `nar` can be had. `doubtful`: it
   * is whole, but somebody should know; it stays.
   */
  readonly kind: 'damaged' | 'dangling' | 'doubtful';
  /** Of a `dangling` one: the id of the NAR that is not here. */
  readonly nar?: string;
}

/** One file, checked: right; no telling what it is; gone or no object; or with findings, not all of them its own. */
export interface Checked {
  readonly state: 'right' | 'unknown' | 'gone' | 'found';
  /** Of the file. */
  readonly bytes: number;
  readonly findings: readonly Finding[];
}

/** Of this file, as it is now. */
export function finding(
  { place, id, version }: Pick<Inspected, 'place' | 'id' | 'version'>,
  name: ObjectName | undefined,
  reason: string,
  kind: Finding['kind'] = 'damaged',
): Finding & { readonly place: Place } {
  const label = name === undefined ? id : pathOf(name);
  return { place, id, version, name, label, reason, kind };
}
