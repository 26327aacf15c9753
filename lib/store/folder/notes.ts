// What names a NAR: lines in the file `notes`, so that who removes a path need not read all of a million objects. A note is a hint:
// whoever finds one looks at the object itself. The file is begun, and believed, by who reads all objects (learning.ts); where there is none,
// nothing is noted. Three things make it certain that it lacks nothing:
// - Whoever puts what names a NAR has all of it in `tmp/` first, then notes it, and only then gives it its name: so it is in the
//   notes, or who has just begun to learn finds it in `tmp/`. What can't be noted ends the belief in all of them.
// - Programs of earlier versions note nothing. A service of one removes the mark in `tmp/` when it starts, as it does with all there
//   that it does not know, and its commands empty the file `changed`: in both stands which notes are believed. Nobody learns beside one.
// - Notes are not synced: they are believed until the machine is started again.
// All of it may be lost at any time: then everything is read again, once.
import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readSync,
  type Stats,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { type FileHandle, open, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { openForReading } from '../../disk/files.ts';
import { unlink, writing } from '../../disk/writing.ts';
import { isErrno } from '../../errors.ts';
import { isId } from '../object-id.ts';
import { bootId } from './boot.ts';
import type { Note } from './note-of.ts';

/** What the file begins with, padded. */
export interface Head {
  readonly id: string;
  /** The start of the machine since which the lines are all there. */
  readonly boot: string;
  /** Which file it is: a copy is another one, and may have been made while objects came. */
  readonly file: string;
  /** How large the file was when all had been read; undefined while it is not. */
  readonly bytes: number | undefined;
}

export const HEAD_BYTES = 192;
/** Of a NAR's id in a note: where two are alike, one object more is looked at. */
const NAR_DIGITS = 16;
const LINE_BYTES = NAR_DIGITS + 1 + 64 + 1;
/** Whoever learns makes the file anew, but not again and again. */
const TRIES = 3;
const TO_APPEND = constants.O_RDWR | constants.O_APPEND;
const LINES_AT_ONCE = 10_000;

export function notesFile(folder: string): string {
  return join(folder, 'notes');
}

/** The name in `tmp/` of the mark without which no notes are believed. */
export const MARK = 'notes';

export function markFile(folder: string): string {
  return join(folder, 'tmp', MARK);
}

export function encodeHead(head: Head): Buffer {
  return Buffer.from(`${JSON.stringify(head).padEnd(HEAD_BYTES - 1)}\n`);
}

function decodeHead(bytes: Buffer): Head | undefined {
  try {
    const { boot, bytes: size, file, id } = JSON.parse(bytes.toString('latin1'));
    if ([id, boot, file].some((one) => typeof one !== 'string')) return undefined;
    return { id, boot, file, bytes: Number.isSafeInteger(size) ? size : undefined };
  } catch {
    return undefined;
  }
}

export function linesOf(notes: readonly Note[]): string {
  return notes.map(({ nar, namer }) => `${nar.slice(0, NAR_DIGITS)} ${namer}\n`).join('');
}

/**
 * Notes what is about to get its name, and is in `tmp/` already; `tell` is asked only where there are notes. Throws what the disk says
 * if it can neither be noted nor be known that it is not: then nothing may get its name.
 */
export async function note(folder: string, tell: () => Promise<readonly Note[]>): Promise<void> {
  const file = notesFile(folder);
  try {
    for (let tries = 0; tries < TRIES; tries++) {
      const handle = await writing(() => open(file, TO_APPEND)).catch(unlessMissing);
      if (handle === undefined) return;
      try {
        const lines = linesOf(await tell());
        if (lines === '') return;
        checkBoot(await headOf(handle));
        const { bytesWritten } = await writing(() => handle.write(lines));
        checkWritten(bytesWritten, lines);
        if (isSame(await handle.stat(), await stat(file).catch(unlessMissing))) return;
      } finally {
        await handle.close();
      }
    }
    throw new Error('the notes are made anew all the time');
  } catch {
    await forget(folder);
  }
}

/** The same for a thread that does nothing else. */
export function noteSync(folder: string, tell: () => readonly Note[]): void {
  const file = notesFile(folder);
  try {
    for (let tries = 0; tries < TRIES; tries++) {
      const fd = openIfAny(file);
      if (fd === undefined) return;
      try {
        const lines = linesOf(tell());
        if (lines === '') return;
        const head = Buffer.alloc(HEAD_BYTES);
        readSync(fd, head, 0, HEAD_BYTES, 0);
        checkBoot(decodeHead(head));
        checkWritten(writeSync(fd, lines), lines);
        if (isSame(fstatSync(fd), statSync(file, { throwIfNoEntry: false }))) return;
      } finally {
        closeSync(fd);
      }
    }
    throw new Error('the notes are made anew all the time');
  } catch {
    forgetSync(folder);
  }
}

/** From now on the notes are not believed, until everything was read again. Throws what the disk says. */
async function forget(folder: string): Promise<void> {
  await unlink(markFile(folder)).catch(unlessMissing);
}

function forgetSync(folder: string): void {
  try {
    unlinkSync(markFile(folder));
  } catch (error) {
    unlessMissing(error);
  }
}

function openIfAny(file: string): number | undefined {
  try {
    return openSync(file, TO_APPEND);
  } catch (error) {
    return unlessMissing(error);
  }
}

function unlessMissing(error: unknown): undefined {
  if (!isErrno(error, 'ENOENT', 'ENOTDIR')) throw error;
  return undefined;
}

/** Who learned on another machine, or before a start of this one, would not see that our notes were lost. */
function checkBoot(head: Head | undefined): void {
  if (head?.boot !== bootId()) throw new Error('these notes are believed no more');
}

function checkWritten(bytes: number, lines: string): void {
  if (bytes !== lines.length) throw new Error('the disk has not taken all of a note');
}

/** Whether that is the file still, and no other one has its name since. */
export function isSame(file: Stats, now: Stats | undefined): boolean {
  return now !== undefined && whichFile(now) === whichFile(file);
}

/** Differs from any other file's, and stays when it grows. */
export function whichFile({ birthtimeMs, dev, ino }: Stats): string {
  return `${dev}:${ino}:${birthtimeMs}`;
}

async function headOf(handle: FileHandle): Promise<Head | undefined> {
  const head = Buffer.alloc(HEAD_BYTES);
  await handle.read(head, 0, HEAD_BYTES, 0);
  return decodeHead(head);
}

/** Bytes of the notes, and how many of them were there when all had been read; undefined if they are not believed. */
export async function believed(folder: string): Promise<{ bytes: number; learned: number } | undefined> {
  return reading(folder, async (handle, learned) => ({ bytes: (await handle.stat()).size, learned }));
}

/** The ids of all objects that may name one of these NARs; undefined if that is not certain. */
export async function namersOf(
  folder: string,
  nars: ReadonlySet<string>,
): Promise<ReadonlySet<string> | undefined> {
  return reading(folder, (handle) => search(handle, nars));
}

/** Runs it on notes that are believed, and were so to its end. */
async function reading<T>(
  folder: string,
  run: (handle: FileHandle, learned: number) => Promise<T | undefined>,
): Promise<T | undefined> {
  let handle: FileHandle | undefined;
  try {
    handle = await openForReading(notesFile(folder));
    const head = handle && (await headOf(handle));
    if (handle === undefined || head?.bytes === undefined || head.boot !== bootId()) return undefined;
    if (head.file !== whichFile(await handle.stat())) return undefined;
    const result = await run(handle, head.bytes);
    for (const file of [markFile(folder), join(folder, 'changed')])
      if ((await readFile(file, 'latin1')) !== head.id) return undefined;
    return result;
  } catch {
    return undefined;
  } finally {
    await handle?.close();
  }
}

/** A line is told by its first bytes: half a million of them take twenty milliseconds, for however many NARs. */
async function search(handle: FileHandle, nars: ReadonlySet<string>): Promise<Set<string> | undefined> {
  const keys = new Set([...nars].map((nar) => nar.slice(0, NAR_DIGITS)));
  const beginnings = new Set([...keys].map((key) => Buffer.from(key).readUInt32LE(0)));
  const found = new Set<string>();
  const buffer = Buffer.alloc(LINES_AT_ONCE * LINE_BYTES);
  let kept = 0;
  for (let position = HEAD_BYTES; ; ) {
    const { bytesRead } = await handle.read(buffer, kept, buffer.length - kept, position);
    // The last line may be on its way.
    if (bytesRead === 0) return found;
    position += bytesRead;
    const end = kept + bytesRead;
    let at = 0;
    for (; at + LINE_BYTES <= end; at += LINE_BYTES) {
      if (buffer[at + LINE_BYTES - 1] !== 0x0a) return undefined;
      if (!beginnings.has(buffer.readUInt32LE(at))) continue;
      const [key = '', namer = ''] = buffer.toString('latin1', at, at + LINE_BYTES - 1).split(' ');
      if (keys.has(key) && isId(namer)) found.add(namer);
    }
    kept = end - at;
    buffer.copyWithin(0, at, end);
  }
}
