// Fills a cache folder with many small packages, a narinfo and a NAR each, as if an upstream's had been fetched over three
// months. Synchronous: nothing else goes on meanwhile.
import { createHash } from 'node:crypto';
import { closeSync, futimesSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { encodeNix32 } from '../../lib/nix/nix32.ts';
import { encodeHeader } from '../../lib/store/folder/header.ts';
import type { ObjectMeta } from '../../lib/store/store.ts';
import { noise } from '../fixtures/nar.ts';

const ORIGIN = 'https://cache.example.org';
const DAY = 86_400;
const DAYS = 90;

/** Makes so many packages; the paths of their narinfos. */
export function fillFolder(folder: string, packages: number): string[] {
  for (let i = 0; i < 256; i++) {
    mkdirSync(join(folder, i.toString(16).padStart(2, '0')), { recursive: true });
  }
  const now = Date.now() / 1000;
  const paths: string[] = [];
  for (let i = 0; i < packages; i++) {
    const used = now - DAY * (1 + ((i * 7919) % DAYS));
    const hash = encodeNix32(sha256(`path ${i}`).subarray(0, 20));
    const body = Buffer.alloc(200 + (i % 1500), i & 255);
    const fileHash = encodeNix32(sha256(`file ${i}`));
    put(folder, `/nar/${fileHash}.nar.xz`, 'nar', body, used);
    const references = Array.from({ length: i % 20 }, (_, n) => `${hash}-reference-${n}`).join(' ');
    const narInfo =
      `StorePath: /nix/store/${hash}-package-${i}\nURL: nar/${fileHash}.nar.xz\nCompression: xz\n` +
      `FileHash: sha256:${fileHash}\nFileSize: ${body.length}\nNarHash: sha256:${fileHash}\nNarSize: 100000\n` +
      `References: ${references}\nSig: cache.example.org-1:${'A'.repeat(86)}==\n`;
    const path = `/${hash}.narinfo`;
    put(folder, path, 'narinfo', Buffer.from(narInfo), used);
    paths.push(path);
  }
  return paths;
}

/** What a client asks for of one package. */
export interface Filled {
  readonly narInfoPath: string;
  /** As its narinfo has it here. */
  readonly narPath: string;
}

/** Makes so many packages whose NARs have that size, as if an upstream's had just been fetched. */
export function fillNars(folder: string, packages: number, bytes: number): Filled[] {
  const used = Date.now() / 1000;
  return Array.from({ length: packages }, (_, i) => {
    const body = noise(bytes, `nar ${i} of ${bytes}`);
    const hash = encodeNix32(sha256(`path ${i} of ${bytes}`).subarray(0, 20));
    const fileHash = encodeNix32(sha256(body));
    const narInfo =
      `StorePath: /nix/store/${hash}-package-${i}\nURL: nar/${fileHash}.nar.xz\nCompression: xz\n` +
      `FileHash: sha256:${fileHash}\nFileSize: ${bytes}\nNarHash: sha256:${encodeNix32(sha256(hash))}\nNarSize: ${4 * bytes}\n` +
      `References: \nSig: cache.example.org-1:${'A'.repeat(86)}==\n`;
    const narInfoPath = `/${hash}.narinfo`;
    for (const path of [narInfoPath, `/nar/${fileHash}.nar.xz`])
      mkdirSync(join(folder, sha256(path).toString('hex').slice(0, 2)), { recursive: true });
    put(folder, `/nar/${fileHash}.nar.xz`, 'nar', body, used);
    put(folder, narInfoPath, 'narinfo', Buffer.from(narInfo), used);
    return { narInfoPath, narPath: `/nar/${hash}-${fileHash}.nar.xz` };
  });
}

function put(folder: string, path: string, kind: ObjectMeta['kind'], body: Buffer, used: number): void {
  const id = sha256(path).toString('hex');
  const meta = { path, kind, origin: ORIGIN, storedAt: new Date(used * 1000), size: body.length };
  const header = encodeHeader({ ...meta, sha256: sha256(body).toString('hex') });
  const file = openSync(join(folder, id.slice(0, 2), id), 'w');
  try {
    writeSync(file, Buffer.concat([header, body]));
    futimesSync(file, used, used);
  } finally {
    closeSync(file);
  }
}

function sha256(data: string | Buffer): Buffer {
  return createHash('sha256').update(data).digest();
}
