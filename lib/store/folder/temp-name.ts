// Temporary files are named after the process whose they are: a service that starts must not take those of a command that runs.
import { randomBytes } from 'node:crypto';
import { OWN } from './writer.ts';

/** A name of its own for a file of this process. */
export function tempName(): string {
  return `${OWN}-${randomBytes(12).toString('hex')}`;
}
