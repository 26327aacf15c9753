// How much may be put on the disk that nobody has asked for: nothing that would leave less free there than the configuration wants, or
// have something removed to make room.
import type { GcConfig } from '../config/config.ts';
import { minFree } from '../store/min-free.ts';
import type { Scratch } from '../store/scratch.ts';
import type { Upkeep } from '../store/upkeep.ts';

interface RoomOptions {
  readonly scratch: Pick<Scratch, 'room'>;
  readonly upkeep: Pick<Upkeep, 'totals'>;
  readonly gc: Pick<GcConfig, 'maxBytes' | 'minFreeBytes'>;
  /** Milliseconds from anywhere. */
  readonly now: () => number;
}

/** How long what was seen of the disk is believed. */
const SEEN_MS = 1000;
/** What others may need meanwhile. */
const SPARE_BYTES = 256 << 20;

export class Room {
  readonly #options: RoomOptions;
  #seenAt = Number.NEGATIVE_INFINITY;
  #left = 0;
  #looking: Promise<void> | undefined;

  constructor(options: RoomOptions) {
    this.#options = options;
  }

  /** Looks at the disk, unless that was done a moment ago. Never rejects: of what can't be seen nothing is free. */
  look(): Promise<void> | undefined {
    if (this.#options.now() - this.#seenAt < SEEN_MS) return undefined;
    this.#looking ??= this.#see().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  /** Takes so many bytes of what was left when somebody last looked; false if there are not so many. */
  take(bytes: number): boolean {
    if (bytes > this.#left) return false;
    this.#left -= bytes;
    return true;
  }

  async #see(): Promise<void> {
    const { gc, now, scratch, upkeep } = this.#options;
    const { free, total } = await scratch.room().catch(() => ({ free: 0, total: 0 }));
    const held = upkeep.totals?.bytes ?? Number.POSITIVE_INFINITY;
    const most = gc.maxBytes === undefined ? Number.POSITIVE_INFINITY : gc.maxBytes - held;
    this.#left = Math.min(free - minFree(gc, total) - SPARE_BYTES, most);
    this.#seenAt = now();
  }
}
