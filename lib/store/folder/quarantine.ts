// What turned out damaged is set aside, not deleted: it may tell somebody why. What can't be moved is deleted, because a
// damaged file must not stand in the way of a good one.
import { createHash } from 'node:crypto';
import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { openForReading, storageError } from '../../disk/files.ts';
import { rename, unlink, writing } from '../../disk/writing.ts';
import { isCacheError, isErrno } from '../../errors.ts';
import type { Emit } from '../../events.ts';
import { hashPartIn } from '../../nix/narinfo.ts';
import { pathOf } from '../../nix/object-name.ts';
import { idOf, isId } from '../object-id.ts';
import type { ObjectMeta } from '../store.ts';
import type { Aside, Remains } from '../upkeep.ts';
import { versionOf } from './files.ts';
import { decodeHeader, HEADER_BYTES } from './header.ts';
import { MOST_TELLING_BYTES, noteIn } from './note-of.ts';
import { note } from './notes.ts';
import { give, makeFolderIn } from './own.ts';
import { putBack } from './put-back.ts';

export function quarantineFolder(folder: string): string {
  return join(folder, 'quarantine');
}

/** Deletes what was set aside of the object with this id. */
export async function dropQuarantined(folder: string, id: string): Promise<void> {
  for (const file of await filesOf(folder, id)) await rm(file, { force: true });
}

/** What was set aside of the object with this id, a small one, damaged as it may be. */
export async function readQuarantined(folder: string, id: string): Promise<Remains[]> {
  const files = (await filesOf(folder, id)).filter((file) => !file.endsWith('.reason'));
  return Promise.all(files.map(remainsIn));
}

/** What is left of the object in that file. */
export async function remainsIn(file: string): Promise<Remains> {
  const bytes = await readFile(file).catch(() => Buffer.alloc(0));
  try {
    const { length, meta } = decodeHeader(bytes);
    return { meta, body: bytes.subarray(length) };
  } catch (error) {
    if (!isCacheError(error, 'damaged')) throw error;
    return { meta: undefined, body: bytes };
  }
}

/**
 * All that lies there because it was damaged. An interrupted removal has left a narinfo, right as it was, with nothing beside it that
 * says why; a full disk, or a kill between two steps, may have left what is damaged without that, too.
 */
export async function listQuarantined(folder: string): Promise<Aside[]> {
  const aside = quarantineFolder(folder);
  const entries = await readdir(aside, { withFileTypes: true }).catch(() => []);
  const names = entries.filter((entry) => entry.isFile()).map(({ name }) => name);
  const found: Aside[] = [];
  for (const name of names.sort()) {
    const id = name.slice(0, 64);
    if (!isId(id) || !/^-\d+$/.test(name.slice(64))) continue;
    const file = join(aside, name);
    const text = await readFile(`${file}.reason`, 'utf8').catch(() => '');
    const [label = '', ...reasons] = text.trimEnd().split('\n');
    if (label !== '') {
      found.push({ id, key: keyOf(name), label, reason: reasons.join(' ') });
      continue;
    }
    const head = await headOf(file);
    if (isNarInfoOf(id, head)) continue;
    const reason = 'nothing beside it says why';
    found.push({ id, key: keyOf(name), label: pathIn(head, id) ?? name, reason });
  }
  return found;
}

function keyOf(name: string): string {
  return join('quarantine', name);
}

/** What the header of the object with this id says, which was set aside under that key, if all of it is so. */
export async function wholeFile(folder: string, key: string, id: string): Promise<ObjectMeta | undefined> {
  return wholeObject(await readFile(join(folder, key)).catch(() => Buffer.alloc(0)), id);
}

/** Enough of it to know a narinfo, and what it names. */
async function headOf(file: string): Promise<Buffer> {
  const head = Buffer.alloc(MOST_TELLING_BYTES);
  const handle = await openForReading(file).catch(() => undefined);
  if (handle === undefined) return Buffer.alloc(0);
  try {
    return head.subarray(0, (await handle.read(head, 0, head.length, 0)).bytesRead);
  } catch {
    return Buffer.alloc(0);
  } finally {
    await handle.close();
  }
}

/** Whether it is the narinfo with that id, whole; one without a header has nothing that could say that it is not. */
function isNarInfoOf(id: string, bytes: Buffer): boolean {
  const meta = wholeObject(bytes, id);
  if (meta !== undefined) return meta.kind === 'narinfo';
  const hash = hashPartIn(bytes.toString('latin1'));
  return bytes[0] !== 0x7b && hash !== undefined && idOf(pathOf({ kind: 'narinfo', hash })) === id;
}

/** What the header says of the object with this id, if all of that is so. */
function wholeObject(bytes: Buffer, id: string): ObjectMeta | undefined {
  try {
    const { length, meta } = decodeHeader(bytes);
    const sha256 = createHash('sha256').update(bytes.subarray(length)).digest('hex');
    return idOf(meta.path) === id && sha256 === meta.sha256 ? meta : undefined;
  } catch (error) {
    if (isCacheError(error, 'damaged')) return undefined;
    throw error;
  }
}

/** The path, if the header can still be read, and has this id. */
function pathIn(bytes: Buffer, id: string): string | undefined {
  const path = /^\{"format":\d+,"path":"([^"\\]+)"/.exec(bytes.toString('utf8', 0, HEADER_BYTES))?.[1];
  return path !== undefined && idOf(path) === id ? path : undefined;
}

async function filesOf(folder: string, id: string): Promise<string[]> {
  const aside = quarantineFolder(folder);
  const names = await readdir(aside).catch(() => []);
  return names.filter((one) => one.startsWith(`${id}-`)).map((name) => join(aside, name));
}

/**
 * Moves `file`, the object of `path`, to the quarantine, with the reason beside it; how large it was. If it has been replaced since
 * that version was found damaged, it stays, and the answer is undefined.
 * @throws CacheError `storage` if it can be neither moved nor deleted
 */
export async function quarantine(
  folder: string,
  path: string,
  file: string,
  version: string,
  reason: string,
  emit: Emit,
): Promise<number | undefined> {
  const bytes = await bytesOf(file, version);
  if (bytes === undefined) return undefined;
  const aside = quarantineFolder(folder);
  const target = join(aside, `${basename(file)}-${Date.now()}`);
  try {
    await makeFolderIn(folder, aside);
    await rename(file, target);
  } catch (error) {
    // The file may have been replaced, or moved, while this waited for its turn.
    if ((await bytesOf(file, version)) === undefined) return undefined;
    await unlink(file).catch((again) => {
      if (isErrno(again, 'ENOENT')) return;
      throw storageError(`${path} is damaged (${reason}) and can't be moved or deleted`, again);
    });
    emit({ kind: 'set-aside', path, reason, to: target, error });
    return bytes;
  }
  if ((await bytesOf(target, version)) === undefined) {
    // A good file that came in the place of the damaged one goes back.
    await putBackNoted(folder, target, file).catch((error) => {
      throw storageError(`can't put ${target} back to ${file}`, error);
    });
    return undefined;
  }
  // The reason, for people who find the file there; if it can't be written, the log still has it.
  const why = `${target}.reason`;
  await writing(() => writeFile(why, `${path}\n${reason}\n`)).then(
    () => give(folder, why),
    () => {},
  );
  emit({ kind: 'set-aside', path, reason, to: target, error: undefined });
  return bytes;
}

/** Puts back what was set aside; who has learned meanwhile what names a NAR does not know it. Throws what the disk says. */
export async function putBackNoted(folder: string, aside: string, place: string): Promise<void> {
  await note(folder, async () => {
    const one = noteIn(await headOf(aside));
    return one === undefined ? [] : [one];
  });
  await putBack(aside, place);
}

/** How large the file is; undefined if it is gone, or of another version. */
async function bytesOf(file: string, version: string): Promise<number | undefined> {
  const stats = await stat(file).catch(() => undefined);
  return stats !== undefined && versionOf(stats) === version ? stats.size : undefined;
}
