// What the configuration comes to: complete, normalised, in the units the code works with.
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
}

/** Milliseconds an upstream may take: to be connected through all handshakes, to answer, to stay silent. */
export interface Deadlines {
  readonly connectMs: number;
  readonly firstByteMs: number;
  readonly stallMs: number;
}

export interface Config {
  readonly listen: Listen;
  readonly cacheDir: string;
  readonly storeDir: string;
  readonly priority: number;
  readonly wantMassQuery: boolean;
  /** What is answered when no upstream has something and one of them failed: an error, or that it isn't there. */
  readonly onUpstreamError: 'error' | 'miss';
  /** How long an upstream may think about a narinfo before the next is asked too. */
  readonly hedgeDelayMs: number;
  /** How long a miss is remembered; 0 for not at all. */
  readonly negativeTtlMs: number;
  readonly deadlines: Deadlines;
  /** Connections at once for one large NAR. */
  readonly connections: number;
  /** At once; more wait in the order they came. Narinfos are not counted. */
  readonly maxDownloads: number;
  /** Bytes of the downloads under way, as far as their sizes are known; more wait in the order they came. */
  readonly maxSpoolBytes: number;
  readonly upstreams: readonly UpstreamConfig[];
}
