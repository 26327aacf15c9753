// How the folder's files are named and told apart. A place is the name of a file within the folder: `ab/<id>`, or `<id>` for one that
// the Go service left, which had no folders and wrote no headers.
import type { Stats } from 'node:fs';
import { basename, join } from 'node:path';
import type { Place } from '../upkeep.ts';

/** Where the object with this id lies. */
export function placeOf(id: string): Place {
  return `${id.slice(0, 2)}/${id}` as Place;
}

/** Where the Go service left it. */
export function flatPlaceOf(id: string): Place {
  return id as Place;
}

/** All places that an object with this id may have, ours first. */
export function placesOf(id: string): readonly [Place, Place] {
  return [placeOf(id), flatPlaceOf(id)];
}

export function isFlat(place: Place): boolean {
  return !place.includes('/');
}

export function idAt(place: Place): string {
  return basename(place);
}

/** The file in that place. */
export function fileAt(folder: string, place: Place): string {
  return join(folder, place);
}

/** The file of the object with this id. */
export function fileOf(folder: string, id: string): string {
  return fileAt(folder, placeOf(id));
}

/**
 * A replaced object has another inode, as the new file exists before the old one goes; but the one after that may have the first one's
 * again, and was made later.
 */
export function versionOf({ birthtimeMs, dev, ino, size }: Stats): string {
  return `${dev}:${ino}:${birthtimeMs}:${size}`;
}
