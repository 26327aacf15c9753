// Reads of small files that were read a moment ago, and looks at them, without the thread pool: what was read then is in the kernel's memory, and a
// read from there takes some microseconds, while a trip to another thread and back takes three times as long, and makes both wait for
// a core where there is but one. Nobody else has a turn meanwhile, so this is for disks of this machine only, and not where the last
// such read was slow; one that hangs is asked in vain for as long at most as what it gave last counts as read a moment ago.
import { type Stats, statSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { SMALL_PIECE_BYTES } from '../../bytes/buffers.ts';
import type { Known } from './kept-files.ts';

/** ext2 to ext4, XFS, Btrfs, ZFS, F2FS, tmpfs. Others may ask another machine, or a program, even for what is in memory. */
const LOCAL = new Set([0xef53, 0x58465342, 0x9123683e, 0x2fc12fc1, 0xf2f52010, 0x01021994]);
/** How long ago a file may have been read: the kernel needs its memory for other things sooner or later. */
const HOT_MS = 2000;
/**
 * A read that takes longer may have come from the disk, and there are none for a while, each time twice as long: until so many were fast,
 * since on a busy machine any may be interrupted.
 */
const SLOW_MS = 4;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 60_000;
const FAST = 100;

export class HotReads {
  #isLocal = false;
  #pausedUntil = Number.NEGATIVE_INFINITY;
  #pauseMs = FIRST_PAUSE_MS;
  #fast = 0;

  /** Looks where the folder lies; until then, and if that can't be told, nothing is read like this. */
  async begin(folder: string): Promise<void> {
    try {
      this.#isLocal = LOCAL.has((await statfs(folder)).type);
    } catch {
      this.#isLocal = false;
    }
  }

  /** The body of the file has been read, all of it in one piece. */
  done(known: Known): void {
    known.hotUntil = performance.now() + HOT_MS;
  }

  /** Whether so many bytes of it may be read like this; else that is for the thread pool. */
  canRead({ hotUntil }: Known, length: number): boolean {
    if (!this.#isLocal || length > SMALL_PIECE_BYTES) return false;
    const now = performance.now();
    return now < hotUntil && now >= this.#pausedUntil;
  }

  /** How many bytes were read, after {@link canRead}. */
  read(known: Known, buffer: Buffer, offset: number, length: number, at: number): number {
    const began = performance.now();
    const bytesRead = known.descriptor.readNow(buffer, offset, length, at);
    this.#took(began);
    return bytesRead;
  }

  /** What is under its name now, after {@link canRead}; undefined if nothing is, or nobody can tell. */
  look({ file }: Known): Stats | undefined {
    const began = performance.now();
    try {
      return statSync(file, { throwIfNoEntry: false });
    } catch {
      return undefined;
    } finally {
      this.#took(began);
    }
  }

  #took(began: number): void {
    const now = performance.now();
    if (now - began > SLOW_MS) this.#pause(now);
    else if (++this.#fast === FAST) this.#pauseMs = FIRST_PAUSE_MS;
  }

  #pause(now: number): void {
    this.#pausedUntil = now + this.#pauseMs;
    this.#pauseMs = Math.min(2 * this.#pauseMs, LONGEST_PAUSE_MS);
    this.#fast = 0;
  }
}
