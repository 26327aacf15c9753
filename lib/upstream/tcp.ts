// The first step of dialling: a TCP connection, to the target or to its proxy.
import { closeSync, openSync } from 'node:fs';
import net from 'node:net';
import { devNull } from 'node:os';
import { isErrno, lacksDescriptors } from '../errors.ts';
import { failure, type Step, until } from './handshake.ts';
import { lookupPublic } from './reach.ts';
import type { Target } from './target.ts';

// Node gives up an address when the next one's turn comes, unlike RFC 8305. Its own 250 ms or so is less than a
// round trip on the slow links this service is made for, so that only the last address would ever have a chance.
const NEXT_ADDRESS_MS = 1000;
const KEEPALIVE_MS = 30_000;

/** A connected socket. It never throws an error at a process in which nobody listens to it. */
export async function connectTcp(
  { host, port, onlyPublic = false }: Omit<Target, 'tls'>,
  step: Step,
): Promise<net.Socket> {
  const socket = net.connect({
    host,
    port,
    ...(onlyPublic ? { lookup: lookupPublic } : {}),
    autoSelectFamily: true,
    autoSelectFamilyAttemptTimeout: NEXT_ADDRESS_MS,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: KEEPALIVE_MS,
  });
  // A connection may break between two steps, or while it waits in a pool.
  socket.on('error', () => {});
  try {
    await until(socket, 'connect', step, () => true);
    return socket;
  } catch (error) {
    socket.destroy();
    const lack = isErrno(socket.errored, 'ENOTFOUND', 'EAI_AGAIN') ? lackOfDescriptors() : undefined;
    throw lack === undefined ? error : failure(step, 'no file descriptor is left to look up the name', lack);
  }
}

/** What a lookup has found in its way that calls it an unknown name. */
function lackOfDescriptors(): unknown {
  try {
    closeSync(openSync(devNull, 'r'));
    return undefined;
  } catch (error) {
    return lacksDescriptors(error) ? error : undefined;
  }
}
