// How the folder's files are named and told apart. A place is the name of a file within the folder: `ab/<id>`, or `<id>` for a bare one,
// which has no header: the Go service left it (see flat-files.ts). Whoever looks after the files knows no more of it than that.
import type { Stats } from 'node:fs';
import { basename, join } from 'node:path';
import { isId } from '../object-id.ts';
import type { Place } from '../upkeep.ts';

/** Where the object with this id lies. */
export function placeOf(id: string): Place {
  return `${id.slice(0, 2)}/${id}` as Place;
}

/** Where it lies without a header. */
export function barePlaceOf(id: string): Place {
  return id as Place;
}

/** All places that an object with this id may have, the bare one last. */
export function placesOf(id: string): readonly [Place, Place] {
  return [placeOf(id), barePlaceOf(id)];
}

/** Whether what lies there has no header. */
export function isBare(place: Place): boolean {
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

/** Behind the names that bare ones have in the trash: they would be nothing in another place than their own. */
const BARE = '.flat';

/** The folder for what is on its way out; a start puts back what is left in it. */
export function trashFolder(folder: string): string {
  return join(folder, 'trash');
}

/** Where what belongs in that place lies while it is out of it. */
export function trashOf(folder: string, place: Place): string {
  return join(trashFolder(folder), isBare(place) ? `${place}${BARE}` : idAt(place));
}

/** The file to which what has this name in the trash belongs; undefined if it is not ours. */
export function fileInTrash(folder: string, name: string): string | undefined {
  const bare = name.endsWith(BARE);
  const id = bare ? name.slice(0, -BARE.length) : name;
  return isId(id) ? fileAt(folder, bare ? barePlaceOf(id) : placeOf(id)) : undefined;
}

/**
 * A replaced object has another inode, as the new file exists before the old one goes; but the one after that may have the first one's
 * again, and was made later.
 */
export function versionOf({ birthtimeMs, dev, ino, size }: Stats): string {
  return `${dev}:${ino}:${birthtimeMs}:${size}`;
}
