// Opens connections to upstreams, step by step: TCP → the proxy's handshake, if there is one → TLS. The outcome
// is a socket over which HTTP can be spoken to the target, or exactly one CacheError and no socket at all.
import type net from 'node:net';
import { isPrivateAnswer } from '../addresses.ts';
import type { ProxyServer } from '../config/proxy.ts';
import { CacheError, isCacheError, isErrno, lacksDescriptors } from '../errors.ts';
import { connectThrough } from './connect.ts';
import { failure, type Step } from './handshake.ts';
import { isPrivateByName, unreachable } from './reach.ts';
import { type Address, names, type Resolver } from './resolve.ts';
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
  /** For all steps from the address on together, and as long for finding that. */
  readonly timeoutMs: number;
  /** What is offered to a target over TLS, by preference: h2, http/1.1; a proxy is offered the latter. */
  readonly protocols?: readonly string[];
  /** Finds the addresses of names. */
  readonly resolver?: Resolver;
  readonly signal: AbortSignal;
}

/**
 * A socket over which HTTP can be spoken to the target.
 *
 * @throws CacheError `proxy` when the proxy can't be reached or does not let us in, `upstream` when the target failed or the
 * proxy refuses it, `timeout` when either may be the reason that the time is up, `aborted` when `signal` says so.
 */
export async function dial(target: Target, options: DialOptions): Promise<net.Socket> {
  const { proxy, resolver = names, signal, timeoutMs } = options;
  // One signal for both the caller and the deadline, made by hand: AbortSignal.any() on a signal that lives as long as the
  // process keeps growing on Node 20.
  const patience = new AbortController();
  const onAbort = () =>
    patience.abort(
      new CacheError('aborted', `connecting to ${authority(target)} was given up`, signal.reason),
    );
  let timer: NodeJS.Timeout | undefined;
  signal.addEventListener('abort', onAbort);
  if (signal.aborted) onAbort();
  try {
    patience.signal.throwIfAborted();
    // A proxy looks names up itself and may reach hosts that we can't: only the name itself can be checked.
    if (target.onlyPublic && isPrivateByName(target.host)) throw unreachable(target.host);
    const step = firstStep(target, proxy, patience.signal);
    const addresses = await lookUp(proxy ?? target, step, resolver, timeoutMs);
    const late = () => patience.abort(new CacheError('timeout', `not done within ${timeoutMs} ms`));
    timer = setTimeout(late, timeoutMs);
    const socket = await connectTcp(addresses, (proxy ?? target).port, step);
    return await shakeHands(socket, target, options, patience.signal);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}

function firstStep(target: Target, proxy: ProxyServer | undefined, signal: AbortSignal): Step {
  const to = authority(target);
  if (proxy === undefined) return { code: 'upstream', late: 'timeout', signal, doing: `connecting to ${to}` };
  return { code: 'proxy', late: 'proxy', signal, doing: `connecting to proxy ${proxy.label} for ${to}` };
}

/** Where to connect to. The addresses that are checked are those that are connected to: a name may have others each time. */
async function lookUp(
  { host, onlyPublic = false }: Pick<Target, 'host' | 'onlyPublic'>,
  step: Step,
  resolver: Resolver,
  timeoutMs: number,
): Promise<readonly Address[]> {
  const { signal } = step;
  const patience = { timeoutMs, signal, foreign: onlyPublic };
  const addresses = await resolver.addresses(host, patience).catch((error) => {
    signal.throwIfAborted();
    throw unknown(host, error, step);
  });
  if (onlyPublic && addresses.some(({ address }) => isPrivateAnswer(address))) throw unreachable(host);
  return addresses;
}

function unknown(host: string, error: unknown, step: Step): CacheError {
  if (isCacheError(error, 'timeout'))
    return new CacheError(step.late, `${step.doing}: looking up ${host}: ${error.message}`, error);
  if (lacksDescriptors(error)) return failure(step, 'no file descriptor is left to look up the name', error);
  if (isErrno(error, 'ENOTFOUND')) return failure(step, `the name ${host} is unknown`, error);
  return failure(step, `the name ${host} can't be looked up`, error);
}

/** All that follows, from a connection to the proxy, or to the target if there is none. */
async function shakeHands(
  connected: net.Socket,
  target: Target,
  { proxy, ca, protocols }: DialOptions,
  signal: AbortSignal,
): Promise<net.Socket> {
  const to = authority(target);
  const blameTarget = { code: 'upstream', late: 'timeout', signal } as const;
  let socket = connected;
  try {
    if (proxy?.kind === 'http') {
      if (proxy.tls) {
        const doing = `TLS with proxy ${proxy.label} for ${to}`;
        socket = await startTls(socket, proxy.host, ca, {
          ...{ code: 'proxy', late: 'proxy', signal, doing },
        });
      }
      await connectThrough(socket, proxy, target, signal);
    } else if (proxy?.kind === 'socks5') {
      await socksThrough(socket, proxy, target, signal);
    }
    if (target.tls) {
      const doing = `TLS with ${to}${proxy ? ` through proxy ${proxy.label}` : ''}`;
      socket = await startTls(socket, target.host, ca, { ...blameTarget, doing }, protocols).catch(
        (error) => {
          throw proxy === undefined ? error : explained(error);
        },
      );
    }
    // The caller may have given up while the last step ended.
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
