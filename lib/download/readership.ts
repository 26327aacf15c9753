// Who has to do with a file that grows: the one who fills it, those who are about to read it, and those who read.

export class Readership {
  #isFilling = true;
  /** About to read. */
  #coming = 0;
  #reading = 0;
  #everCame = false;

  /**
   * `awaited`: nobody has come to read it yet. `wanted`: somebody reads it or is about to. `abandoned`: all who came have left, and
   * it is still being filled. `over`: nobody has to do with it any more.
   */
  get state(): 'awaited' | 'wanted' | 'abandoned' | 'over' {
    if (this.#coming + this.#reading > 0) return 'wanted';
    if (!this.#isFilling) return 'over';
    return this.#everCame ? 'abandoned' : 'awaited';
  }

  /** Whether somebody may still come to read it from its start: then all of it is needed. */
  get needsAll(): boolean {
    return this.#coming > 0 || !this.#everCame;
  }

  came(): void {
    this.#coming++;
    this.#everCame = true;
  }

  /** One of those who came has left without reading. */
  turnedAway(): void {
    this.#coming--;
  }

  /** One of those who came begins to read. */
  began(): void {
    this.#coming--;
    this.#reading++;
  }

  /** One of those who read has done so. */
  left(): void {
    this.#reading--;
  }

  filled(): void {
    this.#isFilling = false;
  }
}
