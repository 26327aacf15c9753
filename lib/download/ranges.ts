// Which bytes of a body are still to be fetched, and by whom. Everything that is neither missing nor claimed has been
// written. Resume, failover and parallel connections are all this: claim a range, advance through it, put back the rest.

/** A range somebody is fetching: `at` moves towards `end`, which may move down when another helps. */
export interface Claim {
  at: number;
  end: number;
}

interface Range {
  start: number;
  readonly end: number;
}

export class Ranges {
  /** In order, without overlap; neighbours are one. */
  #missing: Range[];
  readonly #claims = new Set<Claim>();
  #size: number;

  /** `size` is infinite for a body whose end nobody knows; `from` is where what is there already ends. */
  constructor(size: number, from = 0) {
    this.#size = size;
    this.#missing = from < size ? [{ start: from, end: size }] : [];
  }

  /** The bytes before this one are all there. */
  get front(): number {
    let front = this.#missing[0]?.start ?? this.#size;
    for (const claim of this.#claims) if (claim.at < claim.end) front = Math.min(front, claim.at);
    return front;
  }

  /** Bytes nobody is fetching. */
  get unclaimed(): number {
    return this.#missing.reduce((sum, { start, end }) => sum + end - start, 0);
  }

  get complete(): boolean {
    return this.#missing.length === 0 && this.#claims.size === 0;
  }

  /** The first missing bytes at or after `from`, at most `length` of them; a length below 0 is none. */
  claim(length: number, from = 0): Claim | undefined {
    const index = this.#missing.findIndex((range) => range.end > from);
    const range = this.#missing[index];
    if (range === undefined) return undefined;
    const start = Math.max(range.start, from);
    const claim = { at: start, end: Math.min(range.end, start + Math.max(length, 0)) };
    const rest = [
      { start: range.start, end: start },
      { start: claim.end, end: range.end },
    ];
    this.#missing.splice(index, 1, ...rest.filter((part) => part.start < part.end));
    this.#claims.add(claim);
    return claim;
  }

  /** Takes the second half of the claim with the most left, if `worth` says that its owner needs help. */
  split(worth: (claim: Claim) => boolean): Claim | undefined {
    const slow = [...this.#claims].filter((claim) => claim.end - claim.at > 1 && worth(claim));
    const most = slow.sort((a, b) => b.end - b.at - (a.end - a.at))[0];
    if (most === undefined || !Number.isFinite(most.end)) return undefined;
    const half = { at: most.at + Math.ceil((most.end - most.at) / 2), end: most.end };
    most.end = half.at;
    this.#claims.add(half);
    return half;
  }

  /** Ends a claim: what it has not reached is missing again. */
  release(claim: Claim): void {
    this.#claims.delete(claim);
    if (claim.at >= claim.end) return;
    const all = [...this.#missing, { start: claim.at, end: claim.end }].sort((a, b) => a.start - b.start);
    const merged: Range[] = [];
    for (const range of all) {
      const last = merged.at(-1);
      if (last?.end === range.start) merged.splice(-1, 1, { start: last.start, end: range.end });
      else merged.push(range);
    }
    this.#missing = merged;
  }

  /** Moves a finished claim on to the next missing range, if there is one behind it. */
  extend(claim: Claim): boolean {
    const index = this.#missing.findIndex((range) => range.start >= claim.end);
    const [next] = index < 0 ? [] : this.#missing.splice(index, 1);
    if (next === undefined) return false;
    claim.at = next.start;
    claim.end = next.end;
    return true;
  }

  /** Whether nobody has told yet where the body ends. */
  get endless(): boolean {
    return this.#size === Number.POSITIVE_INFINITY;
  }

  /** The body of unknown size turned out to end there. */
  endsAt(size: number): void {
    this.#size = size;
    for (const claim of this.#claims) claim.end = Math.min(claim.end, Math.max(claim.at, size));
    this.#missing = this.#missing
      .map(({ start, end }) => ({ start, end: Math.min(end, size) }))
      .filter(({ start, end }) => start < end);
  }
}
