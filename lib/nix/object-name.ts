// The names of what a binary cache holds: a closed union. A request path becomes one of these or nothing; every
// layer below HTTP deals in names only, so that no unchecked text can become a path or an upstream's URL.
import { isSha256, type Sha256 } from './hash.ts';
import { isBasename, isStoreHash, type StoreHash } from './store-path.ts';

declare const narName: unique symbol;
/** The file name of a NAR: safe characters only, with `.nar` in it. */
export type NarName = string & { readonly [narName]: true };

export type ObjectName =
  | { readonly kind: 'narinfo'; readonly hash: StoreHash }
  | { readonly kind: 'nar'; readonly name: NarName; readonly hash: StoreHash | undefined }
  | { readonly kind: 'listing'; readonly hash: StoreHash }
  | { readonly kind: 'packed-listing'; readonly hash: StoreHash }
  | { readonly kind: 'log'; readonly drv: string }
  | { readonly kind: 'realisation'; readonly id: string }
  | { readonly kind: 'build-trace'; readonly drv: string; readonly output: string }
  | { readonly kind: 'debug-info'; readonly id: string };

export type ObjectKind = ObjectName['kind'];

const MIME: Record<ObjectKind, string> = {
  narinfo: 'text/x-nix-narinfo',
  nar: 'application/x-nix-nar',
  listing: 'application/json',
  'packed-listing': 'application/x-xz',
  log: 'text/plain; charset=utf-8',
  realisation: 'application/json',
  'build-trace': 'application/json',
  'debug-info': 'application/json',
};

const NAR_NAME = /^[0-9A-Za-z+_=-]{1,160}\.nar(?:\.[0-9a-z]{1,8})?$/;
const OUTPUT = /^[0-9A-Za-z+._?=-]{1,211}$/;

/** Whether `text` can name a NAR's file. */
export function isNarName(text: string): text is NarName {
  return NAR_NAME.test(text);
}

/** The SHA-256 of the file that its name promises; undefined for a name that is no hash. */
export function hashInNarName(name: NarName): Sha256 | undefined {
  const stem = name.slice(0, name.indexOf('.'));
  return isSha256(stem) ? stem : undefined;
}

/**
 * The name that a decoded path (without its leading slash) and query stand for; undefined for anything else.
 * Nix before 2.32 sends the `?` of a store name as it is, so a log's query is the rest of its name; later ones leave that out.
 */
export function parseObjectName(path: string, query: string): ObjectName | undefined {
  const slash = path.indexOf('/');
  if (slash < 0) return parseRootName(path);
  const folder = path.slice(0, slash);
  const rest = path.slice(slash + 1);
  switch (folder) {
    case 'nar': {
      // Some clients encode the `?` of a narinfo's URL, which makes the query a part of the name.
      const [, name = '', tail = query] = /^([^?]*)(?:\?(.*))?$/s.exec(rest) ?? [];
      if (!isNarName(name)) return undefined;
      // An address of ours contains the store hash, whatever became of the query.
      const inName = /^([0-9a-z]{32})-[0-9a-z]{52}\.nar/.exec(name)?.[1] ?? '';
      const inQuery = new URLSearchParams(tail).get('hash') ?? '';
      return { kind: 'nar', name, hash: [inName, inQuery].find(isStoreHash) };
    }
    case 'log': {
      const drv = query === '' ? rest : `${rest}?${query}`;
      return isBasename(drv) ? { kind: 'log', drv } : undefined;
    }
    case 'realisations': {
      const match = /^(sha256:[0-9a-f]{64}!(.+))\.doi$/.exec(rest);
      return match?.[1] && OUTPUT.test(match[2] ?? '') ? { kind: 'realisation', id: match[1] } : undefined;
    }
    case 'build-trace-v2': {
      const [drv = '', file = '', more] = rest.split('/');
      const output = file.endsWith('.doi') ? file.slice(0, -4) : '';
      if (more !== undefined || !isBasename(drv) || !OUTPUT.test(output)) return undefined;
      return { kind: 'build-trace', drv, output };
    }
    case 'debuginfo': {
      // cache.nixos.org has it without the ending, `nix copy` writes it with it, and clients ask for either.
      const id = /^([0-9a-f]{40})(?:\.debug)?$/.exec(rest)?.[1];
      return id === undefined ? undefined : { kind: 'debug-info', id };
    }
    default:
      return undefined;
  }
}

function parseRootName(file: string): ObjectName | undefined {
  const hash = file.slice(0, 32);
  if (!isStoreHash(hash)) return undefined;
  if (file.slice(32) === '.narinfo') return { kind: 'narinfo', hash };
  if (file.slice(32) === '.ls') return { kind: 'listing', hash };
  if (file.slice(32) === '.ls.xz') return { kind: 'packed-listing', hash };
  return undefined;
}

/** The same log under the name that every client can tell: without what is behind a `?` in the derivation's name. */
export function told(name: ObjectName): ObjectName {
  if (name.kind !== 'log') return name;
  const drv = name.drv.replace(/\?.*/, '');
  return isBasename(drv) ? { kind: 'log', drv } : name;
}

/**
 * The paths under which others may have it: a log that of the derivation's whole name, or of what a client told of it; an index of
 * debug information with its ending, or without.
 */
export function pathsOf(name: ObjectName): string[] {
  if (name.kind === 'debug-info') return [pathOf(name), `/debuginfo/${name.id}`];
  return [...new Set([pathOf(name), pathOf(told(name))])];
}

/** The one path of an object, with its leading slash and nothing encoded: what the store's SHA-256 is taken of. */
export function pathOf(name: ObjectName): string {
  switch (name.kind) {
    case 'narinfo':
      return `/${name.hash}.narinfo`;
    case 'nar':
      return `/nar/${name.name}`;
    case 'listing':
      return `/${name.hash}.ls`;
    case 'packed-listing':
      return `/${name.hash}.ls.xz`;
    case 'log':
      return `/log/${name.drv}`;
    case 'realisation':
      return `/realisations/${name.id}.doi`;
    case 'build-trace':
      return `/build-trace-v2/${name.drv}/${name.output}.doi`;
    case 'debug-info':
      return `/debuginfo/${name.id}.debug`;
  }
}

/** Whether `text` is one of the kinds. */
export function isObjectKind(text: unknown): text is ObjectKind {
  return typeof text === 'string' && Object.hasOwn(MIME, text);
}

/** The media type that clients and other caches use for this kind of object. */
export function mimeOf(kind: ObjectKind): string {
  return MIME[kind];
}
