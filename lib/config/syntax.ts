// TOML text → table, or one error that shows the faulty line without what is secret on it.

import { parse, TomlError } from 'smol-toml';
import { CacheError } from '../errors.ts';
import { replaceSpan, secretSpanOfLine } from './show.ts';

const LONGEST_LINE = 200;

/** The table the text describes, integers as bigints; throws a `config` error if it isn't TOML. */
export function parseToml(text: string, file: string): unknown {
  try {
    // With integers as bigints, 30 and 30.0 stay apart, and no integer is too large to be reported.
    return parse(text, { integersAsBigInt: true });
  } catch (error) {
    // The original error is not the cause: its message quotes lines as they are, with passwords.
    if (!(error instanceof TomlError)) throw new CacheError('config', `${file}: found no valid TOML`);
    const reason = error.message.split('\n', 1)[0]?.replace(/^Invalid TOML document: /, '');
    const place = `${file}:${error.line}:${error.column}`;
    throw new CacheError('config', `${place}: not valid TOML: ${reason}${frame(text, error)}`);
  }
}

/** The faulty line between its neighbours, with a caret below it, in smol-toml's form. */
function frame(text: string, error: TomlError): string {
  // In a string over several lines, a password may stand on a line that does not look like a URL.
  if (text.includes('"""') || text.includes("'''")) return '';
  const lines = text.split(/\r?\n/);
  const width = String(error.line + 1).length;
  let shown = '';
  for (let number = error.line - 1; number <= error.line + 1; number++) {
    const line = lines[number - 1];
    if (!line || line.length > LONGEST_LINE) continue;
    const span = secretSpanOfLine(line);
    const prefix = `${String(number).padEnd(width)}:  `;
    shown += `\n${prefix}${replaceSpan(line, span).replace(/\p{Cc}/gu, ' ')}`;
    if (number === error.line) shown += `\n${' '.repeat(prefix.length + caret(error.column - 1, span))}^`;
  }
  return shown;
}

function caret(offset: number, span: readonly [number, number] | undefined): number {
  if (span === undefined || offset <= span[0]) return offset;
  return offset < span[1] ? span[0] : offset - (span[1] - span[0]) + '***'.length;
}
