// Two stores as one: what is put goes to the upper one, and what that does not have is looked for in the lower one, to which nobody
// writes. An object that both have is the upper one's.

import type { Spool } from '../scratch.ts';
import type { ListedObject, ObjectMeta, PutOptions, ReadyBody, Seen, Store, StoredObject } from '../store.ts';

/** What is asked of both. */
export type Lower = Omit<Store, 'put' | 'ready' | 'readyBody' | 'sync'>;

export class Overlay implements Store {
  readonly #upper: Store;
  readonly #lower: Lower;

  constructor(upper: Store, lower: Lower) {
    this.#upper = upper;
    this.#lower = lower;
  }

  async open(path: string, serves?: boolean): Promise<StoredObject | undefined> {
    return (await this.#upper.open(path, serves)) ?? this.#lower.open(path, serves);
  }

  readyBody(path: string): ReadyBody | undefined {
    return this.#upper.readyBody(path);
  }

  ready(path: string): StoredObject | undefined {
    return this.#upper.ready(path);
  }

  async version(path: string): Promise<Seen | undefined> {
    return (await this.#upper.version(path)) ?? this.#lower.version(path);
  }

  versionNow(path: string): Seen | 'none' | undefined {
    const upper = this.#upper.versionNow(path);
    return upper === 'none' ? this.#lower.versionNow(path) : upper;
  }

  async isGone(path: string): Promise<boolean> {
    return (await this.#upper.isGone(path)) && this.#lower.isGone(path);
  }

  async put(body: Spool | Buffer, meta: ObjectMeta, options: PutOptions): Promise<'stored' | 'exists'> {
    const put = await this.#upper.put(body, meta, options);
    const { when } = options;
    if (put === 'stored' || typeof when === 'string') return put;
    // It may be the lower one's that is to be replaced: as long as nobody has done so, the upper one has none.
    if ((await this.#lower.version(meta.path))?.version !== when.version) return put;
    return this.#upper.put(body, meta, { ...options, when: 'absent' });
  }

  sync(path: string): Promise<void> {
    return this.#upper.sync(path);
  }

  async delete(path: string): Promise<boolean> {
    const upper = await this.#upper.delete(path);
    return (await this.#lower.delete(path)) || upper;
  }

  async setAsideAs(path: string, reason: string): Promise<boolean> {
    return (await this.#upper.setAsideAs(path, reason)) || this.#lower.setAsideAs(path, reason);
  }

  async *list(): AsyncIterable<ListedObject> {
    yield* this.#upper.list();
    yield* this.#lower.list();
  }
}
