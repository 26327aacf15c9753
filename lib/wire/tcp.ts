// The first step of dialling: a TCP connection, to the target or to its proxy.
import net from 'node:net';
import { CacheError, describe, lacksDescriptors } from '../errors.ts';
import { clip, failure, type Step, until } from './handshake.ts';
import type { Address } from './resolve.ts';

/** How long an address has to itself before the next is tried beside it (RFC 8305, 5). */
const NEXT_ADDRESS_MS = 250;
const MAX_ADDRESSES = 8;
const KEEPALIVE_MS = 30_000;

/**
 * A socket that is connected to the first address that answers; each is tried when the one before it has failed, or beside
 * those before it after a short while. It never throws an error at a process in which nobody listens to it.
 */
export function connectTcp(all: readonly Address[], port: number, step: Step): Promise<net.Socket> {
  const addresses = all.slice(0, MAX_ADDRESSES);
  const sockets = new Set<net.Socket>();
  const failures: unknown[] = [];
  let tried = 0;
  let isOver = false;
  let timer: NodeJS.Timeout | undefined;
  return new Promise((resolve, reject) => {
    const end = () => {
      isOver = true;
      clearTimeout(timer);
      for (const socket of sockets) socket.destroy();
    };
    const next = () => {
      clearTimeout(timer);
      const one = addresses[tried];
      if (one === undefined) {
        if (sockets.size === 0) reject(failureOf(step, failures));
        return;
      }
      tried++;
      const socket = open(one.address, port);
      sockets.add(socket);
      if (tried < addresses.length) timer = setTimeout(next, NEXT_ADDRESS_MS);
      const won = () => {
        if (isOver) return;
        sockets.delete(socket);
        end();
        resolve(socket);
      };
      until(socket, 'connect', step, () => true).then(won, (error) => {
        if (isOver) return;
        sockets.delete(socket);
        socket.destroy();
        failures.push(error);
        if (!step.signal.aborted) return next();
        end();
        reject(error);
      });
    };
    next();
  });
}

function open(host: string, port: number): net.Socket {
  const options = { noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEPALIVE_MS };
  const socket = net.connect({ host, port, ...options });
  // Avoid an uncaught error: a connection may break between two steps, or while it waits in a pool.
  return socket.on('error', () => {});
}

/** What all of them come to. */
function failureOf(step: Step, failures: readonly unknown[]): unknown {
  if (failures.length === 1) return failures[0];
  const causes = failures.map((error) => (error instanceof CacheError ? (error.cause ?? error) : error));
  const lack = causes.find(lacksDescriptors);
  return failure(step, clip(causes.map(describe).join('; '), 500), lack ?? causes[0]);
}
