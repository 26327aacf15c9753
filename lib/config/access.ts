// Who may do what: [[tokens]], [push], `read` and `trusted_proxies`.
import { type AddressRange, parseAddressRange } from '../addresses.ts';
import { CacheError } from '../errors.ts';
import { array, type Check, choice, string, table } from './fields.ts';
import type { Report } from './report.ts';
import { show } from './show.ts';
import type { AccessConfig, Right, TokenConfig } from './types.ts';
import { parsePublicKey } from './values.ts';

/** Shorter ones can be guessed. */
const SHORTEST_TOKEN = 16;
const LONGEST_TOKEN = 512;

/** One table of `[[tokens]]`. Relative paths are read by `path`. */
export function token(path: Check<string>): Check<TokenConfig> {
  const right = choice<Right>('pull', 'push', 'admin');
  const fields = {
    name: string(parseName),
    token: string(parseToken),
    token_file: path,
    allow: array(right, 'an array of "pull", "push" and "admin"'),
  };
  const check = table(fields, ['name', 'allow']);
  return (value, place) => {
    const values = check(value, place);
    if (values === undefined) return undefined;
    const { name, token, token_file: file } = values;
    const given = Object.keys(value as object).filter((key) => key === 'token' || key === 'token_file');
    if (given.length !== 1) {
      place.report.add(place.path, `found ${given.join(' and ') || 'neither'}, expected token or token_file`);
    }
    if (values.allow?.length === 0) {
      place.report.add([...place.path, 'allow'], 'found no right, expected at least one');
    }
    const secret = token !== undefined ? { token } : file !== undefined ? { file } : undefined;
    if (name === undefined || secret === undefined) return undefined;
    return { name, secret, allow: values.allow?.filter((one) => one !== undefined) ?? [] };
  };
}

/** The table `[push]`. */
export const push = table({
  from: array(string(parseRange), 'an array of address ranges such as "10.0.0.0/8"'),
  trusted_keys: array(string(parsePublicKey), 'an array of public keys, each "name:base64"'),
});

/** An array of addresses. */
export const addresses = array(string(parseRange), 'an array of addresses such as "127.0.0.1"');

/** Puts together what the file says of access. */
export function accessOf(
  values: {
    readonly tokens: readonly (TokenConfig | undefined)[] | undefined;
    readonly from: readonly (AddressRange | undefined)[] | undefined;
    readonly read: AccessConfig['read'] | undefined;
    readonly trustedProxies: readonly (AddressRange | undefined)[] | undefined;
  },
  report: Report,
): AccessConfig {
  const tokens = defined(values.tokens ?? []);
  tokens.forEach(({ name }, index) => {
    if (tokens.findIndex((other) => other.name === name) === index) return;
    report.add(['tokens', index, 'name'], `found ${show(name)} again, expected a name of its own for each`);
  });
  const read = values.read ?? 'anyone';
  if (read === 'token' && (values.tokens ?? []).length === 0) {
    report.add(['read'], 'found "token" but no [[tokens]], expected one for those who may read');
  }
  // No address may push by default: behind a reverse proxy every client has this machine's address.
  const pushFrom = defined(values.from ?? []);
  const ownToken = tokens.length === 0 && values.from === undefined;
  return { tokens, read, pushFrom, ownToken, trustedProxies: defined(values.trustedProxies ?? []) };
}

function defined<T>(values: readonly (T | undefined)[]): T[] {
  return values.filter((value) => value !== undefined);
}

function parseName(text: string): string {
  if (/^[\w.@-]{1,64}$/.test(text)) return text;
  throw new CacheError('config', `found ${show(text)}, expected a name of letters, digits and . _ @ -`);
}

/**
 * Checks the text of a token.
 * @throws CacheError `config`, which does not repeat it
 */
export function parseToken(text: string): string {
  if (/^[\x21-\x7e]*$/.test(text) && text.length >= SHORTEST_TOKEN && text.length <= LONGEST_TOKEN)
    return text;
  const expected = `${SHORTEST_TOKEN} to ${LONGEST_TOKEN} letters, digits and signs without spaces`;
  throw new CacheError('config', `found a token of ${text.length} characters, expected ${expected}`);
}

function parseRange(text: string): AddressRange {
  const range = parseAddressRange(text);
  if (range !== undefined) return range;
  throw new CacheError(
    'config',
    `found ${show(text)}, expected an address or a range such as "10.0.0.0/8" or "fd00::/8"`,
  );
}
