// Lines for the operator, one an event, on standard error: time, level, message. Control characters are
// escaped, because names and messages come from the network.

/** How urgent a line is. */
export type Level = 'info' | 'warn' | 'error';

export interface Log {
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
  /** As `info`, of what comes with every request: it may be written a moment later, together with others, where that is cheaper. */
  often?(message: string): void;
}

/** A log that writes whole lines to `write`; those that come with every request to `writeSoon`. */
export function createLog(write: (line: string) => void, writeSoon = write): Log {
  const time = clock();
  const line =
    (level: string, to = write) =>
    (message: string) =>
      to(`${time()} ${level} ${printable(message)}\n`);
  return { info: line('info'), warn: line('warn'), error: line('error'), often: line('info', writeSoon) };
}

/** The time as the log has it. Written anew only when it is another: that takes as long as the rest of a line. */
function clock(): () => string {
  let at = Number.NaN;
  let text = '';
  return () => {
    const now = Date.now();
    if (now !== at) {
      at = now;
      text = new Date(now).toISOString();
    }
    return text;
  };
}

/** How long a cause that has been told of is not told of again. */
const SAID_MS = 60_000;
/** A cause may have a name in it that comes from the network. */
const MOST_CAUSES = 1000;

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
    // The one that was told of longest ago comes first, and is forgotten first.
    said.delete(cause);
    said.set(cause, { at: now, since: 0 });
    const [oldest] = said.keys();
    if (said.size > MOST_CAUSES && oldest !== undefined) said.delete(oldest);
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
  // Nearly every text is like that, and looking for the others takes ten times as long.
  if (/^[ -~]*$/.test(text)) return text;
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (c) => {
    const code = (c.codePointAt(0) as number).toString(16);
    return code.length > 2 ? `\\u{${code}}` : `\\x${code.padStart(2, '0')}`;
  });
}
