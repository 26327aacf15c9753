// SOCKS 5 (RFC 1928), with or without user and password (RFC 1929). Names go to the proxy as they are, which
// resolves them. Each message goes out as a whole: trojan and microsocks read no further than the first segment of one.
import net from 'node:net';
import { ipv6Bytes } from '../addresses.ts';
import type { Credentials, SocksProxy } from '../config/proxy.ts';
import { CacheError } from '../errors.ts';
import { ask, failure, quote, type Reply, type Step } from './handshake.ts';
import { authority, type Target } from './target.ts';

const VERSION = 5;
const METHOD = { none: 0, password: 2, unacceptable: 0xff } as const;
const ADDRESS = { ipv4: 1, name: 3, ipv6: 4 } as const;
/** The longest reply: four bytes, an address of one byte of length and 255 more, a port. */
const REPLY_LIMIT = 4 + 256 + 2;

const REPLIES = [
  'succeeded',
  'general failure',
  'not allowed by its rules',
  'network unreachable',
  'host unreachable',
  'connection refused',
  'TTL expired',
  'command not supported',
  'address type not supported',
] as const;
/**
 * Turns a connection to the proxy into one to the target.
 *
 * @throws CacheError `proxy` when it does not let us in or is no proxy, `upstream` when it does not lead to the target:
 * others may be reached through it.
 */
export async function socksThrough(
  socket: net.Socket,
  proxy: SocksProxy,
  target: Target,
  signal: AbortSignal,
): Promise<void> {
  const to = authority(target);
  const command = connectCommand(target);
  const common = { code: 'proxy', signal } as const;
  const hello = { ...common, doing: `proxy ${proxy.label}, greeted for ${to}`, late: 'proxy' } as const;
  await authenticate(socket, proxy.credentials, hello);

  const step = {
    ...common,
    doing: `proxy ${proxy.label}, asked to connect to ${to}`,
    // `ssh -D` says nothing when the target can't be reached: it hangs up.
    ended: 'upstream',
    late: 'timeout',
  } as const;
  const reply = await ask(socket, command, REPLY_LIMIT, step, (bytes) => parseReply(bytes, step));
  if (reply === 0) return;
  throw new CacheError(
    'upstream',
    `proxy ${proxy.label} refused to connect to ${to}: ${REPLIES[reply] ?? 'unknown reason'} (SOCKS reply ${reply})`,
  );
}

async function authenticate(
  socket: net.Socket,
  credentials: Credentials | undefined,
  step: Step,
): Promise<void> {
  const methods = credentials ? [METHOD.none, METHOD.password] : [METHOD.none];
  const greeting = Uint8Array.of(VERSION, methods.length, ...methods);
  const method = await ask(socket, greeting, 2, step, (bytes) => parsePair(bytes, [VERSION], step));
  if (method === METHOD.unacceptable) {
    throw failure(step, credentials ? 'it accepts no user name and password' : 'it wants authentication');
  }
  if (!methods.some((offered) => offered === method)) {
    throw failure(step, `it chose authentication method ${method}, which was not offered`);
  }
  if (method !== METHOD.password || !credentials) return;

  const [user, password] = [Buffer.from(credentials.username), Buffer.from(credentials.password)];
  const request = Buffer.concat([Buffer.of(1, user.length), user, Buffer.of(password.length), password]);
  // Servers that answer with the version of SOCKS instead of that of RFC 1929 exist, and curl lets them.
  const status = await ask(socket, request, 2, step, (bytes) => parsePair(bytes, [1, VERSION], step));
  if (status !== 0) throw failure(step, `it refused the user name or password (status ${status})`);
}

/** The second byte of a reply of two, whose first is a version. */
function parsePair(bytes: Buffer, versions: readonly number[], step: Step): Reply<number> | undefined {
  const [version, value] = bytes;
  if (version !== undefined && !versions.includes(version)) throw notSocks(bytes, step);
  return value === undefined ? undefined : { value, length: 2 };
}

/**
 *     +-----+-----+-----+------+----------+------+
 *     | VER | REP | RSV | ATYP | BND.ADDR | PORT |
 *     +-----+-----+-----+------+----------+------+
 *     |  1  |  1  |  1  |  1   | variable |  2   |
 */
function parseReply(bytes: Buffer, step: Step): Reply<number> | undefined {
  const [version, value, , type, nameLength] = bytes;
  if (version !== undefined && version !== VERSION) throw notSocks(bytes, step);
  if (value === undefined) return undefined;
  // Some servers send no address with a refusal; nobody will read on.
  if (value !== 0) return { value, length: 2 };
  if (type === undefined || nameLength === undefined) return undefined;
  const length = 4 + addressLength(type, nameLength, step) + 2;
  return bytes.length < length ? undefined : { value, length };
}

function addressLength(type: number, nameLength: number, step: Step): number {
  if (type === ADDRESS.ipv4) return 4;
  if (type === ADDRESS.ipv6) return 16;
  if (type === ADDRESS.name) return 1 + nameLength;
  throw failure(step, `its answer has the unknown address type ${type}`);
}

function notSocks(bytes: Buffer, step: Step): CacheError {
  return failure(step, `it does not speak SOCKS 5, its answer begins with ${quote(bytes)}`);
}

function connectCommand({ host, port }: Target): Buffer {
  return Buffer.concat([Buffer.of(VERSION, 1, 0), address(host), Buffer.of(port >> 8, port & 0xff)]);
}

function address(host: string): Buffer {
  if (net.isIPv4(host)) return Buffer.of(ADDRESS.ipv4, ...host.split('.').map(Number));
  if (net.isIPv6(host) && !host.includes('%')) return Buffer.of(ADDRESS.ipv6, ...ipv6Bytes(host));
  const name = Buffer.from(host);
  if (name.length > 255)
    throw new CacheError('upstream', `a host name of ${name.length} bytes is too long for SOCKS`);
  return Buffer.concat([Buffer.of(ADDRESS.name, name.length), name]);
}
