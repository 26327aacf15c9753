// Which start of the machine this is.
import { readFileSync } from 'node:fs';

let known: string | undefined;

/** Another one after every start of the machine; empty where that can't be seen. */
export function bootId(): string {
  try {
    known ??= readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
    return known;
  } catch {
    return '';
  }
}
