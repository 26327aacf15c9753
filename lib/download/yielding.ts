// Downloads that nobody reads go on while nobody waits for their connections or their room. When somebody does, they are
// stopped, one after the other, until nobody waits any more.
import { setTimeout as delay } from 'node:timers/promises';
import type { Slots } from '../sync/slots.ts';
import { within } from '../sync/within.ts';
import type { Download } from './download.ts';

type Crowd = Pick<Slots, 'isCrowded' | 'whenCrowded'>;
export type Stoppable = Pick<Download, 'isAbandoned' | 'stop' | 'ended'>;

/** How long a stopped one may take to give back what it has, before the next is stopped too. */
const ENDING_MS = 1000;
/** A connection is free a moment after its answer has ended. */
const FREEING_MS = 5;

export class Yielding {
  readonly #crowds: readonly Crowd[];
  readonly #running = new Set<Stoppable>();
  /** Of those that somebody waits for and that have not begun: how many. */
  #starting = 0;
  #isMakingWay = false;

  /** `crowds`: what downloads share. */
  constructor(crowds: readonly Crowd[]) {
    this.#crowds = crowds;
    for (const crowd of crowds) crowd.whenCrowded(() => this.look());
  }

  /** Somebody waits for a download to begin; until what it answers is called. */
  starting(): () => void {
    this.#starting++;
    return () => {
      this.#starting--;
    };
  }

  add(download: Stoppable): void {
    this.#running.add(download);
    download.ended.finally(() => this.#running.delete(download));
  }

  /** Looks whether somebody has to give way; called when somebody begins to wait, or a reader has left. */
  look(): void {
    if (this.#isMakingWay || this.#next === undefined) return;
    this.#isMakingWay = true;
    // Looked at again later, when the present waiters may have been served.
    this.#makeWay().finally(() => {
      this.#isMakingWay = false;
    });
  }

  /** The one to be stopped now, if any: the last, which has the least to lose. */
  get #next(): Stoppable | undefined {
    const all = [...this.#running];
    // Downloads without readers also wait for each other, which is no reason to stop one.
    const isWanted = this.#starting > 0 || all.some(({ isAbandoned }) => !isAbandoned);
    if (!isWanted || !this.#crowds.some(({ isCrowded }) => isCrowded)) return undefined;
    return all.reverse().find(({ isAbandoned }) => isAbandoned);
  }

  async #makeWay(): Promise<void> {
    await delay(FREEING_MS);
    for (let one = this.#next; one !== undefined; one = this.#next) {
      this.#running.delete(one);
      if (!one.stop()) continue;
      await within(ENDING_MS, one.ended);
      await delay(FREEING_MS);
    }
  }
}
