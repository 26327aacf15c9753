// `list`: what the folder holds, a line an object, also beside a running service.

import { once } from 'node:events';
import type { Writable } from 'node:stream';
import type { Config } from '../config/config.ts';
import { openStorage } from '../engine.ts';
import { logSink } from '../event-log.ts';
import { formatAge, formatBytes } from '../format.ts';
import { type Log, printable } from '../log.ts';
import type { ListedObject } from '../store/store.ts';

const COLUMNS = ['SIZE', 'AGE', 'LAST USE', 'ORIGIN', 'PATH'] as const;

/**
 * Writes one line per object to `out`: JSON with `json`, else a table.
 * @throws CacheError `startup` if there is no such folder
 */
export async function list(config: Config, json: boolean, out: Writable, log: Log): Promise<void> {
  const now = Date.now();
  const { store } = await openStorage(config, logSink(log));
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
    formatBytes(size),
    formatAge(now - storedAt.getTime()),
    formatAge(now - lastUse.getTime()),
    printable(origin),
    printable(path),
  );
}

function row(size: string, stored: string, used: string, origin: string, path: string): string {
  return `${size.padStart(10)}  ${stored.padStart(5)}  ${used.padStart(8)}  ${origin.padEnd(30)}  ${path}`;
}
