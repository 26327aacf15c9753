// By what a store, and whoever looks after it, refer to an object: its path may be long, and a set of a million must be small.
import { hash } from 'node:crypto';

/** The id of the object with this path: its SHA-256 in hexadecimal, which is the name of the object's file. */
export function idOf(path: string): string {
  return hash('sha256', path);
}

/** Whether a file of this name may be an object. */
export function isId(name: string): boolean {
  return /^[0-9a-f]{64}$/.test(name);
}
