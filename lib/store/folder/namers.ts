// What names a NAR, for who removes it: what the notes say (notes.ts), each looked at itself; where they are not believed, all objects are
// looked at, and learned from.
import { setImmediate as turn } from 'node:timers/promises';
import type { Namer, NamersOptions } from '../upkeep.ts';
import { readFacts } from './facts.ts';
import { fileAt, placeOf } from './files.ts';
import { isLarge, isLearningDue, Learning, noteFile } from './learning.ts';
import { narOf } from './note-of.ts';
import { namersOf } from './notes.ts';
import { type FolderFile, walkBareSync, walkFolder } from './walk.ts';

/** Files to look at before others get a turn. */
const BATCH = 32;
/** Of files of another program, which are looked at each time. */
const MOST_BARE = 1000;

/** See `namers` of lib/store/upkeep.ts. `many`: of how many objects on it is said that it takes long, and learned. */
export async function* namersIn(
  folder: string,
  many: number,
  nars: ReadonlySet<string>,
  { lookingAtAll, signal, storeDir, unreadable }: NamersOptions,
): AsyncGenerator<Namer> {
  if (nars.size === 0) return;
  const noted = await notedIn(folder, nars);
  const isLong = noted === undefined && lookingAtAll !== undefined && (await isLarge(folder, many));
  if (isLong) lookingAtAll();
  const learning = isLong && (await isLearningDue(folder, many)) ? await Learning.begin(folder) : undefined;
  let isWhole = false;
  try {
    const writer = learning?.writer();
    let lacks = 0;
    const failed = (why: string) => {
      lacks++;
      unreadable?.(why);
    };
    let looked = 0;
    for await (const source of noted ?? walkFolder(folder)) {
      signal?.throwIfAborted();
      if (++looked % BATCH === 0) await turn();
      const facts = readFacts(source, storeDir, failed);
      if (facts === undefined) continue;
      if (writer !== undefined && !noteFile(writer, source, facts)) lacks++;
      const nar = narOf(facts);
      if (nar === undefined || !nars.has(nar)) continue;
      yield { place: source.place, kind: facts.kind === 'narinfo' ? 'narinfo' : 'debug-info', nar };
    }
    isWhole = writer?.flush() === true && lacks === 0;
  } finally {
    await learning?.end(isWhole);
  }
}

/** What may name one of them: what is noted to do so, and what another program left, which notes nothing; undefined for anything. */
async function notedIn(folder: string, nars: ReadonlySet<string>): Promise<FolderFile[] | undefined> {
  const ids = await namersOf(folder, nars);
  if (ids === undefined) return undefined;
  const bare = walkBareSync(folder);
  if (bare.length > MOST_BARE) return undefined;
  const files = [...ids].sort().map((id) => {
    const place = placeOf(id);
    return { place, id, file: fileAt(folder, place) };
  });
  return [...files, ...bare];
}
