// `list`: what the folder holds, a line an object, also beside a running service.

import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import type { Writable } from 'node:stream';
import type { Config } from '../config.ts';
import { CacheError, describe } from '../errors.ts';
import { type Log, printable } from '../log.ts';
import { FolderStore } from '../store/folder-store.ts';
import type { ListedObject } from '../store/store.ts';

const COLUMNS = ['SIZE', 'AGE', 'LAST USE', 'ORIGIN', 'PATH'] as const;

/**
 * Writes one line per object to `out`: JSON with `json`, else a table.
 * @throws CacheError `startup` if there is no such folder
 */
export async function list(config: Config, json: boolean, out: Writable, log: Log): Promise<void> {
  await readdir(config.cacheDir).catch((error) => {
    throw new CacheError(
      'startup',
      `can't read the cache folder ${config.cacheDir}: ${describe(error)}`,
      error,
    );
  });
  const now = Date.now();
  const store = new FolderStore(config.cacheDir, log);
  if (!json) await write(out, row(...COLUMNS));
  for await (const object of store.list()) {
    await write(out, json ? JSON.stringify(record(object)) : tableRow(object, now));
  }
}

async function write(out: Writable, line: string): Promise<void> {
  if (!out.write(`${line}\n`)) await once(out, 'drain');
}

function record(object: ListedObject): Record<string, unknown> {
  const { path = null, size, storedAt, lastUse, origin, sha256 = null, narHash = null } = object;
  return { path, size, storedAt, lastUse, origin, sha256, narHash };
}

function tableRow(
  { path = '(not recognised)', size, storedAt, lastUse, origin }: ListedObject,
  now: number,
): string {
  return row(
    bytes(size),
    age(now - storedAt.getTime()),
    age(now - lastUse.getTime()),
    printable(origin),
    printable(path),
  );
}

function row(size: string, stored: string, used: string, origin: string, path: string): string {
  return `${size.padStart(10)}  ${stored.padStart(5)}  ${used.padStart(8)}  ${origin.padEnd(30)}  ${path}`;
}

/** `bytes` with a binary unit and about three digits. */
export function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = count;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** A time span as one number and its unit, e.g. `3 d`. */
export function age(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}
