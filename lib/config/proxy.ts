// A proxy as the configuration writes it: one URL. Checked here, once, so that the layers that dial never meet
// a proxy they can't use. No message shows the credentials.
import { CacheError } from '../errors.ts';
import { parseUrl } from '../url.ts';

/** A proxy in front of an upstream. */
export type ProxyServer = HttpProxy | SocksProxy;

export interface HttpProxy {
  readonly kind: 'http';
  /** Whether the connection to the proxy itself is TLS (`https://…`). */
  readonly tls: boolean;
  readonly host: string;
  readonly port: number;
  readonly credentials: Credentials | undefined;
  /** The URL without credentials, for messages. */
  readonly label: string;
}

export interface SocksProxy {
  readonly kind: 'socks5';
  readonly host: string;
  readonly port: number;
  readonly credentials: Credentials | undefined;
  /** The URL without credentials, for messages. */
  readonly label: string;
}

/** A user and password for a proxy, percent-decoded. */
export interface Credentials {
  readonly username: string;
  readonly password: string;
}

// The defaults of the schemes; a configuration file of any age keeps its meaning.
const DEFAULT_PORTS = new Map([
  ['http', 80],
  ['https', 443],
  ['socks5', 1080],
  ['socks5h', 1080],
]);
const FORM = 'http, https, socks5 or socks5h://[user:password@]host[:port]';
/** RFC 1929 gives each of the two one byte of length. */
const SOCKS_LIMIT = 255;

/**
 * The proxy that a URL names; with either socks scheme names are resolved by the proxy.
 *
 * @throws CacheError `config`, saying what was expected and found; never with a user name or password.
 */
export function parseProxy(text: string): ProxyServer {
  const refuse = (problem: string) =>
    new CacheError('config', `${problem}: expected ${FORM}, found "${withoutSecrets(text)}"`);

  const [, scheme = '', authority = '', rest = ''] =
    /^([a-z][a-z\d+.-]*):\/\/([^/?#]*)(.*)$/is.exec(text) ?? [];
  const protocol = scheme.toLowerCase();
  const defaultPort = DEFAULT_PORTS.get(protocol);
  if (defaultPort === undefined) throw refuse('not a proxy URL with a supported scheme');
  // An unescaped slash in a password ends up here too.
  if (rest !== '' && rest !== '/') throw refuse('a proxy URL has no path, query or fragment');

  const [, userinfo, name = '', digits] =
    /^(?:(.*)@)?(\[[^\]]*\]|[^:@[\]]*)(?::(.*))?$/s.exec(authority) ?? [];
  const host = canonicalHost(name);
  if (host === undefined) throw refuse('no valid host name or address (IPv6 goes in brackets)');
  const port = digits === undefined ? defaultPort : parsePort(digits);
  if (port === undefined) throw refuse('the port is not a number from 1 to 65535');

  const socks = protocol.startsWith('socks');
  const credentials = parseCredentials(userinfo, socks, refuse);
  const label = `${protocol}://${host}:${port}`;
  const common = { host: host.replace(/^\[|\]$/g, ''), port, credentials, label };
  return socks ? { kind: 'socks5', ...common } : { kind: 'http', tls: protocol === 'https', ...common };
}

/** The host in the form that URLs use (lower case, Punycode, compressed IPv6 in brackets), if it is one. */
function canonicalHost(name: string): string | undefined {
  // The URL parser would drop tabs and line ends, and read a backslash as a slash.
  if (name === '' || /[\s\\]/.test(name)) return undefined;
  return parseUrl(`http://${name}/`)?.hostname;
}

function parsePort(digits: string): number | undefined {
  const port = /^\d{1,5}$/.test(digits) ? Number(digits) : 0;
  return port >= 1 && port <= 65535 ? port : undefined;
}

function parseCredentials(
  userinfo: string | undefined,
  socks: boolean,
  refuse: (problem: string) => CacheError,
): Credentials | undefined {
  if (userinfo === undefined || userinfo === '' || userinfo === ':') return undefined;
  const [first = '', ...others] = userinfo.split(':');
  const username = percentDecode(first);
  const password = percentDecode(others.join(':'));
  if (username === undefined || password === undefined) {
    throw refuse('user or password is not percent-encoded UTF-8 (a percent sign is written %25)');
  }
  if (/\p{Cc}/u.test(username + password)) throw refuse('user or password has a control character');
  if (socks) {
    const sizes = [username, password].map((part) => Buffer.byteLength(part));
    if (sizes.some((size) => size > SOCKS_LIMIT)) {
      throw refuse(
        `SOCKS takes at most ${SOCKS_LIMIT} bytes of user and of password (here ${sizes.join(', ')})`,
      );
    }
    if (username === '') throw refuse('SOCKS needs a user name beside the password');
  } else if (username.includes(':')) {
    throw refuse('a user name for an HTTP proxy has no colon');
  }
  return { username, password };
}

function percentDecode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

/** The text with all that is or may be meant as user and password masked, and of bounded length. */
function withoutSecrets(text: string): string {
  const masked = text.includes('@')
    ? text.replace(/^([a-z][a-z\d+.-]*:\/\/)?.*@/is, '$1***@')
    : // Somebody may have forgotten the host: what stands in place of a port is shown only when it is one.
      text.replace(
        /^((?:[a-z][a-z\d+.-]*:\/\/)?(?:\[[^\]]*\]|[^:/?#[]*):)(?!$|\d+(?:$|[/?#])|\/\/).*$/is,
        '$1***',
      );
  return masked.length > 200 ? `${masked.slice(0, 200)}…` : masked;
}
