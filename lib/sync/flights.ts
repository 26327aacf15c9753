// Single flight: whoever asks for what is already under way gets the same answer. A Map of promises, plus one thing:
// an entry stays until its work has ended, which may be long after its answer is there.

/** Work under way: its answer, and the end of what goes on after that. */
export interface Flight<T> {
  readonly value: T;
  readonly ended: Promise<unknown>;
}

export class Flights<T> {
  readonly #flights = new Map<string, Promise<Flight<T>>>();

  has(key: string): boolean {
    return this.#flights.has(key);
  }

  /** The answer of the flight under `key`, which `start` begins if there is none. */
  async join(key: string, start: () => Promise<Flight<T>>): Promise<{ value: T; joined: boolean }> {
    const running = this.#flights.get(key);
    if (running !== undefined) return { value: (await running).value, joined: true };
    const flight = start();
    this.#flights.set(key, flight);
    const clear = () => {
      // The entry may have been dropped, and another flight have taken its place.
      if (this.#flights.get(key) === flight) this.#flights.delete(key);
    };
    flight.then(({ ended }) => ended.then(clear, clear), clear);
    return { value: (await flight).value, joined: false };
  }

  /** Lets nobody join any more what is under way under `key`. */
  drop(key: string): void {
    this.#flights.delete(key);
  }

  /** When what is under way under `key` now, if anything, has ended; also under what begins with it and a space. */
  async settled(key: string): Promise<void> {
    const those = [...this.#flights].filter(([one]) => one === key || one.startsWith(`${key} `));
    await Promise.allSettled(those.map(async ([, flight]) => (await flight).ended));
  }

  /** When everything that is under way now has ended. */
  async idle(): Promise<void> {
    await Promise.allSettled([...this.#flights.values()].map(async (flight) => (await flight).ended));
  }
}
