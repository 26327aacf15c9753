// How far an export or import is: a bar where somebody watches, else a line now and then; failures as they come.
import type { Writable } from 'node:stream';
import { formatBytes } from '../format.ts';
import type { TransferWatch } from '../keep/transfer.ts';
import { createLog, type Log, printable } from '../log.ts';

/** What a command writes to: answers go to one, all else to the other. */
export interface Output {
  readonly stdout: Writable;
  readonly stderr: Writable & { readonly isTTY?: boolean };
}

const BAR_MS = 100;
const LINE_MS = 10_000;
const BAR_WIDTH = 30;

export class TransferProgress implements TransferWatch {
  /** Paths. */
  taken = 0;
  there = 0;
  failures = 0;
  /** Its lines do not run into the bar. */
  readonly log: Log;
  readonly #out: Output['stderr'];
  readonly #started = performance.now();
  #bytes = 0;
  #total = 0;
  #shownAt = performance.now();
  #barShown = false;

  constructor(out: Output['stderr']) {
    this.#out = out;
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

  failed(label: string, why: string): void {
    this.failures++;
    this.#print(`${printable(`${label}: ${why}`)}\n`);
  }

  #show(): void {
    const now = performance.now();
    const { isTTY = false } = this.#out;
    if (now - this.#shownAt < (isTTY ? BAR_MS : LINE_MS)) return;
    this.#shownAt = now;
    const paths = this.taken + this.there + this.failures;
    const rate = this.#bytes / Math.max(0.001, (now - this.#started) / 1000);
    const line = `${paths} of ${this.#total} paths, ${formatBytes(this.#bytes)}, ${formatBytes(rate)}/s`;
    if (!isTTY) {
      this.#out.write(`${line}\n`);
      return;
    }
    const filled = Math.min(BAR_WIDTH, Math.round((BAR_WIDTH * paths) / Math.max(1, this.#total)));
    this.#out.write(`\r\x1b[K[${'#'.repeat(filled).padEnd(BAR_WIDTH, '-')}] ${line}`);
    this.#barShown = true;
  }

  #print(text: string): void {
    this.end();
    this.#out.write(text);
  }

  /** Takes the bar away. */
  end(): void {
    if (this.#barShown) this.#out.write('\r\x1b[K');
    this.#barShown = false;
  }

  /** What was done, for people; `verb` is `exported`, `imported`, … */
  summary(verb: string): string {
    const parts = [`${verb} ${this.taken} paths, ${formatBytes(this.#bytes)}`];
    if (this.there > 0) parts.push(`${this.there} were there already`);
    if (this.failures > 0) parts.push(`${this.failures} could not be had`);
    return parts.join('; ');
  }
}
