// Opens connections to upstreams, step by step: TCP → the proxy's handshake, if there is one → TLS. The outcome
// is a socket over which HTTP can be spoken to the target, or exactly one CacheError and no socket at all.
import type net from 'node:net';
import type { ProxyServer } from '../config/proxy.ts';
import { CacheError, isErrno } from '../errors.ts';
import { connectThrough } from './connect.ts';
import { isPrivateByName, unreachable } from './reach.ts';
import { socksThrough } from './socks5.ts';
import { authority, type Target } from './target.ts';
import { connectTcp } from './tcp.ts';
import { startTls } from './tls.ts';

export type { Target } from './target.ts';

const NO_TLS = ['ERR_SSL_WRONG_VERSION_NUMBER', 'ERR_SSL_PACKET_LENGTH_TOO_LONG'];

export interface DialOptions {
  readonly proxy?: ProxyServer | undefined;
  /** Authorities (PEM) in addition to the default ones, for the target's certificate and an https proxy's. */
  readonly ca?: readonly string[] | undefined;
  /** For all steps together. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/**
 * A socket over which HTTP can be spoken to the target.
 *
 * @throws CacheError `proxy` when the proxy can't be reached or does not let us in, `upstream` when the target failed or the
 * proxy refuses it, `timeout` when either may be the reason that the time is up, `aborted` when `signal` says so.
 */
export async function dial(target: Target, options: DialOptions): Promise<net.Socket> {
  const { signal, timeoutMs } = options;
  // One signal for both ends of patience, made by hand: AbortSignal.any() on a signal that lives as long as the
  // process keeps growing on Node 20.
  const patience = new AbortController();
  const onAbort = () =>
    patience.abort(
      new CacheError('aborted', `connecting to ${authority(target)} was given up`, signal.reason),
    );
  const timer = setTimeout(
    () => patience.abort(new CacheError('timeout', `not done within ${timeoutMs} ms`)),
    timeoutMs,
  );
  signal.addEventListener('abort', onAbort);
  if (signal.aborted) onAbort();
  try {
    return await open(target, options, patience.signal);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}

async function open(target: Target, { proxy, ca }: DialOptions, signal: AbortSignal): Promise<net.Socket> {
  signal.throwIfAborted();
  const to = authority(target);
  // A proxy looks names up itself, and may reach what we can't: only what the name tells can be checked.
  if (target.onlyPublic && isPrivateByName(target.host)) throw unreachable(target.host);
  const blameTarget = { code: 'upstream', late: 'timeout', signal } as const;
  const blameProxy = { code: 'proxy', late: 'proxy', signal } as const;

  let socket = await (proxy
    ? connectTcp(proxy, { ...blameProxy, doing: `connecting to proxy ${proxy.label} for ${to}` })
    : connectTcp(target, { ...blameTarget, doing: `connecting to ${to}` }));
  try {
    if (proxy?.kind === 'http') {
      if (proxy.tls) {
        const doing = `TLS with proxy ${proxy.label} for ${to}`;
        socket = await startTls(socket, proxy.host, ca, { ...blameProxy, doing });
      }
      await connectThrough(socket, proxy, target, signal);
    } else if (proxy?.kind === 'socks5') {
      await socksThrough(socket, proxy, target, signal);
    }
    if (target.tls) {
      const doing = `TLS with ${to}${proxy ? ` through proxy ${proxy.label}` : ''}`;
      socket = await startTls(socket, target.host, ca, { ...blameTarget, doing }).catch((error) => {
        throw proxy === undefined ? error : explained(error);
      });
    }
    // The last step may have been done already when nobody wanted it any more.
    signal.throwIfAborted();
    return socket;
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

/** Behind a proxy that says at once that it is connected, whoever answers may be the proxy's own other end. */
function explained(error: unknown): unknown {
  if (!(error instanceof CacheError) || !isErrno(error.cause, ...NO_TLS)) return error;
  const hint = 'what answers is not TLS: trojan looks so when its password is wrong';
  return new CacheError(error.code, `${error.message} (${hint})`, error.cause);
}
