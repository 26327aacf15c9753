// How a value of the configuration is quoted in a message: short, on one line, and without what may be secret.
// Masking goes by the last `@` and not by what a URL parser makes of the text, since what can't be parsed is
// just what gets quoted.

import { printable } from '../log.ts';

const LONGEST = 100;

/** The value as a message quotes it; passwords and URL queries are replaced by `***`. */
export function show(value: unknown): string {
  if (typeof value === 'string') return printable(JSON.stringify(shorten(maskSecrets(value))));
  if (Array.isArray(value)) return 'an array';
  if (value instanceof Date) return `the date ${value.toISOString()}`;
  if (typeof value === 'object') return 'a table';
  if (Number.isInteger(value)) return `${value}.0`; // a float: integers come as bigints
  return shorten(String(value));
}

/** The path as one would write it in TOML: `upstreams[1].url`. */
export function showPath(path: readonly (string | number)[]): string {
  return path
    .map((key, index) => {
      if (typeof key === 'number') return `[${key}]`;
      const name = /^[\w-]+$/.test(key) ? shorten(key) : show(key);
      return index === 0 ? name : `.${name}`;
    })
    .join('');
}

/** The text with the user and password of a URL, and its query and fragment, replaced by `***`. */
function maskSecrets(text: string): string {
  const scheme = /^\s*[a-z][a-z0-9+.-]*:\/\//i.exec(text)?.[0] ?? '';
  const masked = replaceSpan(text, secretSpan(text, scheme.length));
  return scheme === '' ? masked : masked.replace(/([?#]).*$/s, '$1***');
}

/**
 * The part of a line of a broken TOML text that may be secret, from which on to which before: what follows `token =`, else
 * everything between its first string's scheme and its last `@`. Lines in which strings may begin or end elsewhere are
 * not for this function.
 */
export function secretSpanOfLine(line: string): readonly [number, number] | undefined {
  const token = /(?:^|[\s,{"'])token["']?\s*=/.exec(line);
  if (token !== null) return [token.index + token[0].length, line.length];
  const before = /^[^="':@]*[="']?\s*["']?(?:[a-z][a-z0-9+.-]*:\/\/)?/i.exec(line)?.[0] ?? '';
  return secretSpan(line, before.length);
}

/** The text with the span replaced by `***`. */
export function replaceSpan(text: string, span: readonly [number, number] | undefined): string {
  return span === undefined ? text : `${text.slice(0, span[0])}***${text.slice(span[1])}`;
}

function secretSpan(text: string, start: number): readonly [number, number] | undefined {
  const rest = text.slice(start);
  const user = /^(.*)(?:@|%40)/s.exec(rest)?.[1];
  if (user !== undefined) return [start, start + user.length];
  // `https://user:password` without a host: the password stands where a port should.
  const port =
    text.slice(0, start).endsWith('://') && /^[^/?#:[\]]*:(?!\d+(?:[/?#"',\s}\]]|$))/.exec(rest)?.[0];
  return port ? [start + port.length, text.length] : undefined;
}

function shorten(text: string): string {
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
}
