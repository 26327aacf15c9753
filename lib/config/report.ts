// The mistakes found in one configuration file, collected so that all are told at once: a line each, in the
// order of the file, with file and line, key path, what was found and what is expected.

import { CacheError } from '../errors.ts';
import { printable } from '../log.ts';
import { type KeyPath, keyLines } from './lines.ts';
import { showPath } from './show.ts';

export class Report {
  readonly #file: string;
  readonly #lineOf: (path: KeyPath) => number | undefined;
  readonly #problems: { readonly line: number | undefined; readonly text: string }[] = [];

  /** `text` must be TOML that can be parsed. */
  constructor(file: string, text: string) {
    this.#file = file;
    this.#lineOf = keyLines(text);
  }

  /** Notes a mistake; `sentence` says what was found and what is expected. */
  add(path: KeyPath, sentence: string): void {
    const line = this.#lineOf(path);
    const place = line === undefined ? this.#file : `${this.#file}:${line}`;
    this.#problems.push({ line, text: printable(`${place}: ${showPath(path)}: ${sentence}`) });
  }

  /** Throws everything noted so far as one `config` error, if anything was. */
  throwIfAny(): void {
    if (this.#problems.length === 0) return;
    const ordered = this.#problems.toSorted((a, b) => (a.line ?? 0) - (b.line ?? 0));
    throw new CacheError('config', ordered.map((problem) => problem.text).join('\n'));
  }
}
