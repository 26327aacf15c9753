// `push.netrc` in the cache folder: the token for pushing to a cache whose configuration names nobody who may. It is a netrc, so
// that Nix takes it as it is. It is made once, is whole or not there, and survives a power loss. Only the owner of the folder can
// read it, also if the service runs as root.
import { randomBytes } from 'node:crypto';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parseToken } from '../../config/access.ts';
import { openForReading, storageError, syncFolder } from '../../disk/files.ts';
import { writing } from '../../disk/writing.ts';
import { CacheError, describe } from '../../errors.ts';
import { give, makeFolderIn } from './own.ts';
import { putBack } from './put-back.ts';
import { tempName } from './writer.ts';

/** How clients call the machine they run on; curl wants IPv6 addresses without brackets here. */
const THIS_MACHINE = ['localhost', '127.0.0.1', '::1'];
const MAX_BYTES = 64 * 1024;

interface PushNetrc {
  readonly secret: string;
  /** Whether others than its owner can read it. */
  readonly exposed: boolean;
}

export function pushNetrcIn(folder: string): string {
  return join(folder, 'push.netrc');
}

/**
 * What the folder's file says; undefined if there is none.
 * @throws CacheError `invalid` for one that says nothing of use, `storage` for one that can't be read
 */
export async function readPushNetrc(folder: string): Promise<PushNetrc | undefined> {
  const file = pushNetrcIn(folder);
  const handle = await openForReading(file);
  if (handle === undefined) return undefined;
  try {
    const stats = await handle.stat();
    if (!stats.isFile()) throw new CacheError('invalid', `${file} is no file`);
    if (stats.size > MAX_BYTES) throw new CacheError('invalid', `${file} has ${stats.size} bytes`);
    const text = await handle.readFile('utf8').catch((error) => {
      throw storageError(`can't read ${file}`, error);
    });
    return { secret: secretIn(text, file), exposed: (stats.mode & 0o077) !== 0 };
  } finally {
    await handle.close();
  }
}

/**
 * Makes the file, with a new token, unless there is one by now. `host` is how clients call the machine if that is none of its usual
 * names.
 * @throws CacheError `storage`
 */
export async function makePushNetrc(folder: string, host: string | undefined): Promise<void> {
  const file = pushNetrcIn(folder);
  const temporary = join(folder, 'tmp', tempName());
  const secret = randomBytes(24).toString('hex');
  const hosts = new Set(host === undefined ? THIS_MACHINE : [...THIS_MACHINE, host]);
  const lines = [...hosts].map((name) => `machine ${name} login push password ${secret}\n`);
  try {
    await makeFolderIn(folder, join(folder, 'tmp'));
    // Created with 0600, so that others can't read it even for a moment.
    const handle = await writing(() => open(temporary, 'wx', 0o600));
    try {
      await writing(() => handle.writeFile(lines.join('')));
      // Given to the owner of the folder, who may start the service the next time, or read the token.
      await give(folder, handle);
      await writing(() => handle.sync());
    } finally {
      await handle.close();
    }
    // Another service that starts at this moment may have been faster: then its token counts for both.
    await putBack(temporary, file);
    await syncFolder(folder);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw storageError(`can't make ${file}`, error);
  }
}

/** The password for this machine. Other lines are the operator's own. */
function secretIn(text: string, file: string): string {
  const words = text.split(/\s+/).values();
  const found = new Set<string>();
  let machine: string | undefined;
  // An iterator, because a keyword also takes the word behind it.
  for (const word of words) {
    if (word === 'default') machine = undefined;
    if (!['machine', 'login', 'account', 'password'].includes(word)) continue;
    const value = words.next().value ?? '';
    if (word === 'machine') machine = value;
    if (word === 'password' && machine !== undefined && THIS_MACHINE.includes(machine)) found.add(value);
  }
  const [secret, ...others] = found;
  if (secret === undefined) throw new CacheError('invalid', `${file}: found no password for localhost`);
  if (others.length > 0) {
    throw new CacheError('invalid', `${file}: found several passwords for this machine, expected one`);
  }
  try {
    return parseToken(secret);
  } catch (error) {
    // Not thrown as it is, with code `config`: the configuration is not at fault.
    throw new CacheError('invalid', `${file}: ${describe(error)}`);
  }
}
