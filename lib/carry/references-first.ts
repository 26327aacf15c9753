// Store paths in the order in which a cache must get them: what a path refers to before the path itself, so that whoever
// stops half-way leaves no path whose references are to come.
import type { NarInfo } from '../nix/narinfo.ts';
import { hashPartOf, type StoreHash } from '../nix/store-path.ts';

/** Finds a path's narinfo; `label` is what the path is called where it is referred to. Undefined for what is left out. */
export type Load<T> = (hash: StoreHash, label: string) => Promise<T | undefined>;

/** How many narinfos are looked up at once. */
const WIDTH = 16;

interface Visit<T> {
  readonly value: T;
  readonly references: Iterator<string>;
}

/** All that `load` finds of the closures of `roots` (hash → label), each once, references first. */
export async function* referencesFirst<T extends { readonly info: NarInfo }>(
  roots: Iterable<readonly [StoreHash, string]>,
  load: Load<T>,
): AsyncGenerator<T> {
  const seen = new Set<StoreHash>();
  const stack: Visit<T>[] = [];
  const visit = async (hash: StoreHash, label: string) => {
    if (seen.has(hash)) return;
    seen.add(hash);
    const value = await load(hash, label);
    if (value !== undefined) stack.push({ value, references: value.info.references[Symbol.iterator]() });
  };
  for (const [hash, label] of roots) {
    await visit(hash, label);
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const next = top.references.next();
      if (!next.done) await visit(hashPartOf(next.value), next.value);
      else {
        stack.pop();
        yield top.value;
      }
    }
  }
}

/** Calls `load` for the closures, many at once, for it to have them at hand afterwards; how many paths there are. */
export async function lookAhead<T extends { readonly info: NarInfo }>(
  roots: Iterable<readonly [StoreHash, string]>,
  load: Load<T>,
): Promise<number> {
  const labels = new Map(roots);
  const waiting = [...labels];
  while (waiting.length > 0) {
    await Promise.all(
      waiting.splice(0, WIDTH).map(async ([hash, label]) => {
        for (const reference of (await load(hash, label))?.info.references ?? []) {
          const next = hashPartOf(reference);
          if (labels.has(next)) continue;
          labels.set(next, reference);
          waiting.push([next, reference]);
        }
      }),
    );
  }
  return labels.size;
}

/** Begins some of `items` before the ones ahead of them have ended; what each `begin` answers is called in their order. */
export async function inOrder<T>(
  items: AsyncIterable<T>,
  ahead: number,
  begin: (item: T) => Promise<() => Promise<void>>,
): Promise<void> {
  const begun: Promise<() => Promise<void>>[] = [];
  const finish = async () => (await begun.shift())?.();
  try {
    for await (const item of items) {
      const work = begin(item);
      // An error surfaces when this piece is awaited.
      work.catch(() => {});
      begun.push(work);
      if (begun.length >= ahead) await finish();
    }
    while (begun.length > 0) await finish();
  } finally {
    await Promise.allSettled(begun);
  }
}
