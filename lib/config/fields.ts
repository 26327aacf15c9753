// Small checkers, from which the form of the file is put together in config.ts. Each takes a parsed value and
// its place, and returns the checked value; or it notes what is wrong and returns undefined, so that the
// others go on and one run finds every mistake.

import { isCacheError } from '../errors.ts';
import type { KeyPath } from './lines.ts';
import type { Report } from './report.ts';
import { show } from './show.ts';

interface Place {
  readonly path: KeyPath;
  readonly report: Report;
  /** The keys of the file's outermost table: a key written below a header by mistake is often one of them. */
  readonly topKeys: readonly string[];
}

export type Check<T> = (value: unknown, place: Place) => T | undefined;

/** A string, converted; the converter throws a `config` error that says what it found and expected. */
export function string<T>(convert: (text: string) => T): Check<T> {
  return (value, { path, report }) => {
    if (typeof value !== 'string') {
      report.add(path, `found ${show(value)}, expected a string in quotes`);
      return undefined;
    }
    try {
      return convert(value);
    } catch (error) {
      if (!isCacheError(error, 'config')) throw error;
      report.add(path, error.message);
      return undefined;
    }
  };
}

export const boolean: Check<boolean> = (value, { path, report }) => {
  if (typeof value === 'boolean') return value;
  report.add(path, `found ${show(value)}, expected true or false`);
  return undefined;
};

/** One of these words. */
export function choice<T extends string>(...words: readonly T[]): Check<T> {
  return (value, { path, report }) => {
    const word = words.find((one) => one === value);
    if (word !== undefined) return word;
    report.add(path, `found ${show(value)}, expected ${oneOf(words.map((one) => `"${one}"`))}`);
    return undefined;
  };
}

/** An integer of this range, both ends included; smol-toml gives integers as bigints. */
export function integer(min: number, max: number): Check<number> {
  return (value, { path, report }) => {
    if (typeof value === 'bigint' && value >= min && value <= max) return Number(value);
    report.add(path, `found ${show(value)}, expected an integer from ${min} to ${max}`);
    return undefined;
  };
}

/** An array; `expected` describes it. An element that failed its check is undefined in the result. */
export function array<T>(item: Check<T>, expected: string): Check<(T | undefined)[]> {
  return (value, place) => {
    if (Array.isArray(value)) return value.map((v, i) => checkOf(item, v, [...place.path, i], place));
    place.report.add(place.path, `found ${show(value)}, expected ${expected}`);
    return undefined;
  };
}

type Fields = Readonly<Record<string, Check<unknown>>>;
type Values<F extends Fields> = { readonly [K in keyof F]: ReturnType<F[K]> | undefined };

/** A table with these keys and no others; a key that is absent or failed its check is undefined in the result. */
export function table<F extends Fields>(
  fields: F,
  required: readonly (keyof F & string)[] = [],
): Check<Values<F>> {
  const known = Object.keys(fields);
  return (value, place) => {
    if (!isTable(value)) {
      place.report.add(place.path, `found ${show(value)}, expected a table with ${oneOf(known)}`);
      return undefined;
    }
    const checked: [string, unknown][] = [];
    for (const [key, item] of Object.entries(value)) {
      const path = [...place.path, key];
      const check = Object.hasOwn(fields, key) ? fields[key] : undefined;
      if (check !== undefined) checked.push([key, checkOf(check, item, path, place)]);
      else place.report.add(path, `found an unknown key, expected ${suggest(key, known, place.topKeys)}`);
    }
    for (const key of required) {
      if (!Object.hasOwn(value, key))
        place.report.add([...place.path, key], 'found no such key, expected one');
    }
    return Object.fromEntries(checked) as Values<F>;
  };
}

/** What the check makes of a value at this path. One that refers to what the environment lacks is undefined, and told of already. */
function checkOf<T>(check: Check<T>, value: unknown, path: KeyPath, place: Place): T | undefined {
  return value === undefined ? undefined : check(value, { ...place, path });
}

function isTable(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

/** A sentence that lists more keys than these helps nobody. */
const LISTED_KEYS = 8;

function suggest(key: string, known: readonly string[], topKeys: readonly string[]): string {
  const all = known.length > LISTED_KEYS ? 'a key that the shipped cache.toml describes' : oneOf(known);
  if (topKeys.includes(key)) return `${all} (${key} belongs at the top, above the first header)`;
  const distances = known.map((name) => ({ name, distance: editDistance(key, name) }));
  const best = distances.toSorted((a, b) => a.distance - b.distance)[0];
  const near = best !== undefined && best.distance <= Math.max(1, Math.floor(best.name.length / 3));
  return near ? `${all} (did you mean ${best.name}?)` : all;
}

function oneOf(names: readonly string[]): string {
  const last = names.at(-1) ?? 'nothing';
  return names.length < 2 ? last : `${names.slice(0, -1).join(', ')} or ${last}`;
}

/** Levenshtein's distance, deaf to case, `-` and `_`; Infinity where the lengths alone rule out a likeness. */
function editDistance(a: string, b: string): number {
  const [from, to] = [a, b].map((text) => text.toLowerCase().replaceAll(/[-_]/g, '')) as [string, string];
  if (Math.abs(from.length - to.length) > to.length) return Number.POSITIVE_INFINITY;
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let i = 0; i < from.length; i++) {
    const next = [i + 1];
    for (let j = 0; j < to.length; j++) {
      const replaced = (row[j] ?? 0) + (from[i] === to[j] ? 0 : 1);
      next.push(Math.min(replaced, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row[to.length] ?? 0;
}
