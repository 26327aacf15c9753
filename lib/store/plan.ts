// Which objects go, least recently used first, until the limits hold. A store path is one unit: its narinfo, its listing, and
// its NAR if no other narinfo needs that. Pure: from a catalogue to a list.
import type { Catalogue } from './catalogue.ts';
import type { Place } from './upkeep.ts';

/** A disk on the network has a clock of its own. */
export const CLOCKS_DIFFER_MS = 60_000;

/** Times between these two. */
export interface Stretch {
  readonly fromMs: number;
  readonly toMs: number;
}

export interface Limits {
  /** Bytes that are to be freed at least, as far as that can be done; and to be left at most. */
  readonly freeBytes: number;
  readonly mostBytes: number;
  /** What was not used since then goes in any case; by the clock of the disk. */
  readonly expireBeforeMs: number;
  /** What was used since then stays in any case. */
  readonly keepSinceMs: number;
  /** What has such a time, of a clock that was set meanwhile, was used as lately. */
  readonly alsoKeep: readonly Stretch[];
  /** Now. What was used later than that was used before the clock was set back. */
  readonly nowMs: number;
  /** Where it does not stay, what was used lately keeps what it refers to all the same. */
  readonly keepPushed: boolean;
  /** A pushed NAR that no narinfo has named since then is no package: its upload was never finished, or replaced. */
  readonly orphanBeforeMs: number;
  /** Ids of narinfos whose paths are pinned. */
  readonly pinned: ReadonlySet<string>;
}

/** An object that goes. */
export interface Removal {
  readonly place: Place;
  readonly id: string;
  readonly kind: 'narinfo' | 'nar' | 'listing' | 'other';
  readonly bytes: number;
  /** When it was last used, as far as the plan knows. */
  readonly usedMs: number;
  /** Of a narinfo: its NAR, where that does not go with it because others need it still. */
  readonly sharedNar?: Removal;
}

/** Objects that go together, the narinfo first. */
export type Unit = readonly Removal[];

export interface Plan {
  /** In the order in which they are to go, until the limits hold; to be read once. */
  readonly units: Iterable<Unit>;
  /** Of all objects in the catalogue. */
  readonly totalBytes: number;
  readonly objects: number;
  /** Bytes of what must not go, by reason; a NAR that several paths share counts for the first of them. */
  readonly kept: { readonly pushed: number; readonly pinned: number; readonly used: number };
}

/** What belongs to what. */
interface Relations {
  /** By row of a NAR: how many narinfos need it. */
  readonly users: Uint32Array;
  /** By row of a narinfo: one more than the row of its listing; 0 if it has none. */
  readonly listings: Uint32Array;
}

/** `referencesOf` a narinfo are the ids of the narinfos of what it refers to. */
export function planRemovals(
  catalogue: Catalogue,
  limits: Limits,
  referencesOf: (row: number) => Iterable<string> = () => [],
): Plan {
  const relations = relationsOf(catalogue);
  const kept = { pushed: 0, pinned: 0, used: 0 };
  let totalBytes = 0;
  const shared = new Set<number>();
  const onceOnly = (part: number) => {
    if (shared.has(part)) return 0;
    if ((relations.users[part] as number) > 1) shared.add(part);
    return catalogue.bytes(part);
  };
  const lastUse = new Float64Array(catalogue.size);
  const possible: number[] = [];
  const young: number[] = [];
  for (let row = 0; row < catalogue.size; row++) {
    totalBytes += catalogue.bytes(row);
    if (isPart(catalogue, relations, row)) continue;
    const parts = partsOf(catalogue, relations, row);
    const usedMs = Math.max(...parts.map((part) => meaning(catalogue.usedMs(part), limits)));
    const why = whyKept(catalogue, limits, row, parts, usedMs);
    if (why === undefined) possible.push(row);
    else for (const part of parts) kept[why] += onceOnly(part);
    if (why === 'used' && isPushedPath(catalogue, row)) young.push(row);
    lastUse[row] = usedMs;
  }
  const needed = neededBy(catalogue, young, referencesOf);
  const candidates = possible.filter((row) => needed[row] === 0);
  for (const row of possible)
    if (needed[row] === 1) for (const part of partsOf(catalogue, relations, row)) kept.used += onceOnly(part);
  const at = (row: number) => lastUse[row] as number;
  candidates.sort((a, b) => at(a) - at(b));
  const freeBytes = Math.max(limits.freeBytes, totalBytes - limits.mostBytes);
  const units = function* (): Generator<Unit> {
    let freedBytes = 0;
    for (const row of candidates) {
      if (freedBytes >= freeBytes && at(row) >= limits.expireBeforeMs) return;
      const unit = unitOf(catalogue, relations, row);
      for (const { bytes } of unit) freedBytes += bytes;
      yield unit;
    }
  };
  return { units: units(), totalBytes, objects: catalogue.size, kept };
}

function isPushedPath(catalogue: Catalogue, row: number): boolean {
  return catalogue.kind(row) === 'narinfo' && catalogue.pushed(row);
}

/**
 * By row, 1 for what these paths refer to, and what that refers to, as far as it was pushed: nobody else has it, and without it they
 * are of no use. What came from an upstream comes again.
 */
function neededBy(
  catalogue: Catalogue,
  paths: readonly number[],
  referencesOf: (row: number) => Iterable<string>,
): Uint8Array {
  const needed = new Uint8Array(catalogue.size);
  const waiting = [...paths];
  for (const row of waiting) needed[row] = 1;
  for (let row = waiting.pop(); row !== undefined; row = waiting.pop()) {
    for (const id of referencesOf(row)) {
      const other = catalogue.find(id);
      if (other === undefined || needed[other] === 1 || !isPushedPath(catalogue, other)) continue;
      needed[other] = 1;
      waiting.push(other);
    }
  }
  return needed;
}

/** The narinfo of this row with what goes with it, given that those before it are gone. */
function unitOf(catalogue: Catalogue, relations: Relations, row: number): Unit {
  const { users } = relations;
  const nar = narOf(catalogue, row);
  const parts = partsOf(catalogue, relations, row).filter((part) => part !== nar);
  const [head, ...others] = parts.map((part) => removal(catalogue, part)) as [Removal, ...Removal[]];
  if (nar === undefined) return [head, ...others];
  // An object with which nothing is kept has no kind of its own.
  const narRemoval: Removal = { ...removal(catalogue, nar), kind: 'nar' };
  users[nar] = (users[nar] as number) - 1;
  return users[nar] === 0 ? [head, ...others, narRemoval] : [{ ...head, sharedNar: narRemoval }, ...others];
}

function relationsOf(catalogue: Catalogue): Relations {
  const users = new Uint32Array(catalogue.size);
  const listings = new Uint32Array(catalogue.size);
  for (let row = 0; row < catalogue.size; row++) {
    const ref = catalogue.refOf(row);
    if (ref === undefined) continue;
    if (catalogue.kind(row) === 'narinfo') users[ref] = (users[ref] as number) + 1;
    else if (catalogue.kind(row) === 'listing') listings[ref] = row + 1;
  }
  return { users, listings };
}

/** Whether it belongs to the unit of a narinfo. */
function isPart(catalogue: Catalogue, { users }: Relations, row: number): boolean {
  const kind = catalogue.kind(row);
  if (kind === 'listing') return catalogue.refOf(row) !== undefined;
  return kind !== 'narinfo' && (users[row] as number) > 0;
}

function partsOf(catalogue: Catalogue, { listings }: Relations, row: number): number[] {
  if (catalogue.kind(row) !== 'narinfo') return [row];
  const listing = (listings[row] as number) - 1;
  return [row, listing < 0 ? undefined : listing, narOf(catalogue, row)].filter((part) => part !== undefined);
}

function narOf(catalogue: Catalogue, row: number): number | undefined {
  return catalogue.kind(row) === 'narinfo' ? catalogue.refOf(row) : undefined;
}

function whyKept(
  catalogue: Catalogue,
  limits: Limits,
  row: number,
  parts: readonly number[],
  usedMs: number,
): 'pushed' | 'pinned' | 'used' | undefined {
  if (catalogue.kind(row) === 'narinfo' && limits.pinned.has(catalogue.id(row))) return 'pinned';
  const isOrphan = catalogue.kind(row) === 'nar' && usedMs < limits.orphanBeforeMs;
  if (limits.keepPushed && !isOrphan && parts.some((part) => catalogue.pushed(part))) return 'pushed';
  return usedMs >= limits.keepSinceMs ? 'used' : undefined;
}

/** What a file's time means by the clock as it is now. */
function meaning(usedMs: number, limits: Limits): number {
  if (isIn(limits.alsoKeep, usedMs)) return limits.nowMs;
  return isOfFuture(usedMs, limits) ? limits.keepSinceMs - 1 : usedMs;
}

function isIn(stretches: readonly Stretch[], ms: number): boolean {
  return stretches.some(({ fromMs, toMs }) => fromMs <= ms && ms <= toMs);
}

function isOfFuture(usedMs: number, { nowMs }: Limits): boolean {
  return usedMs > nowMs + CLOCKS_DIFFER_MS;
}

/** Rows whose times are of a clock that was ahead, and what they mean: as they are, they would not get old before it is that late. */
export function* astray(catalogue: Catalogue, limits: Limits): Generator<{ row: number; meansMs: number }> {
  for (let row = 0; row < catalogue.size; row++) {
    const usedMs = catalogue.usedMs(row);
    if (isOfFuture(usedMs, limits)) yield { row, meansMs: meaning(usedMs, limits) };
  }
}

function removal(catalogue: Catalogue, row: number): Removal {
  return {
    place: catalogue.place(row),
    id: catalogue.id(row),
    kind: catalogue.kind(row),
    bytes: catalogue.bytes(row),
    usedMs: catalogue.usedMs(row),
  };
}
