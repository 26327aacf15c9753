// What whoever looks after a store needs of it, and nobody else: by ids and places, never by file, so that it can be done to any
// store. A place is where one object lies; two may have the same id, where another program has left one beside ours. Nothing of
// this counts as a use.

import type { Limits, Plan, Unit } from './plan.ts';
import type { ObjectMeta } from './store.ts';

/** Where one object lies: for its store to understand, for others to note and to hand back. */
export type Place = string & { readonly __place: true };

/** An object by where it lies. */
export interface Located {
  readonly place: Place;
  /** See {@link idOf}. */
  readonly id: string;
}

/** What a store holds. */
export interface Totals {
  readonly objects: number;
  /** With what the store adds to each. */
  readonly bytes: number;
}

/** Known of the object in a place after one short look. */
export interface Facts {
  /** With what the store adds. */
  readonly bytes: number;
  /** Last use: milliseconds since 1970 by the store's clock. */
  readonly usedMs: number;
  readonly kind: 'narinfo' | 'nar' | 'listing' | 'other';
  readonly pushed: boolean;
  /** The id of the object it makes no sense without, or that makes none without it: a narinfo's NAR, a listing's narinfo. */
  readonly ref: string | undefined;
  /** Of an index of debug information: the id of the NAR that it leads to. */
  readonly archive?: string;
}

/** What is called for every piece that was read: it may wait, and ends everything by throwing. */
export type Pause = (bytes: number) => Promise<void> | void;

/** An object that is looked into, without a trace. Close it. */
export interface Inspected extends Located {
  /** Differs when the object was replaced. */
  readonly version: string;
  /** With what the store adds; `size` is the body's. */
  readonly bytes: number;
  readonly size: number;
  /** What the store keeps with it; undefined for one of another program, with which nothing is kept, and where `damage` says why. */
  readonly meta: ObjectMeta | undefined;
  /** What is wrong with that, or with the place; undefined if nothing is. The body may be right all the same. */
  readonly damage: string | undefined;
  /** The path that it has, as far as that, or what is left of it, tells. */
  readonly path: string | undefined;
  /**
   * Bytes of the body, each piece lent until the next is asked for.
   * @throws CacheError `damaged` if they can't be read, `storage`, or what the pause throws
   */
  pieces(from?: number, to?: number): AsyncGenerator<Buffer>;
  close(): Promise<void>;
}

/** What was set aside because it was damaged, with what was said of it then. */
export interface Aside {
  readonly id: string;
  /** Its path, or whatever else it was called. */
  readonly label: string;
  readonly reason: string;
  /** Where it is kept: for its store to understand. */
  readonly key: string;
}

/** What of an object that nobody is served any more is left. */
export interface Remains {
  /** Undefined where that is damaged, or never was. */
  readonly meta: ObjectMeta | undefined;
  /** Its body as far as the rest can be told from it; all of it where not. */
  readonly body: Buffer;
}

/** An object that names a NAR: a narinfo, or an index of debug information. */
export interface Namer {
  readonly place: Place;
  readonly kind: 'narinfo' | 'debug-info';
  /** The id of the NAR. */
  readonly nar: string;
}

export interface NamersOptions {
  readonly storeDir: string;
  readonly signal?: AbortSignal;
  /** Told of what can't be read. */
  readonly unreadable?: (why: string) => void;
  /** Told when so many objects are to be looked at that it takes long; whoever is told has it learned for the next time. */
  readonly lookingAtAll?: () => void;
}

/** What comes of a collection, step by step. */
export type Step =
  /** So many objects can't be read, and are left as they are; one of them, and why. */
  | { readonly kind: 'unreadable'; readonly objects: number; readonly first: string }
  /** Before anything goes. */
  | ({ readonly kind: 'summary' } & Omit<Plan, 'units'>)
  /** What is to go next. */
  | { readonly kind: 'units'; readonly units: readonly Unit[] }
  /** What of that has gone. */
  | ({ readonly kind: 'removed' } & Totals);

/** A name that stands for a store path, and for all that this refers to: no collection takes any of it. */
export interface Pin {
  readonly name: string;
  readonly storePath: string;
}

export interface Upkeep {
  /** What the store holds, as far as that is known without counting. */
  readonly totals: Totals | undefined;
  /**
   * Counts it; from then on {@link totals} knows.
   * @throws CacheError `storage`, or the signal's reason
   */
  count(signal: AbortSignal): Promise<Totals>;
  /** Has `changed` called after every change of {@link totals}, and, with `full`, when there was no room. */
  watch(changed: (full: boolean) => void): void;
  /**
   * When another process last changed much of the store, as far as it said so; only to be compared.
   * @see changing
   */
  changedElsewhere(): Promise<number>;
  /** Runs what changes much of the store beside a service, so that this counts again. */
  changing<T>(run: () => Promise<T>): Promise<T>;
  /** Resolves when no service answers any more what has just been removed. */
  heeded(): Promise<void>;

  /**
   * Every place, always in the same order; those behind `after`.
   * @throws CacheError `storage`
   */
  places(after?: Place): AsyncGenerator<Located>;
  /** @throws CacheError `storage` */
  inspect(place: Place, pause: Pause): Promise<Inspected | undefined>;
  /**
   * The object with this id, wherever it lies; `moving` while a collection has it in its hands, which it may put back.
   * @throws CacheError `storage`
   */
  inspectId(id: string, pause: Pause): Promise<Inspected | 'moving' | undefined>;
  /**
   * All that names one of these NARs, by their ids. What can't be read is taken for nothing that does.
   * @throws CacheError `storage`, or the signal's reason
   */
  namers(nars: ReadonlySet<string>, options: NamersOptions): AsyncGenerator<Namer>;
  /**
   * Bodies of at most `mostBytes` of whatever is neither narinfo nor NAR, with their paths; what can't be read is left out. `looked` is
   * told how many objects were looked at.
   * @throws CacheError `storage`
   */
  smallBodies(
    mostBytes: number,
    looked: (objects: number) => void,
  ): AsyncGenerator<{ readonly path: string; readonly body: Buffer }>;

  /**
   * Sets the object aside, where nobody is served it; false if it has been replaced since it had that version. `label` is what it is
   * called.
   * @throws CacheError `storage` if it can be neither moved nor deleted
   */
  setAside(found: Pick<Inspected, 'place' | 'version'>, label: string, reason: string): Promise<boolean>;
  /** All that lies aside because it was damaged. */
  listAside(): Promise<Aside[]>;
  /** What the store kept with it, if that and its body are whole. */
  wholeAside(aside: Aside): Promise<ObjectMeta | undefined>;
  /** Gives it its place again, unless another one has come there; that place. */
  putBack(aside: Aside): Promise<Place>;
  /** Deletes what was set aside of the object with this id. */
  dropAside(id: string): Promise<void>;
  /** Whether there is an object with this id. */
  has(id: string): Promise<boolean>;

  /**
   * Moves the object with this id where nobody is served it, right as it is, for whoever removes it and more: it survives a power loss,
   * and {@link remains} finds it, until {@link forget}.
   * @throws CacheError `storage`
   */
  withdraw(id: string): Promise<void>;
  /** What was withdrawn or set aside of the object with this id, a small one. */
  remains(id: string): Promise<Remains[]>;
  /** Ends what {@link withdraw} began; also drops what was set aside of it. */
  forget(id: string): Promise<void>;
  /**
   * Removes the NAR with this id, so that no power loss brings it back, unless, once nobody can find it any more, it turns out to be
   * `needed`; its bytes, undefined if it stays or there is none.
   * @throws CacheError `storage`
   */
  removeNar(id: string, needed: () => Promise<boolean>): Promise<number | undefined>;
  /** Removes what lies there, if it does, so that no power loss brings it back. */
  remove(place: Place): Promise<void>;
  /**
   * Plans a collection by these limits, and does it, where that is wished, beside whoever reads and writes. Nothing goes on before
   * the next step is asked for.
   * @throws CacheError `storage`, or the signal's reason
   */
  collect(
    limits: Limits,
    how: { readonly storeDir: string; readonly remove: boolean; readonly tell: boolean },
    signal: AbortSignal,
  ): AsyncGenerator<Step>;

  /** @throws CacheError `storage` if one can't be read: then nothing may be collected */
  pins(): Promise<Pin[]>;
  /**
   * Sets a pin, in the place of another one of that name.
   * @throws CacheError `config` for a name that can't be one, `storage`
   */
  pin(pin: Pin): Promise<void>;
  /** Whether there was such a pin. */
  unpin(name: string): Promise<boolean>;

  /** How far a check of everything has come, as who checks has written it; undefined if there is none. May be lost without harm. */
  readProgress(): Promise<string | undefined>;
  /** @throws CacheError `storage` */
  writeProgress(text: string): Promise<void>;
}
