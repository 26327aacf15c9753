// How far a round of the scrub has come, noted in the store, so that a restart goes on there.
import type { Place, Upkeep } from '../store/upkeep.ts';

export interface Position {
  /** When the round began: milliseconds since 1970. */
  readonly startedAt: number;
  /** Undefined at its beginning. */
  readonly after: Place | undefined;
  /** Checked in this round so far. */
  readonly objects: number;
  readonly bytes: number;
  readonly findings: number;
}

/** An earlier one wrote places otherwise. */
const FORMAT = 2;

/** Undefined if there is none, or none that makes sense: then a round begins. */
export async function loadPosition(upkeep: Pick<Upkeep, 'readProgress'>): Promise<Position | undefined> {
  const text = await upkeep.readProgress();
  if (text === undefined) return undefined;
  try {
    const { after, bytes, findings, format, objects, startedAt } = JSON.parse(text);
    const numbers = [startedAt, objects, bytes, findings];
    if (format !== FORMAT || !numbers.every((one) => Number.isFinite(one) && one >= 0)) return undefined;
    if (after !== undefined && typeof after !== 'string') return undefined;
    return { startedAt, after: after as Place | undefined, objects, bytes, findings };
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return undefined;
    throw error;
  }
}

/** @throws CacheError `storage` */
export async function savePosition(upkeep: Pick<Upkeep, 'writeProgress'>, position: Position): Promise<void> {
  await upkeep.writeProgress(`${JSON.stringify({ format: FORMAT, ...position })}\n`);
}
