// The beginning of a body that did not arrive in full: noted in the spool while it grows, should this service be killed; kept when
// the download ends; and taken by whoever begins anew, to go on from where a hash will tell whether that was right.
import type { Emit } from '../events.ts';
import { sha256ToHex } from '../nix/hash.ts';
import type { Beginning, Scratch, Spool } from '../store/scratch.ts';
import type { Growing } from './growing.ts';
import type { Expected } from './verify.ts';

/** Where beginnings are noted and kept; neither ever rejects. */
export type BeginningStore = Pick<Scratch, 'noteBeginning' | 'keepBeginning'>;

/** What is there already of a body. */
export interface TakenBeginning {
  readonly spool: Spool;
  readonly length: number;
}

/** A beginning shorter than this is as soon had again. */
const WORTH_KEEPING = 1 << 20;
/** After how many bytes more it is noted how far it has come. */
const NOTE_BYTES = 4 << 20;

/** Those that earlier downloads left. */
export class Beginnings {
  readonly #store: BeginningStore & Pick<Scratch, 'takeBeginning'>;
  readonly #emit: Emit;

  constructor(store: BeginningStore & Pick<Scratch, 'takeBeginning'>, emit: Emit) {
    this.#store = store;
    this.#emit = emit;
  }

  /** What is left of it, if anything. */
  async take(path: string, expected: Expected): Promise<TakenBeginning | undefined> {
    const whole = wholeOf(path, expected.fileSize, expected);
    // No beginning of less is ever kept.
    if (whole === undefined || whole.size <= WORTH_KEEPING) return undefined;
    const taken = await this.#store.takeBeginning(whole);
    if (taken !== undefined)
      this.#emit({ kind: 'download-resumed', path, at: taken.length, bytes: whole.size });
    return taken;
  }

  /** Nobody can go on from it now; somebody may later. */
  async putBack(path: string, expected: Expected, taken: TakenBeginning | undefined): Promise<void> {
    const whole = wholeOf(path, expected.fileSize, expected);
    if (taken === undefined || whole === undefined) return;
    await this.#store.keepBeginning(taken.spool, { ...whole, length: taken.length });
    await taken.spool.close();
  }
}

/** The one of a body that grows. */
export class GrowingBeginning {
  readonly #store: BeginningStore;
  readonly #growing: Growing;
  readonly #whole: Whole | undefined;
  #noted = 0;
  /** What is being noted now. */
  #noting: Promise<void> | undefined;

  constructor(store: BeginningStore, path: string, growing: Growing, expected: Expected) {
    this.#store = store;
    this.#growing = growing;
    this.#whole = wholeOf(path, growing.size ?? expected.said, expected);
  }

  /** Notes how far it has come, if that is far enough from the last time. Nobody waits for it: a disk may hang. */
  note(): void {
    const { front: length } = this.#growing;
    if (this.#whole === undefined || this.#noting !== undefined || length < this.#noted + NOTE_BYTES) return;
    this.#noted = length;
    this.#noting = this.#note({ ...this.#whole, length }).finally(() => {
      this.#noting = undefined;
    });
  }

  async #note(beginning: Beginning): Promise<void> {
    const file = await this.#growing.file();
    if (file !== undefined) await this.#store.noteBeginning(file, beginning);
  }

  /** When nothing is being noted: whoever gives the file its first line must wait for that, or it might be written over. */
  async settled(): Promise<void> {
    await this.#noting;
  }

  /** Keeps what there is, if that is worth it. */
  async keep(): Promise<void> {
    const { front: length } = this.#growing;
    if (this.#whole === undefined || length < WORTH_KEEPING) return;
    await this.settled();
    const file = await this.#growing.file();
    if (file !== undefined) await this.#store.keepBeginning(file, { ...this.#whole, length });
  }
}

type Whole = Omit<Beginning, 'length'>;

/** What it is the beginning of; undefined if no hash would tell whether going on was right. */
function wholeOf(path: string, size: number | undefined, { fileHash }: Expected): Whole | undefined {
  return fileHash === undefined || size === undefined
    ? undefined
    : { path, size, sha256: sha256ToHex(fileHash) };
}
