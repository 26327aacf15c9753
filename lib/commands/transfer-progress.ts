// How far an export or import is, shown to whoever watches; failures as they come.

import type { TransferWatch } from '../carry/transfer.ts';
import { formatBytes } from '../format.ts';
import { createLog, type Log, printable } from '../log.ts';
import { ProgressLine, type Terminal } from './progress.ts';

export class TransferProgress implements TransferWatch {
  /** Paths. */
  taken = 0;
  there = 0;
  failures = 0;
  /** Its lines do not run into the bar. */
  readonly log: Log;
  readonly #out: Terminal;
  readonly #line: ProgressLine;
  #bytes = 0;
  #total = 0;
  #besides = 0;

  constructor(out: Terminal) {
    this.#out = out;
    this.#line = new ProgressLine(out);
    this.log = createLog((line) => this.#print(line));
  }

  total(paths: number): void {
    this.#total = paths;
    this.#show();
  }

  bytes(count: number): void {
    this.#bytes += count;
    this.#show();
  }

  done(how: 'taken' | 'there'): void {
    this[how]++;
    this.#show();
  }

  besides(): void {
    this.#besides++;
  }

  looked(objects: number): void {
    this.#line.update(1, () => `looking for what belongs to the paths, in ${objects} objects so far`);
  }

  failed(label: string, why: string): void {
    this.failures++;
    this.#print(`${printable(`${label}: ${why}`)}\n`);
  }

  #show(): void {
    const paths = this.taken + this.there + this.failures;
    this.#line.update(Math.min(1, paths / Math.max(1, this.#total)), (elapsedMs) => {
      const rate = (this.#bytes * 1000) / Math.max(1, elapsedMs);
      return `${paths} of ${this.#total} paths, ${formatBytes(this.#bytes)}, ${formatBytes(rate)}/s`;
    });
  }

  #print(text: string): void {
    this.end();
    this.#out.write(text);
  }

  /** Takes the bar away. */
  end(): void {
    this.#line.clear();
  }

  /** What was done, for people; `verb` is `exported`, `imported`, … */
  summary(verb: string): string {
    const parts = [`${verb} ${this.taken} paths, ${formatBytes(this.#bytes)}`];
    if (this.#besides > 0) parts.push(`${this.#besides} listings, logs and the like`);
    if (this.there > 0) parts.push(`${this.there} were there already`);
    if (this.failures > 0) parts.push(`${this.failures} could not be had`);
    return parts.join('; ');
  }
}
