// How many downloads are under way at once, and how many bytes they may put into temporary files together: more wait in the order
// in which they came.
import type { Ahead } from '../sync/ahead.ts';
import { Slots } from '../sync/slots.ts';
import { SMALL_BYTES } from './in-one.ts';
import type { Expected } from './verify.ts';

/** What is not small counts for so many that are. */
const WEIGHT = 4;

export class Turns {
  readonly #slots: Slots;
  /** Of what is no NAR: listings above all, of which some ask for hundreds. */
  readonly #files: Slots;
  /** Bytes. */
  readonly #room: Slots;

  constructor(maxDownloads: number, maxSpoolBytes: number) {
    this.#slots = new Slots(WEIGHT * maxDownloads);
    this.#files = new Slots(2 * maxDownloads);
    this.#room = new Slots(maxSpoolBytes);
  }

  /** What those who wait are waiting for. */
  get all(): readonly Slots[] {
    return [this.#slots, this.#files, this.#room];
  }

  /** Waits for a turn, of a NAR or of something else, and for room; what is answered gives both back. */
  async take(
    { fileSize, nar }: Expected,
    isNar: boolean,
    signal: AbortSignal,
    ahead?: Ahead,
  ): Promise<() => void> {
    const bytes = fileSize ?? nar?.narSize;
    const weight = bytes !== undefined && bytes <= SMALL_BYTES ? 1 : WEIGHT;
    const release = await (isNar
      ? this.#slots.acquire(signal, weight, ahead)
      : this.#files.acquire(signal, 1, ahead));
    // Room is taken before the upstream is asked: waiting afterwards would make it give up.
    const releaseRoom = await this.#room.acquire(signal, bytes ?? 0, ahead).catch((error) => {
      release();
      throw error;
    });
    return () => {
      release();
      releaseRoom();
    };
  }
}
