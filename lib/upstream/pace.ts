// How fast an upstream has lately been, so that ranges get a sensible size and a source far below the others is noticed.

/** Bytes that count as much as everything before them. */
const MEMORY_BYTES = 4 << 20;

export class Pace {
  #bytesPerMs: number | undefined;

  /** Of one connection; undefined before anything was measured. */
  get bytesPerMs(): number | undefined {
    return this.#bytesPerMs;
  }

  /** `bytes` came over one connection within `ms` milliseconds. */
  note(bytes: number, ms: number): void {
    if (bytes === 0) return;
    const now = bytes / Math.max(ms, 1);
    const weight = bytes / (bytes + MEMORY_BYTES);
    this.#bytesPerMs = this.#bytesPerMs === undefined ? now : this.#bytesPerMs * (1 - weight) + now * weight;
  }
}
