// How far a download has come, for the next service to go on from: noted in the spool while it lasts, should this service be
// killed, and kept when it stops.
import type { Beginning, Scratch } from '../store/scratch.ts';
import type { Growing } from './growing.ts';

/** Where beginnings are noted and kept. */
export type BeginningStore = Pick<Scratch, 'noteBeginning' | 'keepBeginning'>;

/** A beginning shorter than this is as soon had again. */
const WORTH_KEEPING = 1 << 20;
/** After how many bytes more it is noted how far it has come. */
const NOTE_BYTES = 4 << 20;

export class Beginnings {
  readonly #store: BeginningStore;
  readonly #growing: Growing;
  /** Undefined if no hash would tell whether going on was right. */
  readonly #whole: Omit<Beginning, 'length'> | undefined;
  #noted = 0;
  /** What is being noted now. */
  #noting: Promise<void> | undefined;

  constructor(
    store: BeginningStore,
    growing: Growing,
    whole: { readonly path: string; readonly size: number | undefined; readonly sha256: string | undefined },
  ) {
    const { path, sha256, size } = whole;
    this.#store = store;
    this.#growing = growing;
    this.#whole = size === undefined || sha256 === undefined ? undefined : { path, size, sha256 };
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
