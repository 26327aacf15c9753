// The one error class of the project. A code says what went wrong in terms the callers can act on; the
// message says what was expected, what was found and what to do; the cause keeps what lay beneath.

/**
 * - `config`: the command line or the configuration is wrong; nothing was started.
 * - `startup`: the service can't run here (port taken, folder not writable, disk full).
 * - `bad-request`: a request that no client of ours should send.
 * - `invalid`: content that contradicts its name, its hash, its size or its format.
 * - `unauthorized`: it takes a token to do this, and none, or a wrong one, was shown.
 * - `forbidden`: this client may not do this.
 * - `not-found`: every source that was asked said it has no such thing.
 * - `too-large`, `unsupported`: a body over a limit, or in an encoding that can't be unpacked.
 * - `upstream`: an upstream failed, or answered with what can't be used.
 * - `refused`: an upstream answered that it won't, and would answer so again.
 * - `proxy`: the proxy in front of an upstream failed or refused.
 * - `timeout`: an upstream, a proxy or a client took longer than its deadline.
 * - `storage`: the disk refused (full, read-only, gone); `damaged`: a stored file is not what it was.
 * - `full`: the disk has no room for what is offered.
 * - `aborted`: the other side left, or the service is stopping.
 */
export type ErrorCode =
  | 'config'
  | 'startup'
  | 'bad-request'
  | 'invalid'
  | 'unauthorized'
  | 'forbidden'
  | 'not-found'
  | 'too-large'
  | 'unsupported'
  | 'upstream'
  | 'refused'
  | 'proxy'
  | 'timeout'
  | 'storage'
  | 'damaged'
  | 'full'
  | 'aborted';

/** Everything this project throws on purpose. */
export class CacheError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'CacheError';
    this.code = code;
  }
}

/** Errors that many have as their cause, such as the end of a connection that they share. */
const shared = new WeakSet<Error>();

/** The same error, of which is known from now on that it counts once, however many fail because of it. */
export function share<E extends Error>(error: E): E {
  shared.add(error);
  return error;
}

/** The failure that `error` shares with others, if there is one. */
export function sharedIn(error: unknown): Error | undefined {
  if (!(error instanceof Error)) return undefined;
  return shared.has(error) ? error : sharedIn(error.cause);
}

/** Whether `error` is ours, with this code if one is given. */
export function isCacheError(error: unknown, code?: ErrorCode): error is CacheError {
  return error instanceof CacheError && (code === undefined || error.code === code);
}

/** Whether `error` is a system error with one of these codes (`ENOENT`, …). */
export function isErrno(error: unknown, ...codes: string[]): error is NodeJS.ErrnoException {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code));
}

/** Whether it failed for want of a file descriptor, here or on this machine: that is nobody else's fault. */
export function lacksDescriptors(error: unknown): boolean {
  if (isErrno(error, 'EMFILE', 'ENFILE')) return true;
  return error instanceof Error && error.cause !== undefined && lacksDescriptors(error.cause);
}

/** One line that tells a person what happened: the message, and the cause's where it adds something. */
export function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // A connection refused on every address of a name is an AggregateError with an empty message.
  const own =
    error.message || (error instanceof AggregateError ? error.errors.map(describe).join('; ') : error.name);
  const cause = error.cause === undefined ? '' : describe(error.cause);
  return cause === '' || own.includes(cause) ? own : `${own}: ${cause}`;
}
