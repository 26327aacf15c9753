// What a file is, or was, as far as its bytes tell: file names are hashes, which lead nowhere.
import { hashPartIn, storeDirIn } from '../nix/narinfo.ts';
import { type ObjectName, parseObjectName, pathOf } from '../nix/object-name.ts';
import { idOf } from '../store/object-id.ts';
import type { CheckedFile } from './checked-file.ts';

/** What a file whose header can't be read was, if what is left of it says so. */
export async function nameFromBytes(file: CheckedFile): Promise<ObjectName | undefined> {
  const text = (await file.head().catch(() => Buffer.alloc(0))).toString('latin1');
  const { id } = file.source;
  const path = /"path":"\/([^"\\]+)"/.exec(text)?.[1] ?? '';
  return idOf(`/${path}`) === id ? parseObjectName(path, '') : nameOfNarInfo(text, id);
}

/** The name of the narinfo in the file with this id; undefined if it is about another path. */
export function nameOfNarInfo(text: string, id: string): ObjectName | undefined {
  const hash = hashPartIn(text);
  const name = hash === undefined ? undefined : ({ kind: 'narinfo', hash } as const);
  return name !== undefined && idOf(pathOf(name)) === id ? name : undefined;
}

/** Whether the narinfo is about a path, but of another store folder. */
export function isOfOtherStore(text: string, storeDir: string): boolean {
  return (storeDirIn(text) ?? storeDir) !== storeDir;
}
