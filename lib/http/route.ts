// Method and URL become one of a closed set of routes, or an error. Whatever passes here is a name of the protocol;
// traversal, encodings of it and everything unknown ends here.
import { CacheError } from '../errors.ts';
import { type ObjectName, parseObjectName } from '../nix/object-name.ts';

export type Route =
  | { readonly kind: 'home' }
  | { readonly kind: 'health' }
  | { readonly kind: 'cache-info' }
  /** `pushed`: of what was pushed only, below `/upload`. */
  | { readonly kind: 'object'; readonly name: ObjectName; readonly pushed: boolean };

type Method = 'GET' | 'HEAD' | 'PUT';

/** Longest request path; the longest name of the protocol is below half of it. */
const MAX_PATH = 1024;

/** Whether the service does anything with this method. */
export function isMethod(method: string | undefined): method is Method {
  return method === 'GET' || method === 'HEAD' || method === 'PUT';
}

/**
 * The route of a request's target as it came (`/path?query`, or an absolute URL as proxies send it).
 * @throws CacheError `bad-request` for what no client sends, `not-found` for what is no name of the protocol
 */
export function route(target: string): Route {
  const [raw, query] = split(target.replace(/^https?:\/\/[^/?]*/i, ''));
  const path = decode(raw);
  const segments = path.split('/').filter((segment) => segment !== '');
  if (segments.some((segment) => segment === '.' || segment === '..')) {
    throw new CacheError('bad-request', 'expected a path without . and .. in it');
  }
  if (segments.length === 0 || (segments.length === 1 && segments[0] === 'upload')) return { kind: 'home' };
  if (segments.length === 1 && segments[0] === 'healthz') return { kind: 'health' };
  if (segments.at(-1) === 'nix-cache-info') return { kind: 'cache-info' };
  // The store's URL may have a path: segments before the name mean nothing here, except `upload`.
  for (const length of [1, 2, 3]) {
    if (segments.length < length) break;
    const name = parseObjectName(segments.slice(-length).join('/'), query);
    if (name !== undefined) return { kind: 'object', name, pushed: segments.at(-length - 1) === 'upload' };
  }
  throw new CacheError('not-found', 'no such path in a Nix binary cache');
}

function split(target: string): [path: string, query: string] {
  const mark = target.indexOf('?');
  return mark < 0 ? [target, ''] : [target.slice(0, mark), target.slice(mark + 1)];
}

function decode(raw: string): string {
  if (raw.length > MAX_PATH)
    throw new CacheError('bad-request', `expected a path of at most ${MAX_PATH} characters`);
  let path: string;
  try {
    path = decodeURIComponent(raw);
  } catch (cause) {
    throw new CacheError('bad-request', 'expected a path with valid percent-encoding', cause);
  }
  if (/\p{Cc}/u.test(path)) throw new CacheError('bad-request', 'expected a path without control characters');
  return path;
}
