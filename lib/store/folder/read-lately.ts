// Which files were read to the end and found right a short while ago: to hash them again at every hit would cost more than
// to send them, and what was right a moment ago is in the kernel's memory.

/** Bits on a disk decay over months. */
const TRUSTED_MS = 24 * 3600_000;
/** Each takes some hundred bytes. */
const MOST = 20_000;

export class ReadLately {
  /** By path: the version that was right, and until when that is believed. */
  readonly #right = new Map<string, { readonly version: string; readonly until: number }>();

  has(path: string, version: string): boolean {
    const right = this.#right.get(path);
    return right !== undefined && right.version === version && performance.now() < right.until;
  }

  add(path: string, version: string): void {
    this.#right.delete(path);
    this.#right.set(path, { version, until: performance.now() + TRUSTED_MS });
    const [oldest] = this.#right.keys();
    if (this.#right.size > MOST && oldest !== undefined) this.#right.delete(oldest);
  }
}
