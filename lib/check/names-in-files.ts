// What a narinfo's text tells of itself.
import { hashPartIn, storeDirIn } from '../nix/narinfo.ts';
import { type ObjectName, pathOf } from '../nix/object-name.ts';
import { idOf } from '../store/object-id.ts';

/** The name of the narinfo in the file with this id; undefined if it is about another path. */
export function nameOfNarInfo(text: string, id: string): ObjectName | undefined {
  const hash = hashPartIn(text);
  const name = hash === undefined ? undefined : ({ kind: 'narinfo', hash } as const);
  return name !== undefined && idOf(pathOf(name)) === id ? name : undefined;
}

/** Whether the narinfo is about a path, but of another `store_dir`. */
export function isOfOtherStore(text: string, storeDir: string): boolean {
  return (storeDirIn(text) ?? storeDir) !== storeDir;
}
