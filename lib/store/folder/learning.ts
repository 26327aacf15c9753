// Learns what names a NAR, for who reads all objects anyway, and has the notes (notes.ts) believed from then on. In this order: the
// marks that earlier versions do away with; a look at who else is here; the notes made anew, with nothing in them; what is on its way
// into its place, in `tmp/`, or may be put back there, in `quarantine/`; all objects; once more who is here; and then the head
// that says that nothing is lacking. What can't be learned is no failure.
import { randomBytes } from 'node:crypto';
import { writeSync } from 'node:fs';
import { type FileHandle, readdir, stat, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openForReading } from '../../disk/files.ts';
import { openToWrite, rename, unlink, writing } from '../../disk/writing.ts';
import { isErrno } from '../../errors.ts';
import { isId } from '../object-id.ts';
import type { Facts } from '../upkeep.ts';
import { bootId } from './boot.ts';
import { isBare, placeOf } from './files.ts';
import { MOST_TELLING_BYTES, type Note, narOf, noteIn } from './note-of.ts';
import { believed, encodeHead, isSame, linesOf, MARK, markFile, notesFile, whichFile } from './notes.ts';
import { give, makeFolderIn } from './own.ts';
import { quarantineFolder } from './quarantine.ts';
import type { FolderFile } from './walk.ts';
import { deadSockets, SOCKET, takesSockets } from './who-notes.ts';
import { tempName } from './writer.ts';

/** Fewer are looked at in a moment. */
export const MANY_OBJECTS = 10_000;
/** A disk that is nearly full is left to others. */
const SPARE_BYTES = 256 << 20;
/** The notes may have grown to so many times what was learned, and some more, before they are made anew. */
const MOST_GROWTH = 2;
const GROWTH_BYTES = 4 << 20;
/** Of the 256 folders by prefix. */
const SAMPLED = 4;
const BUFFERED_BYTES = 64 * 1024;

/** About how many objects there are. */
async function objectsAbout(folder: string): Promise<number> {
  const count = async (one: string) => (await readdir(join(folder, one)).catch(() => [])).filter(isId).length;
  const sampled = Array.from({ length: SAMPLED }, (_, i) => count(i.toString(16).padStart(2, '0')));
  const all = (await Promise.all(sampled)).reduce((sum, objects) => sum + objects, 0);
  return (all * 256) / SAMPLED + (await count('.'));
}

/** Whether it takes long to look at all of the folder's objects. */
export async function isLarge(folder: string, many: number): Promise<boolean> {
  return (await objectsAbout(folder)) >= many;
}

/** Whether who reads all objects does well to learn. */
export async function isLearningDue(folder: string, many: number): Promise<boolean> {
  const known = await believed(folder);
  if (known !== undefined) return known.bytes > MOST_GROWTH * known.learned + GROWTH_BYTES;
  return isLarge(folder, many);
}

/** Writes notes while everything is read: in a thread, too. */
export class NoteWriter {
  readonly #fd: number;
  #lines: string[] = [];
  #bytes = 0;
  #failed = false;

  /** `fd`: of a file that is open to append. */
  constructor(fd: number) {
    this.#fd = fd;
  }

  add(note: Note): void {
    const line = linesOf([note]);
    this.#lines.push(line);
    this.#bytes += line.length;
    if (this.#bytes >= BUFFERED_BYTES) this.flush();
  }

  /** Whether all that was added is written. */
  flush(): boolean {
    const text = this.#lines.join('');
    this.#lines = [];
    this.#bytes = 0;
    try {
      if (!this.#failed && text !== '') this.#failed = writeSync(this.#fd, text) !== text.length;
    } catch {
      this.#failed = true;
    }
    return !this.#failed;
  }
}

/** Adds what the file names, if it does; false if it does, and nobody would look for it where it lies. */
export function noteFile(writer: NoteWriter, { id, place }: FolderFile, facts: Facts): boolean {
  const nar = narOf(facts);
  if (nar === undefined || isBare(place)) return true;
  writer.add({ nar, namer: id });
  return place === placeOf(id);
}

export class Learning {
  readonly #folder: string;
  readonly #id: string;
  /** Sockets on which nobody listened when it began. */
  readonly #dead: ReadonlySet<string>;
  readonly #head: FileHandle;
  readonly #appending: FileHandle;

  private constructor(
    folder: string,
    { appending, dead, head, id }: { dead: Set<string>; id: string; head: FileHandle; appending: FileHandle },
  ) {
    this.#folder = folder;
    this.#id = id;
    this.#dead = dead;
    this.#head = head;
    this.#appending = appending;
  }

  /** To be called before the first object is read; undefined where nothing can be learned. */
  static async begin(folder: string): Promise<Learning | undefined> {
    const { bavail, bsize } = await statfs(folder).catch(() => ({ bavail: 0, bsize: 0 }));
    if (bootId() === '' || bavail * bsize < SPARE_BYTES) return undefined;
    const id = randomBytes(8).toString('hex');
    let learning: Learning | undefined;
    try {
      await makeFolderIn(folder, join(folder, 'tmp'));
      for (const file of [markFile(folder), join(folder, 'changed')]) {
        await writing(() => writeFile(file, id));
        await give(folder, file);
      }
      const dead = (await takesSockets(folder)) ? await deadSockets(folder) : undefined;
      if (dead === undefined) return undefined;
      learning = new Learning(folder, { id, dead, ...(await beginNotes(folder, id)) });
      const writer = learning.writer();
      for await (const note of notesOnTheirWay(folder)) writer.add(note);
      if (writer.flush()) return learning;
    } catch {}
    await learning?.end(false);
    return undefined;
  }

  /** Of the file in which a thread of this process is to note what names what. */
  get fd(): number {
    return this.#appending.fd;
  }

  writer(): NoteWriter {
    return new NoteWriter(this.fd);
  }

  /** `whole`: whether all objects could be read, and were noted. To be called once, whatever has happened. Never rejects. */
  async end(whole: boolean): Promise<void> {
    const folder = this.#folder;
    try {
      if (whole && (await this.#isAlone())) {
        const stats = await this.#head.stat();
        const head = encodeHead({
          id: this.#id,
          boot: bootId(),
          file: whichFile(stats),
          bytes: stats.size,
        });
        await writing(() => this.#head.write(head, 0, head.length, 0));
      } else if (isSame(await this.#head.stat(), await stat(notesFile(folder))))
        await unlink(notesFile(folder));
    } catch {
      // They are not believed.
    }
    for (const handle of [this.#head, this.#appending]) await handle.close().catch(() => {});
  }

  /** A command that notes nothing, and was killed since, has left a socket that was not there. */
  async #isAlone(): Promise<boolean> {
    const dead = await deadSockets(this.#folder);
    return dead !== undefined && [...dead].every((name) => this.#dead.has(name));
  }
}

/** Makes the notes anew; nobody believes them yet. */
async function beginNotes(
  folder: string,
  id: string,
): Promise<{ readonly head: FileHandle; readonly appending: FileHandle }> {
  const temporary = join(folder, 'tmp', tempName());
  const handles: FileHandle[] = [];
  try {
    const head = await openToWrite(temporary, 'wx+');
    handles.push(head);
    await give(folder, head);
    await writing(() => head.write(encodeHead({ id, boot: bootId(), file: '', bytes: undefined })));
    const appending = await openToWrite(temporary, 'a');
    handles.push(appending);
    await rename(temporary, notesFile(folder));
    return { head, appending };
  } catch (error) {
    for (const handle of handles) await handle.close();
    await unlink(temporary).catch(() => {});
    throw error;
  }
}

/** What may get its name any moment, noted or not. */
async function* notesOnTheirWay(folder: string): AsyncGenerator<Note> {
  const buffer = Buffer.alloc(MOST_TELLING_BYTES);
  for (const one of [join(folder, 'tmp'), quarantineFolder(folder)]) {
    const names = await readdir(one).catch((error) => {
      if (isErrno(error, 'ENOENT')) return [];
      throw error;
    });
    for (const name of names) {
      if (SOCKET.test(name) || name === MARK) continue;
      const handle = await openForReading(join(one, name));
      if (handle === undefined) continue;
      try {
        const { bytesRead } = await handle.read(buffer, 0, buffer.length, 0);
        const note = noteIn(buffer.subarray(0, bytesRead));
        if (note !== undefined) yield note;
      } finally {
        await handle.close();
      }
    }
  }
}
