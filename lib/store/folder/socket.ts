// Sockets that lie in a folder: who listens on one lives, whatever number its process has and in whatever container it runs, and who
// is gone listens no more, though its file stays. Sockets take short names only, and Node 20 and 22 cut a longer one without a
// word and listen elsewhere: a folder with a longer name is reached another way. Some disks take no sockets at all.
import { type FileHandle, open } from 'node:fs/promises';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { join, relative } from 'node:path';
import { unlink } from '../../disk/writing.ts';
import { CacheError, describe, isErrno } from '../../errors.ts';

/** What every system takes; Linux takes four more. */
const MOST_BYTES = 103;
/** Connections at once to one socket, and how long one may stand idle. */
const MOST_CONNECTIONS = 32;
const IDLE_MS = 10_000;
/** Of a line, on either side. */
const MOST_LINE = 2048;

interface Way {
  /** Short enough. */
  readonly path: string;
  close(): Promise<void>;
}

/** @throws CacheError `storage` if there is none, or what the disk says */
async function wayTo(folder: string, name: string): Promise<Way> {
  const whole = join(folder, name);
  for (const path of [whole, fromHere(whole)])
    if (Buffer.byteLength(path) <= MOST_BYTES) return { path, close: async () => {} };
  if (process.platform !== 'linux') {
    throw new CacheError(
      'storage',
      `${whole} has more than the ${MOST_BYTES} bytes that a socket's name may have`,
    );
  }
  const handle: FileHandle = await open(folder, 'r');
  return { path: `/proc/self/fd/${handle.fd}/${name}`, close: () => handle.close() };
}

function fromHere(path: string): string {
  try {
    return relative(process.cwd(), path);
  } catch {
    // The working directory is gone.
    return path;
  }
}

/** What whoever connects is told; `line` is what that has said, and the answer, if there is one, a line too. */
export interface Talk {
  greeting(): string;
  answer(line: string): string | undefined;
}

export interface Listening {
  close(): Promise<void>;
}

/**
 * Listens on the socket `name` in `folder`, which must not be there. It holds up no end of the process.
 * @throws what the disk says, or CacheError `storage`
 */
export async function listenIn(folder: string, name: string, talk: Talk): Promise<Listening> {
  const way = await wayTo(folder, name);
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.unref();
    socket.on('close', () => sockets.delete(socket));
    converse(socket, talk);
  });
  server.maxConnections = MOST_CONNECTIONS;
  try {
    await listening(server, way.path);
  } catch (error) {
    // Some disks create a file before they refuse the socket.
    if (!isErrno(error, 'EADDRINUSE')) await unlink(join(folder, name)).catch(() => {});
    await way.close();
    throw error;
  }
  server.unref();
  return {
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
      await way.close();
    },
  };
}

function listening(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    // Only users who may write to the folder may ask who has it.
    server.listen(path, () => {
      server.off('error', reject);
      server.on('error', () => {});
      resolve();
    });
  });
}

function converse(socket: Socket, talk: Talk): void {
  socket.on('error', () => {});
  socket.setTimeout(IDLE_MS, () => socket.destroy());
  socket.write(`${talk.greeting()}\n`);
  onLines(socket, (line) => {
    const answer = talk.answer(line);
    if (answer === undefined) socket.destroy();
    else socket.write(`${answer}\n`);
  });
}

/** Ends it where a line is longer than any of ours. */
function onLines(socket: Socket, onLine: (line: string) => void): void {
  let rest = '';
  socket.on('data', (chunk: Buffer) => {
    rest += chunk.toString('latin1');
    for (let end = rest.indexOf('\n'); end >= 0 && !socket.destroyed; end = rest.indexOf('\n')) {
      const line = rest.slice(0, end);
      rest = rest.slice(end + 1);
      onLine(line);
    }
    if (rest.length > MOST_LINE) socket.destroy();
  });
}

/**
 * What came of knocking at a socket: `lines` that were said, as many as were wanted if they came in time; `nobody` behind the file
 * that is there; `none`: no file; or `unknown`, and why.
 */
export type Knocked =
  | { readonly kind: 'alive'; readonly lines: readonly string[] }
  | { readonly kind: 'nobody' }
  | { readonly kind: 'none' }
  | { readonly kind: 'unknown'; readonly why: string };

/** What whoever listens says of itself who notes what it puts (see notes.ts); others may say more. */
export const NOTING = JSON.stringify({ notes: true });

export function isNoting(knocked: Knocked): boolean {
  if (knocked.kind !== 'alive') return false;
  try {
    return JSON.parse(knocked.lines[0] ?? '').notes === true;
  } catch {
    return false;
  }
}

/** Connects to a socket, says `say`, and waits until `wanted` lines have come, for at most `waitMs`. Never rejects. */
export async function knock(
  folder: string,
  name: string,
  { say, wanted, waitMs }: { readonly say?: string; readonly wanted: number; readonly waitMs: number },
): Promise<Knocked> {
  let way: Way;
  try {
    way = await wayTo(folder, name);
  } catch (error) {
    return isErrno(error, 'ENOENT') ? { kind: 'none' } : { kind: 'unknown', why: describe(error) };
  }
  try {
    return await ask(way.path, say, wanted, waitMs);
  } finally {
    await way.close();
  }
}

function ask(path: string, say: string | undefined, wanted: number, waitMs: number): Promise<Knocked> {
  return new Promise((resolve) => {
    const lines: string[] = [];
    let connected = false;
    const socket = createConnection(path);
    const end = (knocked: Knocked) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(knocked);
    };
    const alive = () => end({ kind: 'alive', lines });
    // A process that is stopped or busy counts as alive.
    const timer = setTimeout(alive, waitMs);
    socket.on('connect', () => {
      connected = true;
      if (say !== undefined) socket.write(`${say}\n`);
      if (wanted === 0) alive();
    });
    onLines(socket, (line) => {
      lines.push(line);
      if (lines.length === wanted) alive();
    });
    socket.on('close', alive);
    socket.on('error', (error) => {
      if (connected || isErrno(error, 'EAGAIN')) return alive();
      if (isErrno(error, 'ECONNREFUSED', 'ENOTSOCK')) return end({ kind: 'nobody' });
      if (isErrno(error, 'ENOENT', 'ENOTDIR')) return end({ kind: 'none' });
      end({ kind: 'unknown', why: describe(error) });
    });
  });
}
