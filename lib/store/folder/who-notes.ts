// Whether everybody who may put objects into the folder notes what they name (notes.ts): services and commands that do say so on their
// sockets, those of earlier versions do not.
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { unlink } from '../../disk/writing.ts';
import { isNoting, type Knocked, knock, listenIn, NOTING } from './socket.ts';
import { OWN, tempName } from './writer.ts';

/** Who lives says so at once; where it does not, nothing is learned this time. */
const KNOCK_MS = 1000;
/** What sockets in `tmp/` are called. */
export const SOCKET = /\.sock(?:\.new)?$/;

/** Where sockets are not found, nobody can tell who else is here. */
export async function takesSockets(folder: string): Promise<boolean> {
  const tmp = join(folder, 'tmp');
  const name = `${tempName()}.sock.new`;
  const listening = await listenIn(tmp, name, { greeting: () => NOTING, answer: () => undefined });
  try {
    return isNoting(await knock(tmp, name, { wanted: 1, waitMs: KNOCK_MS }));
  } finally {
    await unlink(join(tmp, name)).catch(() => {});
    await listening.close();
  }
}

/** The sockets on which nobody listens any more; undefined if somebody may be here who puts objects and makes no notes. */
export async function deadSockets(folder: string): Promise<Set<string> | undefined> {
  const tmp = join(folder, 'tmp');
  const ask = (where: string, name: string): Promise<Knocked> =>
    knock(where, name, { wanted: 1, waitMs: KNOCK_MS });
  // A service on another machine has its socket here as well.
  const service = await ask(folder, 'service.sock');
  if (service.kind !== 'none' && !isNoting(service)) return undefined;
  const dead = new Set<string>();
  for (const name of await readdir(tmp)) {
    if (!SOCKET.test(name) || name.startsWith(OWN)) continue;
    const knocked = await ask(tmp, name);
    if (knocked.kind === 'nobody') dead.add(name);
    else if (knocked.kind !== 'none' && !isNoting(knocked)) return undefined;
  }
  return dead;
}
