// What the configuration comes to: complete, normalised, in the units the code works with.
import type { AddressRange } from '../addresses.ts';
import type { PublicKey } from '../nix/signature.ts';
import type { Credentials, ProxyServer } from './proxy.ts';
import type { Listen } from './values.ts';

export interface UpstreamConfig {
  /** Normalised: scheme and host in lower case, no default port, no slash at the end, no credentials. */
  readonly url: string;
  readonly credentials: Credentials | undefined;
  readonly proxy: ProxyServer | undefined;
  /** Absolute path of certificates to trust besides the usual ones. */
  readonly caFile: string | undefined;
  /** One of these must have signed a narinfo of this upstream; where there are none, nobody need have. */
  readonly publicKeys: readonly PublicKey[];
  /** At once, half of them for NARs. */
  readonly maxConnections: number;
  /** Whether nothing counts as missing while it can't be asked. */
  readonly required: boolean;
}

/** Milliseconds an upstream may take: to be connected through all handshakes, to answer, to stay silent. */
export interface Deadlines {
  readonly connectMs: number;
  /** After so long the next upstream is asked for a NAR as well, and a narinfo is given up. */
  readonly firstByteMs: number;
  readonly stallMs: number;
  /** After so long a NAR is given up if nobody else has it; 280 s if that is left out. */
  readonly narFirstByteMs?: number;
  /** How long whoever has given bytes of a NAR may be away before it is given up; 15 s if that is left out. */
  readonly returnMs?: number;
}

/** What a token may do: `push` includes `pull`, which clients need for pushing, and `admin` includes both. */
export type Right = 'pull' | 'push' | 'admin';

export interface TokenConfig {
  /** For the log. */
  readonly name: string;
  readonly secret: { readonly token: string } | { readonly file: string };
  readonly allow: readonly Right[];
}

/** Who may do what. */
export interface AccessConfig {
  readonly tokens: readonly TokenConfig[];
  /** Who may read: anyone, or whoever has a token. */
  readonly read: 'anyone' | 'token';
  /** Who may push, and read, without a token. */
  readonly pushFrom: readonly AddressRange[];
  /** Whether the service makes a token for pushing itself, because nobody else is named who may push. */
  readonly ownToken: boolean;
  /** Reverse proxies, whose X-Forwarded-For is believed. */
  readonly trustedProxies: readonly AddressRange[];
}

export interface SigningConfig {
  /** Absolute paths of secret keys in Nix's form; each signs. */
  readonly keyFiles: readonly string[];
  /** What is signed: what was pushed, or all that is served. */
  readonly sign: 'pushed' | 'all';
}

/** Absolute paths of PEM files. */
export interface TlsConfig {
  readonly certFile: string;
  readonly keyFile: string;
  /** Of the authorities one of which must have signed a client's certificate; undefined if clients need none. */
  readonly clientCaFile: string | undefined;
}

/** When objects are removed, and which. */
export interface GcConfig {
  /** Undefined for no limit. */
  readonly maxBytes: number | undefined;
  /** Since the last use; undefined for no limit. */
  readonly maxAgeMs: number | undefined;
  /** To be left free on the disk; undefined for 5 % of it, or 10 GiB if that is less. */
  readonly minFreeBytes: number | undefined;
  readonly keepPushed: boolean;
  /** How often it is looked at anyway. */
  readonly everyMs: number;
}

export interface Config {
  readonly listen: Listen;
  readonly cacheDir: string;
  readonly storeDir: string;
  readonly priority: number;
  readonly wantMassQuery: boolean;
  /** Whether the log has a line of every request. */
  readonly accessLog: boolean;
  /** What is answered when no upstream has something and one of them failed: an error, or that it isn't there. */
  readonly onUpstreamError: 'error' | 'miss';
  /** How long an upstream may think about a narinfo before the next is asked too. */
  readonly hedgeDelayMs: number;
  /** How long a miss is remembered; 0 for not at all. */
  readonly negativeTtlMs: number;
  readonly deadlines: Deadlines;
  /** Connections at once for one large NAR. */
  readonly connections: number;
  /** To all upstreams at once; half of them are for large answers. */
  readonly maxConnections: number;
  /** At once; more wait in the order they came. Narinfos are not counted. */
  readonly maxDownloads: number;
  /** Bytes of the downloads under way, as far as their sizes are known; more wait in the order they came. */
  readonly maxSpoolBytes: number;
  /** What is fetched before a client asks for it: narinfos and NARs, or one kind of them, or none. */
  readonly readAhead: 'all' | 'narinfos' | 'off';
  readonly upstreams: readonly UpstreamConfig[];
  readonly access: AccessConfig;
  /** One of these must have signed what is pushed; if there are none, nobody need have. */
  readonly trustedKeys: readonly PublicKey[];
  /** Of one uploaded file, unpacked where it has a Content-Encoding. */
  readonly maxUploadBytes: number;
  /** Undefined where nothing is signed. */
  readonly signing: SigningConfig | undefined;
  readonly gc: GcConfig;
  /** In what time all that is stored is to be read once and checked; undefined for never. */
  readonly scrubMs: number | undefined;
  /** Whether what was stored must survive a power loss, which `relaxed` risks for the last seconds. */
  readonly durability: 'full' | 'relaxed';
  /** Undefined for plain HTTP. */
  readonly tls: TlsConfig | undefined;
}
