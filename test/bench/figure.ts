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
  readonly goal?: Goal;
}

export interface Goal {
  readonly text: string;
  /** How much of it is reached: 1 and more is all of it. */
  readonly share: number;
}

/** What a benchmark runs in. */
export interface Bench extends Owner {
  /** Whether to be quick rather than exact: one round, less of everything, and only what is told as a ratio. */
  readonly short: boolean;
}

export type Benchmark = (t: Bench) => Promise<readonly Figure[]>;

/** What a short run is about: a gross regression, whatever else the machine does. */
export function isGross({ goal }: Figure): boolean {
  return goal !== undefined && goal.share < 0.5;
}

export function isMissed({ goal }: Figure): boolean {
  return goal !== undefined && goal.share < 1;
}

export function format(figure: Figure): string {
  const { what, measured, beside, ratio, goal } = figure;
  const parts = [`${what}: ${measured}`, beside];
  if (ratio !== undefined) parts.push(`ratio ${ratio.toFixed(2)}`);
  parts.push(goal === undefined ? 'no goal' : `goal ${goal.text}: ${isMissed(figure) ? 'MISSED' : 'ok'}`);
  return parts.join(' | ');
}

export function atLeast(ratio: number, least: number): Pick<Figure, 'ratio' | 'goal'> {
  return { ratio, goal: { text: `>= ${least}`, share: ratio / least } };
}

export function atMost(ratio: number, most: number): Pick<Figure, 'ratio' | 'goal'> {
  return { ratio, goal: { text: `<= ${most}`, share: most / ratio } };
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
