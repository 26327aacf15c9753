// Which process a file in `tmp/` is of, and whether that still lives. A number alone does not tell: containers have their own, and
// after a while another program has it. So what this process writes is named after its number, its start, and where both count;
// and a command listens on a socket beside its files for as long as it lives, which holds from one container to the other.
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { rename, unlink } from '../../disk/writing.ts';
import { isErrno } from '../../errors.ts';
import { give, makeFolderIn } from './own.ts';
import { knock, listenIn, NOTING } from './socket.ts';

const SOCKET = '.sock';
/** Behind the name of a socket that nobody listens on yet. */
const NEW = '.new';
const NEW_MS = 60_000;
/** Whoever lives takes a connection at once, whatever else it does. */
const KNOCK_MS = 1000;

interface Writer {
  readonly pid: number;
  /** When it started, in ticks of the machine; empty where that can't be seen. */
  readonly start: string;
  /** The boot and the container in which both mean anything; undefined for one of an earlier version. */
  readonly where: string | undefined;
}

/** What the names of all temporary files of this process begin with. */
export const OWN = `${process.pid}.${startOf(statOf())}.${placeHere()}`;

/** A name of its own for a temporary file of this process. */
export function tempName(): string {
  return `${OWN}-${randomBytes(12).toString('hex')}`;
}

function statOf(): string {
  try {
    return readFileSync('/proc/self/stat', 'latin1');
  } catch {
    return '';
  }
}

/** The name of the program, which stands before it, may contain anything. */
function fieldsOf(procStat: string): string[] {
  return procStat.slice(procStat.lastIndexOf(')') + 2).split(' ');
}

function startOf(procStat: string): string {
  return fieldsOf(procStat)[19] ?? '';
}

function placeHere(): string {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
    const place = `${boot} ${readlinkSync('/proc/self/ns/pid')}`;
    return createHash('sha256').update(place).digest('hex').slice(0, 12);
  } catch {
    return '';
  }
}

function writerIn(name: string): Writer | undefined {
  const [, pid, start = '', where] = /^([1-9]\d{0,9})(?:\.(\d*)\.([0-9a-f]*))?(?:-|\.sock)/.exec(name) ?? [];
  return pid === undefined ? undefined : { pid: Number(pid), start, where };
}

/**
 * Whether a file in `tmp` is of somebody who lives, or may live; ourselves we take for nobody. `sole`: no service but this one has
 * the folder, and its disk takes sockets.
 */
export async function isSomebodys(tmp: string, name: string, sole: boolean): Promise<boolean> {
  const writer = writerIn(name);
  const isNear = writer?.where === placeHere();
  if (name.endsWith(NEW)) {
    if (writer !== undefined && isNear) return isRunning(writer);
    const made = await stat(join(tmp, name)).catch(() => undefined);
    return made !== undefined && Math.abs(Date.now() - made.mtimeMs) < NEW_MS;
  }
  if (writer === undefined || name.startsWith(`${OWN}-`)) return false;
  if (writer.where === undefined) return hasOpen(writer.pid, join(tmp, name));
  const socket = `${writer.pid}.${writer.start}.${writer.where}${SOCKET}`;
  const knocked = await knock(tmp, socket, { wanted: 0, waitMs: KNOCK_MS });
  // A writer that we may not ask counts as alive.
  if (knocked.kind !== 'none') return knocked.kind !== 'nobody';
  // A command that could not make a socket may still be running.
  if (isNear) return isRunning(writer);
  return !sole;
}

/** Where numbers are ours. */
async function isRunning({ pid, start }: Writer): Promise<boolean> {
  if (start === '') return isThere(pid);
  const found = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => undefined);
  return found !== undefined && startOf(found) === start && fieldsOf(found)[0] !== 'Z';
}

function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return isErrno(error, 'EPERM');
  }
}

/** Whether the process is there and has the file open, as far as that can be seen: earlier versions name it by its number alone. */
async function hasOpen(pid: number, file: string): Promise<boolean> {
  if (pid === process.pid || !isThere(pid)) return false;
  const found = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => undefined);
  if (found !== undefined && fieldsOf(found)[0] === 'Z') return false;
  const own = await stat(file).catch(() => undefined);
  const folder = `/proc/${pid}/fd`;
  const open = await readdir(folder).catch(() => undefined);
  // Files of a process that we may not look at are left alone for a day.
  if (open === undefined || own === undefined) return own !== undefined;
  const files = await Promise.all(open.map((fd) => stat(join(folder, fd)).catch(() => undefined)));
  return files.some((one) => one?.dev === own.dev && one.ino === own.ino);
}

/** Whether a file in `tmp` is certainly of another process that is gone; see {@link isSomebodys}. */
export async function isLeft(tmp: string, name: string, sole: boolean): Promise<boolean> {
  return writerIn(name) !== undefined && !name.startsWith(OWN) && !(await isSomebodys(tmp, name, sole));
}

/**
 * Shows, until it is closed, that this process writes into the folder: a service that starts leaves its temporary files alone.
 * Where the disk takes no sockets, only those in the same container are told so by its number.
 */
export async function showWriter(cacheDir: string): Promise<{ close(): Promise<void> }> {
  const tmp = join(cacheDir, 'tmp');
  const name = `${OWN}${SOCKET}`;
  const nobody = { close: async () => {} };
  try {
    await makeFolderIn(cacheDir, tmp);
    const listening = await listenIn(tmp, `${name}${NEW}`, {
      greeting: () => NOTING,
      answer: () => undefined,
    });
    await give(cacheDir, join(tmp, `${name}${NEW}`));
    await rename(join(tmp, `${name}${NEW}`), join(tmp, name));
    return {
      close: async () => {
        await unlink(join(tmp, name)).catch(() => {});
        await listening.close();
      },
    };
  } catch {
    return nobody;
  }
}
