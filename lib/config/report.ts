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

  /** Paths whose values must not be quoted, as {@link showPath} has them. */
  readonly #concealed = new Set<string>();

  /** `text` must be TOML that can be parsed. */
  constructor(file: string, text: string) {
    this.#file = file;
    this.#lineOf = keyLines(text);
  }

  /** Nothing of the value there is to be told: it may be a secret that came to stand in the wrong place. */
  conceal(path: KeyPath): void {
    this.#concealed.add(showPath(path));
  }

  /** Notes a mistake; `sentence` says what was found and what is expected. */
  add(path: KeyPath, what: string): void {
    const sentence = this.#concealed.has(showPath(path)) ? withoutFound(what) : what;
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

function withoutFound(sentence: string): string {
  const [, expected = 'something else'] =
    /expected (?!.*expected )(.*?)(?:, found .*)?$/s.exec(sentence) ?? [];
  return `found something with a value of the environment in it, expected ${expected}`;
}
