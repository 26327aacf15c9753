// Narinfos on their way from an upstream into the store. Whoever asked for one has it already.
import { setMaxListeners } from 'node:events';
import { describe, isCacheError } from '../errors.ts';
import type { Emit } from '../events.ts';
import { type ObjectName, pathOf } from '../nix/object-name.ts';
import type { StoreHash } from '../nix/store-path.ts';
import type { PutOptions, Store } from '../store/store.ts';
import { storeBytes } from '../store/store-body.ts';
import { Slots } from '../sync/slots.ts';

/** So many are put on the disk together by its thread; where there is none, downloads should not have to stand behind hundreds. */
const AT_ONCE = 16;
/** Some kilobytes each. A disk that hangs does not have more than these pile up in memory. */
const MOST = 5000;
const NEVER = new AbortController().signal;
setMaxListeners(0, NEVER);

export class Keeping {
  readonly #store: Store;
  readonly #emit: Emit;
  #underWay = 0;
  readonly #slots = new Slots(AT_ONCE);

  constructor(store: Store, emit: Emit) {
    this.#store = store;
    this.#emit = emit;
  }

  /** Stores it, unless it is to replace nothing and something of its name is there, which may have been pushed while the upstream was asked. Never rejects. */
  async keep(
    hash: StoreHash,
    text: string,
    origin: string,
    when: PutOptions['when'] = 'absent',
  ): Promise<'stored' | 'exists' | 'unkept'> {
    const name: ObjectName = { kind: 'narinfo', hash };
    const refused = (why: string) => {
      this.#emit({ kind: 'narinfo-unkept', path: pathOf(name), why });
      return 'unkept' as const;
    };
    if (this.#underWay === MOST) return refused(`${MOST} others wait for the disk`);
    this.#underWay++;
    const release = await this.#slots.acquire(NEVER);
    try {
      const options = { when, durable: false };
      return await storeBytes(this.#store, name, Buffer.from(text), origin, options);
    } catch (error) {
      return refused(isCacheError(error) ? error.message : describe(error));
    } finally {
      release();
      this.#underWay--;
    }
  }
}
