// What all steps of dialling share: wait for one event of a socket, or for the one reply of a handshake. A wait
// ends in a value or in one CacheError that says what was being done and whose fault it is, and leaves no
// listener behind. Whoever opened the socket destroys it.
import type net from 'node:net';
import { CacheError, describe, isCacheError } from '../errors.ts';

/** What a wait is for, so that its failure is blamed on the right party. */
export interface Step {
  /** What is being done, for messages: "connecting to cache.nixos.org:443". */
  readonly doing: string;
  /** The code when the peer talks nonsense. */
  readonly code: 'proxy' | 'upstream';
  /** The code when the connection breaks or ends, if it is another one. */
  readonly ended?: 'proxy' | 'upstream';
  /** The code when the deadline passes: nobody knows whom a proxy is waiting for. */
  readonly late: 'proxy' | 'timeout';
  /** Aborted with a CacheError: `timeout` when the deadline passes, `aborted` when nobody waits any more. */
  readonly signal: AbortSignal;
}

/** A handshake's reply, and how many of the bytes so far were part of it. */
export interface Reply<T> {
  readonly value: T;
  readonly length: number;
}

/** The error of a step, for a reason found in it. */
export function failure(step: Step, reason: string, cause?: unknown): CacheError {
  return new CacheError(step.code, `${step.doing}: ${reason}`, cause);
}

function broken({ doing, code, ended = code }: Step, reason: string, cause?: unknown): CacheError {
  return new CacheError(ended, `${doing}: ${reason}`, cause);
}

/**
 * The first value other than `undefined` that `check` returns when called at each `event`.
 *
 * @throws CacheError when the socket fails or ends first, when the step is aborted, or what `check` throws.
 */
export function until<T>(
  socket: net.Socket,
  event: 'connect' | 'secureConnect' | 'readable',
  step: Step,
  check: () => T | undefined,
): Promise<T> {
  const { signal } = step;
  return new Promise((resolve, reject) => {
    const release = () => {
      socket.off(event, onEvent).off('error', onError).off('end', onEnd).off('close', onEnd);
      signal.removeEventListener('abort', onAbort);
    };
    const fail = (error: unknown) => {
      release();
      reject(error);
    };
    const onError = (error: Error) => fail(broken(step, clip(reasonOf(error), 500), error));
    const onEnd = () => fail(broken(step, 'the other side closed the connection'));
    const onAbort = () => {
      const reason: unknown = signal.reason;
      fail(
        isCacheError(reason, 'timeout')
          ? new CacheError(step.late, `${step.doing}: ${reason.message}`, reason)
          : reason,
      );
    };
    const onEvent = () => {
      try {
        const value = check();
        if (value === undefined) return;
        release();
        resolve(value);
      } catch (error) {
        fail(error);
      }
    };

    socket.on(event, onEvent).on('error', onError).on('end', onEnd).on('close', onEnd);
    signal.addEventListener('abort', onAbort);
    // The events may have fired before this listened.
    if (signal.aborted) onAbort();
    else if (socket.errored) onError(socket.errored);
    else if (socket.destroyed || socket.readableEnded) onEnd();
  });
}

/**
 * Sends a handshake's request and reads its reply. `parse` gets all bytes so far and returns the reply once it is
 * complete, or throws; what follows the reply goes back into the socket, for whoever reads it next. No more than
 * `limit` bytes make a reply.
 */
export function ask<T>(
  socket: net.Socket,
  request: string | Uint8Array,
  limit: number,
  step: Step,
  parse: (bytes: Buffer) => Reply<T> | undefined,
): Promise<T> {
  let received = Buffer.alloc(0);
  socket.write(request);
  return until(socket, 'readable', step, () => {
    // A short read(n) would return null and never announce the same bytes again: take all, give back the excess.
    for (let chunk: Buffer | null = socket.read(); chunk !== null; chunk = socket.read()) {
      received = Buffer.concat([received, chunk]);
    }
    const reply = parse(received);
    if ((reply?.length ?? received.length) > limit) {
      throw failure(step, `the answer is longer than ${limit} bytes: ${quote(received)}`);
    }
    if (reply === undefined) return undefined;
    if (reply.length < received.length) socket.unshift(received.subarray(reply.length));
    return reply.value;
  });
}

/** A few of a peer's bytes, to be shown in a message. */
export function quote(bytes: Buffer): string {
  return JSON.stringify(clip(bytes.toString('latin1', 0, 100), 60));
}

/** The text, or its beginning when it is longer than `limit` characters. */
export function clip(text: string, limit: number): string {
  return text.length > limit ? `${text.slice(0, limit)}…` : text;
}

function reasonOf(error: Error): string {
  // OpenSSL's messages are a line of source references around this.
  const isOpenSsl = 'library' in error && 'reason' in error;
  return isOpenSsl ? String(error.reason) : describe(error);
}
