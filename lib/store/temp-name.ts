// Temporary files are named after the process whose they are: a service that starts must not take those of a command that runs.
import { randomBytes } from 'node:crypto';
import { isErrno } from '../errors.ts';

/** A name of its own for a file of this process. */
export function tempName(): string {
  return `${process.pid}-${randomBytes(12).toString('hex')}`;
}

/** Whether it is a file of another process that runs, as far as that is seen from here: a container sees none but its own. */
export function isOfAnother(name: string): boolean {
  const pid = Number(/^([1-9]\d*)-/.exec(name)?.[1] ?? process.pid);
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return isErrno(error, 'EPERM');
  }
}
