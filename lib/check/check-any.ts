// That the disk lets nobody read one file is said of that file, and no reason to leave out the others.

import { isUnreadable } from '../disk/files.ts';
import { describe, isCacheError } from '../errors.ts';
import type { Located } from '../store/upkeep.ts';
import type { Checker } from './check-object.ts';
import type { Checked } from './finding.ts';

/** As {@link Checker.check}; what can't be read is doubtful. */
export async function checkAny(checker: Checker, source: Located): Promise<Checked> {
  try {
    return await checker.check(source.place);
  } catch (error) {
    if (!isCacheError(error, 'storage') || !isUnreadable(error.cause)) throw error;
    const known = { ...source, version: '', name: undefined, label: source.id } as const;
    return { state: 'found', bytes: 0, findings: [{ ...known, reason: describe(error), kind: 'doubtful' }] };
  }
}
