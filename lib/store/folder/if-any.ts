// A store that nearly always is empty, such as what the Go service left in a folder in which it never ran: nobody is made to look for a
// file in it as long as the folder tells that there is none. Every miss looks in both stores, several times.
import { readdir, stat } from 'node:fs/promises';
import { isId } from '../object-id.ts';
import type { ListedObject, Seen, StoredObject } from '../store.ts';
import type { Lower } from './overlay.ts';

/** The coarsest clock of file systems in use is that of FAT: two seconds. */
const COARSE_NS = 3_000_000_000n;

interface IfAnyOptions {
  readonly folder: string;
  /** How long the folder is believed to be as it was. */
  readonly freshForMs: number;
  /** Milliseconds from anywhere. */
  readonly now?: () => number;
}

/** `store`, of which all files lie flat in a folder, under names that are {@link isId}. */
export class IfAny implements Lower {
  readonly #store: Lower;
  readonly #options: Required<IfAnyOptions>;
  #mayHave = true;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #looking: Promise<void> | undefined;
  /** Of the folder when it had none: a file that comes makes it another. */
  #emptyAt: bigint | undefined;

  constructor(store: Lower, { now = () => performance.now(), ...options }: IfAnyOptions) {
    this.#store = store;
    this.#options = { ...options, now };
  }

  async open(path: string, serves?: boolean): Promise<StoredObject | undefined> {
    return (await this.#any()) ? this.#store.open(path, serves) : undefined;
  }

  async version(path: string): Promise<Seen | undefined> {
    return (await this.#any()) ? this.#store.version(path) : undefined;
  }

  versionNow(path: string): Seen | 'none' | undefined {
    const { freshForMs, now } = this.#options;
    if (now() - this.#lookedAt < freshForMs) return this.#mayHave ? this.#store.versionNow(path) : 'none';
    void this.#any();
    return undefined;
  }

  /** Asked when something is to be given up for lost, which must not rest on what was so a moment ago. */
  isGone(path: string): Promise<boolean> {
    return this.#store.isGone(path);
  }

  delete(path: string): Promise<boolean> {
    return this.#store.delete(path);
  }

  setAsideAs(path: string, reason: string): Promise<boolean> {
    return this.#store.setAsideAs(path, reason);
  }

  list(): AsyncIterable<ListedObject> {
    return this.#store.list();
  }

  async #any(): Promise<boolean> {
    const { freshForMs, now } = this.#options;
    if (now() - this.#lookedAt >= freshForMs) {
      this.#looking ??= this.#look().finally(() => {
        this.#looking = undefined;
      });
      await this.#looking;
    }
    return this.#mayHave;
  }

  async #look(): Promise<void> {
    const { folder, now } = this.#options;
    const at = now();
    try {
      // Looked at before it is read: what comes meanwhile makes it another the next time.
      const { mtimeNs } = await stat(folder, { bigint: true });
      if (mtimeNs !== this.#emptyAt) {
        const age = BigInt(Date.now()) * 1_000_000n - mtimeNs;
        this.#mayHave = (await readdir(folder)).some(isId);
        // Two changes within a tick of the file system's clock look like one.
        this.#emptyAt = this.#mayHave || age < COARSE_NS ? undefined : mtimeNs;
      }
    } catch {
      // Whoever looks for a file will be told of it.
      this.#mayHave = true;
      this.#emptyAt = undefined;
    }
    this.#lookedAt = at;
  }
}
