// Looks again, in the background, at what is believed for a while and asked for often, before that while is over: then nobody who asks
// for it waits for the disk.

/** Looks at once. The disk has few threads, and whoever waits for it should find one. */
const AT_ONCE = 3;
/** Looks that fall due within this time go together: a thread that is awake takes the next one at little cost. */
const GATHER_MS = 20;
/** From this part of its time on what is asked for is looked at. */
const DUE = 0.7;

/** Whether what was seen so long ago, and is believed for so long, is to be looked at. */
export function isDue(ageMs: number, forMs: number): boolean {
  return ageMs >= forMs * DUE;
}

export class Renewing {
  readonly #look: (name: string) => Promise<unknown>;
  readonly #waiting = new Set<string>();
  readonly #looking = new Set<string>();
  #isGathering = false;

  /** `look` has what is known under the name believed for another while, or forgets it. It may reject: then it ends by itself. */
  constructor(look: (name: string) => Promise<unknown>) {
    this.#look = look;
  }

  /** It is asked for, and {@link isDue}. */
  asked(name: string): void {
    if (this.#looking.has(name)) return;
    this.#waiting.add(name);
    if (this.#isGathering) return;
    this.#isGathering = true;
    setTimeout(() => {
      this.#isGathering = false;
      this.#goOn();
    }, GATHER_MS).unref();
  }

  #goOn(): void {
    for (const name of this.#waiting) {
      if (this.#looking.size >= AT_ONCE) return;
      this.#waiting.delete(name);
      this.#looking.add(name);
      const over = () => {
        this.#looking.delete(name);
        this.#goOn();
      };
      void this.#look(name).then(over, over);
    }
  }
}
