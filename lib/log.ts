// Lines for the operator, one an event, on standard error: time, level, message. Control characters are
// escaped, because names and messages come from the network.

export interface Log {
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
}

/** A log that writes whole lines to `write`. */
export function createLog(write: (line: string) => void): Log {
  const line = (level: string) => (message: string) =>
    write(`${new Date().toISOString()} ${level} ${printable(message)}\n`);
  return { info: line('info'), warn: line('warn'), error: line('error') };
}

/** How long a cause that has been told of is not told of again. */
const SAID_MS = 60_000;

/**
 * Warnings that would come with every request as long as their cause lasts: each cause is told of once a minute, with how often
 * it has come since.
 */
export function warnSeldom(log: Log): (cause: string, message: string) => void {
  const said = new Map<string, { at: number; since: number }>();
  return (cause, message) => {
    const last = said.get(cause);
    const now = performance.now();
    if (last !== undefined && now - last.at < SAID_MS) {
      last.since++;
      return;
    }
    said.set(cause, { at: now, since: 0 });
    log.warn(
      last === undefined || last.since === 0 ? message : `${message} (${last.since} more like it before)`,
    );
  };
}

/**
 * The text with every control character (line ends and terminal escapes among them) written as `\xNN` or `\u{NNNN}`, and so
 * with those that nobody sees, as they may turn around what stands behind them.
 */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (c) => {
    const code = (c.codePointAt(0) as number).toString(16);
    return code.length > 2 ? `\\u{${code}}` : `\\x${code.padStart(2, '0')}`;
  });
}
