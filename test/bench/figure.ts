// What a benchmark finds out, and how it is printed.
import type { Owner } from '../fixtures/defer.ts';

/** One line of the output. */
export interface Figure {
  /** What was measured and how. */
  readonly what: string;
  readonly measured: string;
  /** What it is compared with, measured in the same run. */
  readonly beside: string;
  readonly ratio?: number;
  /** In words, with whether it is reached; none if there is only something to see. */
  readonly goal?: { readonly text: string; readonly reached: boolean };
}

export type Benchmark = (t: Owner) => Promise<readonly Figure[]>;

export function format({ what, measured, beside, ratio, goal }: Figure): string {
  const parts = [`${what}: ${measured}`, beside];
  if (ratio !== undefined) parts.push(`ratio ${ratio.toFixed(2)}`);
  parts.push(goal === undefined ? 'no goal' : `goal ${goal.text}: ${goal.reached ? 'ok' : 'MISSED'}`);
  return parts.join(' | ');
}

export function atLeast(ratio: number, least: number): Pick<Figure, 'ratio' | 'goal'> {
  return { ratio, goal: { text: `>= ${least}`, reached: ratio >= least } };
}

export function atMost(ratio: number, most: number): Pick<Figure, 'ratio' | 'goal'> {
  return { ratio, goal: { text: `<= ${most}`, reached: ratio <= most } };
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}

export function milliseconds(ms: number): string {
  return `${ms.toFixed(2)} ms`;
}

export const MIB = 1 << 20;
