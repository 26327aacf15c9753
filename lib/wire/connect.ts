// HTTP CONNECT (RFC 9110, 9.3.6): asks an HTTP proxy for a tunnel to the target. After a 2xx the socket is the
// target's, from the byte behind the head of the reply on, whatever that head says about a body. What the proxy says of
// the target belongs to the target: other upstreams are behind the same proxy.
import type net from 'node:net';
import type { Credentials, HttpProxy } from '../config/proxy.ts';
import { CacheError } from '../errors.ts';
import { ask, clip, failure, quote, type Reply, type Step } from './handshake.ts';
import { authority, type Target, USER_AGENT } from './target.ts';

const HEAD_LIMIT = 16 * 1024;
const START = Buffer.from('HTTP/1.');

/**
 * Turns a connection to the proxy into one to the target.
 *
 * @throws CacheError `proxy` when it does not let us in or is no proxy, `upstream` when it does not lead to the target.
 */
export async function connectThrough(
  socket: net.Socket,
  proxy: HttpProxy,
  target: Target,
  signal: AbortSignal,
): Promise<void> {
  const to = authority(target);
  const doing = `proxy ${proxy.label}, asked to CONNECT ${to}`;
  // Some proxies just hang up when the target can't be reached.
  const step: Step = { doing, code: 'proxy', ended: 'upstream', late: 'timeout', signal };
  const head = `CONNECT ${to} HTTP/1.1\r\nHost: ${to}\r\nUser-Agent: ${USER_AGENT}\r\n`;
  const request = `${head}${authorization(proxy.credentials)}\r\n`;
  const { status, reason } = await ask(socket, request, HEAD_LIMIT, step, (bytes) => parseReply(bytes, step));
  if (status >= 200 && status <= 299) return;
  throw new CacheError(
    wantsPassword(status) ? 'proxy' : 'upstream',
    `proxy ${proxy.label} refused CONNECT ${to}: ${`${status} ${reason}`.trim()}${hint(status, proxy, target)}`,
  );
}

function authorization(credentials: Credentials | undefined): string {
  if (credentials === undefined) return '';
  const { username, password } = credentials;
  return `Proxy-Authorization: Basic ${Buffer.from(`${username}:${password}`).toString('base64')}\r\n`;
}

/** The final status, behind any interim ones; `undefined` while its head is incomplete. */
function parseReply(bytes: Buffer, step: Step): Reply<{ status: number; reason: string }> | undefined {
  let offset = 0;
  while (offset < bytes.length) {
    const rest = bytes.subarray(offset);
    const start = rest.subarray(0, START.length);
    // A server that speaks anything else (SSH, TLS, SOCKS) may never send a line end.
    if (!start.equals(START.subarray(0, start.length))) throw notHttp(rest, step);
    const head = rest.toString('latin1', 0, HEAD_LIMIT + 1);
    const lineEnd = head.indexOf('\n');
    if (lineEnd < 0) return undefined;
    const [, code, reason = ''] =
      /^HTTP\/1\.\d (\d{3})(?: (.*))?$/.exec(head.slice(0, lineEnd).trimEnd()) ?? [];
    if (code === undefined) throw notHttp(rest, step);
    const blank = /\n\r?\n/.exec(head);
    if (blank === null) return undefined;
    offset += blank.index + blank[0].length;
    const status = Number(code);
    // 101 is no promise of another reply: it ends HTTP.
    if (status >= 200 || status === 101) {
      return { value: { status, reason: clip(reason.trim(), 200) }, length: offset };
    }
  }
  return undefined;
}

function notHttp(bytes: Buffer, step: Step): CacheError {
  return failure(step, `it does not speak HTTP, its answer begins with ${quote(bytes)}`);
}

/** tinyproxy says 401 to a wrong password. */
function wantsPassword(status: number): boolean {
  return status === 407 || status === 401;
}

function hint(status: number, proxy: HttpProxy, target: Target): string {
  if (wantsPassword(status)) {
    return proxy.credentials ? ' (user name or password is wrong)' : ' (it wants a user name and password)';
  }
  if (status === 404) return ' (privoxy says so of a name that it does not know)';
  if (status === 500) return ' (squid and tinyproxy say so of a name that they do not know)';
  if (status === 400 || status === 501 || status < 400) return ' (it may be no proxy)';
  return (status === 403 || status === 405) && target.port !== 443
    ? ' (many proxies allow CONNECT only to port 443)'
    : '';
}
