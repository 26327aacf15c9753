// What is known of every object at once, in about a hundred bytes each: a million of them fit where as many JavaScript objects
// would not. Rows are numbers; an object is found by its id, the SHA-256 of its path.
import type { Facts, Place } from './upkeep.ts';

const ID_BYTES = 32;
/** Of the id that something refers to: with a million of them, two alike are as likely as a bit that flips by itself. */
const REF_BYTES = 8;
const KINDS = ['narinfo', 'nar', 'listing', 'other'] as const;
const EMPTY = -1;

export class Catalogue {
  #capacity: number;
  #size = 0;
  #ids: Uint8Array;
  #refs: Uint8Array;
  #bytes: Float64Array;
  #used: Float64Array;
  /** Kind in the lowest bits; then whether it was pushed, has a reference, has the mark. */
  #flags: Uint8Array;
  /** Open addressing by the first bytes of the id, which are as good as random. */
  #table: Int32Array | undefined;

  readonly #placeOf: (id: string, mark: boolean) => Place;

  /** `expected` rows fit without growing. One bit, a mark, tells an object's place by its id. */
  constructor(expected = 1024, placeOf: (id: string, mark: boolean) => Place = (id) => id as Place) {
    this.#placeOf = placeOf;
    this.#capacity = Math.max(16, expected);
    this.#ids = new Uint8Array(this.#capacity * ID_BYTES);
    this.#refs = new Uint8Array(this.#capacity * REF_BYTES);
    this.#bytes = new Float64Array(this.#capacity);
    this.#used = new Float64Array(this.#capacity);
    this.#flags = new Uint8Array(this.#capacity);
  }

  get size(): number {
    return this.#size;
  }

  add(id: string, mark: boolean, { kind, bytes, usedMs, pushed, ref }: Facts): void {
    if (this.#size === this.#capacity) this.#grow();
    const row = this.#size++;
    this.#table = undefined;
    this.#ids.set(Buffer.from(id, 'hex'), row * ID_BYTES);
    if (ref !== undefined) this.#refs.set(Buffer.from(ref.slice(0, 2 * REF_BYTES), 'hex'), row * REF_BYTES);
    this.#bytes[row] = bytes;
    this.#used[row] = usedMs;
    const flags = (pushed ? 4 : 0) | (ref === undefined ? 0 : 8) | (mark ? 16 : 0);
    this.#flags[row] = KINDS.indexOf(kind) | flags;
  }

  #grow(): void {
    this.#capacity = Math.ceil(this.#capacity * 1.5);
    const grown = <T extends Uint8Array | Float64Array>(old: T, next: T): T => {
      next.set(old);
      return next;
    };
    this.#ids = grown(this.#ids, new Uint8Array(this.#capacity * ID_BYTES));
    this.#refs = grown(this.#refs, new Uint8Array(this.#capacity * REF_BYTES));
    this.#bytes = grown(this.#bytes, new Float64Array(this.#capacity));
    this.#used = grown(this.#used, new Float64Array(this.#capacity));
    this.#flags = grown(this.#flags, new Uint8Array(this.#capacity));
  }

  /** The row of the object with this id, in hexadecimal; undefined if there is none. Of two with one id, any. */
  find(id: string): number | undefined {
    return this.#find(Buffer.from(id, 'hex'), 0, ID_BYTES);
  }

  /** The row of what `row` refers to; undefined if it is not here. */
  refOf(row: number): number | undefined {
    return (this.#flag(row) & 8) === 0 ? undefined : this.#find(this.#refs, row * REF_BYTES, REF_BYTES);
  }

  #find(bytes: Uint8Array, at: number, length: number): number | undefined {
    this.#table ??= this.#index();
    const table = this.#table;
    for (let slot = hash(bytes, at) & (table.length - 1); ; slot = (slot + 1) & (table.length - 1)) {
      const row = table[slot] as number;
      if (row === EMPTY) return undefined;
      if (this.#isAt(row, bytes, at, length)) return row;
    }
  }

  #index(): Int32Array {
    let length = 16;
    while (length < 2 * this.#size) length *= 2;
    const table = new Int32Array(length).fill(EMPTY);
    for (let row = 0; row < this.#size; row++) {
      let slot = hash(this.#ids, row * ID_BYTES) & (length - 1);
      while (table[slot] !== EMPTY) slot = (slot + 1) & (length - 1);
      table[slot] = row;
    }
    return table;
  }

  #isAt(row: number, bytes: Uint8Array, at: number, length: number): boolean {
    for (let i = 0; i < length; i++) if (this.#ids[row * ID_BYTES + i] !== bytes[at + i]) return false;
    return true;
  }

  #flag(row: number): number {
    return this.#flags[row] as number;
  }

  id(row: number): string {
    return Buffer.from(this.#ids.buffer, row * ID_BYTES, ID_BYTES).toString('hex');
  }

  kind(row: number): Facts['kind'] {
    return KINDS[this.#flag(row) & 3] as Facts['kind'];
  }

  pushed(row: number): boolean {
    return (this.#flag(row) & 4) !== 0;
  }

  place(row: number): Place {
    return this.#placeOf(this.id(row), (this.#flag(row) & 16) !== 0);
  }

  bytes(row: number): number {
    return this.#bytes[row] as number;
  }

  usedMs(row: number): number {
    return this.#used[row] as number;
  }
}

function hash(bytes: Uint8Array, at: number): number {
  const [a, b, c, d] = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]] as [
    number,
    number,
    number,
    number,
  ];
  return (a | (b << 8) | (c << 16) | (d << 24)) >>> 0;
}
