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

/** The text with every control character (line ends and terminal escapes among them) written as `\xNN`. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029]/gu, (c) => {
    const code = c.charCodeAt(0).toString(16);
    return code.length > 2 ? `\\u${code}` : `\\x${code.padStart(2, '0')}`;
  });
}
