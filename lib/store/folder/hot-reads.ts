// Reads of small files, and looks at names, without the thread pool, where the same was done a short while ago: what was read then is in
// the kernel's memory, and a read or a look there takes some microseconds, while a trip to another thread and back takes ten times as
// long. Nobody else has a turn meanwhile, so this is for disks of this machine only, and not where the last such read or look was slow.
import { type Stats, statSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { SMALL_PIECE_BYTES } from '../../bytes/buffers.ts';
import type { Known } from './kept-files.ts';

/** ext2 to ext4, XFS, Btrfs, ZFS, F2FS, tmpfs. Others may ask another machine, or a program, even for what is in memory. */
const LOCAL = new Set([0xef53, 0x58465342, 0x9123683e, 0x2fc12fc1, 0xf2f52010, 0x01021994]);
/** How long ago a file may have been read, or a name looked at: the kernel needs its memory for other things sooner or later. */
export const HOT_MS = 30_000;
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

  /** Whether all of so many bytes could be read, after {@link canRead}; if not, whoever reads them in the usual way sees why. */
  read(known: Known, buffer: Buffer, length: number, at: number): boolean {
    const began = performance.now();
    try {
      return known.descriptor.readNow(buffer, 0, length, at) === length;
    } catch {
      return false;
    } finally {
      known.hotUntil = this.#took(began) + HOT_MS;
    }
  }

  /** Whether a name may be looked at like this that was looked at within {@link HOT_MS}. */
  canLook(): boolean {
    return this.#isLocal && performance.now() >= this.#pausedUntil;
  }

  /** What is under the name now, after {@link canLook}; undefined if nobody can tell. */
  look(file: string): Stats | 'none' | undefined {
    const began = performance.now();
    try {
      return statSync(file, { throwIfNoEntry: false }) ?? 'none';
    } catch {
      return undefined;
    } finally {
      this.#took(began);
    }
  }

  /** A read or a look that began then is over; the time now. */
  #took(began: number): number {
    const now = performance.now();
    if (now - began > SLOW_MS) this.#pause(now);
    else if (++this.#fast === FAST) this.#pauseMs = FIRST_PAUSE_MS;
    return now;
  }

  #pause(now: number): void {
    this.#pausedUntil = now + this.#pauseMs;
    this.#pauseMs = Math.min(2 * this.#pauseMs, LONGEST_PAUSE_MS);
    this.#fast = 0;
  }
}
