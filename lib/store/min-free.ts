// How much is to be left free on the disk where the configuration does not say.
import type { GcConfig } from '../config/config.ts';

/** Bytes, of a disk of so many. */
export function minFree({ minFreeBytes }: Pick<GcConfig, 'minFreeBytes'>, total: number): number {
  return minFreeBytes ?? Math.min(0.05 * total, 10 * 2 ** 30);
}
