// The thread that puts small objects on the disk: each is written to a temporary file, synced, given its name, and that synced where
// it is to be durable. It does so for all who wait at that moment together: what one of them has to have synced is found done by the others, and
// names in one folder are synced once. Synchronous, since it does nothing else; commits.ts is the other side.
import {
  closeSync,
  fchownSync,
  fstatSync,
  fsyncSync,
  linkSync,
  openSync,
  renameSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { parentPort, receiveMessageOnPort } from 'node:worker_threads';
import { lacksFolderSync } from '../../disk/files.ts';
import { describe, isErrno } from '../../errors.ts';
import type { Committed, Job } from './commits.ts';
import { versionOf } from './files.ts';
import { noteIn } from './note-of.ts';
import { noteSync } from './notes.ts';
import { makeFolderInSync } from './own.ts';
import { lacksLinks } from './put-back.ts';

/** A job that is being done. */
interface Work {
  readonly job: Job;
  fd?: number;
  before?: number | undefined;
  version?: string;
  /** Whether its temporary name is not its name. */
  isLinked?: boolean;
  /** What the disk said against it. */
  error?: unknown;
}

/** Fan-out folders that are known to survive a power loss. */
const durableFolders = new Set<string>();

function commitAll(jobs: readonly Job[]): Committed[] {
  const all: Work[] = jobs.map((job) => ({ job }));
  // A rename may reach the disk before the bytes do: so every file is synced before any has its name.
  for (const step of [write, noting(all), sync, move])
    for (const work of all.filter(({ error }) => error === undefined)) attempt(work, () => step(work));
  const toSync = all.filter(({ error, job }) => error === undefined && job.durable);
  for (const folder of new Set(toSync.map(folderOf))) {
    const mine = toSync.filter((work) => folderOf(work) === folder);
    const [first] = mine;
    if (first === undefined) continue;
    attempt(first, () => syncNames(folder, first.job.folder));
    for (const work of mine) work.error = first.error;
  }
  return all.map(tidy);
}

function attempt(work: Work, step: () => void): void {
  try {
    step();
  } catch (error) {
    work.error = error;
  }
}

function folderOf({ job }: Work): string {
  return dirname(job.target);
}

function write(work: Work): void {
  const { bytes, folder, owner, temporary } = work.job;
  const fd = openTemporary(temporary, folder);
  work.fd = fd;
  if (owner !== undefined) giveAway(fd, owner);
  // On a disk that is nearly full a write may take a part and say nothing.
  for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done, bytes.length - done, done);
}

function openTemporary(temporary: string, folder: string): number {
  try {
    return openSync(temporary, 'wx', 0o644);
  } catch (error) {
    // The folder, or its disk, was removed, and is back now.
    if (!isErrno(error, 'ENOENT')) throw error;
    makeFolderInSync(folder, dirname(temporary));
    return openSync(temporary, 'wx', 0o644);
  }
}

/** Where the disk knows no owners, or lets nobody give a file away, it stays as it is. */
function giveAway(fd: number, { gid, uid }: NonNullable<Job['owner']>): void {
  try {
    fchownSync(fd, uid, gid);
  } catch {}
}

/** Notes what all of them name, when the first is to be noted: each is there, and none has its name (see notes.ts). */
function noting(all: readonly Work[]): (work: Work) => void {
  let isDone = false;
  return ({ job }) => {
    if (isDone) return;
    const written = all.filter(({ error }) => error === undefined);
    noteSync(job.folder, () => written.flatMap((one) => noteIn(one.job.bytes) ?? []));
    isDone = true;
  };
}

function sync({ fd }: Work): void {
  fsyncSync(fd as number);
}

function move(work: Work): void {
  const { folder, target } = work.job;
  try {
    give(work);
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
    // The folder's name is new, even if an earlier one of that name was durable and removed.
    durableFolders.delete(dirname(target));
    makeFolderInSync(folder, dirname(target));
    give(work);
  }
}

/** Gives it its name, unless another has that and is to stay. */
function give(work: Work): void {
  const { replace, target, temporary } = work.job;
  const version = versionOf(fstatSync(work.fd as number));
  if (replace) work.before = statSync(target, { throwIfNoEntry: false })?.size;
  else {
    work.isLinked = true;
    try {
      linkSync(temporary, target);
      work.version = version;
      return;
    } catch (error) {
      if (isErrno(error, 'EEXIST')) return;
      // Replacing equal content does no harm.
      if (!lacksLinks(error)) throw error;
      work.isLinked = false;
    }
  }
  renameSync(temporary, target);
  work.version = version;
}

function syncNames(folder: string, top: string): void {
  syncFolder(folder);
  if (durableFolders.has(folder)) return;
  // The name of the folder itself.
  syncFolder(top);
  durableFolders.add(folder);
}

function syncFolder(folder: string): void {
  const fd = openSync(folder, 'r');
  try {
    fsyncSync(fd);
  } catch (error) {
    if (!lacksFolderSync(error)) throw error;
  } finally {
    closeSync(fd);
  }
}

/** Closes it, and leaves no temporary file of one that was not stored. */
function tidy({ before, error, fd, isLinked, job, version }: Work): Committed {
  try {
    if (fd !== undefined) closeSync(fd);
    if ((error !== undefined || isLinked === true) && fd !== undefined) unlinkSync(job.temporary);
  } catch {
    // A failed close loses nothing, and it may have its place already; what is left a start removes.
  }
  if (error === undefined) return { id: job.id, before, version };
  const { code } = error as NodeJS.ErrnoException;
  return { id: job.id, failure: { message: describe(error), code } };
}

const port = parentPort;
if (port !== null) {
  port.on('message', (first: Job) => {
    const jobs = [first];
    for (let next = receiveMessageOnPort(port); next !== undefined; next = receiveMessageOnPort(port))
      jobs.push(next.message);
    port.postMessage(commitAll(jobs));
  });
  port.postMessage([] satisfies Committed[]);
}
