// Where a connection is to lead, and as whom we come.

/** Some proxies refuse whoever sends none. */
export const USER_AGENT = 'nix-binary-cache';

/** The server behind a URL; `host` as `URL` gives it, but an IPv6 address has no brackets. */
export interface Target {
  readonly host: string;
  readonly port: number;
  readonly tls: boolean;
  /** Whether it must not be in a private network: see reach.ts. */
  readonly onlyPublic?: boolean;
}

/** `host:port`, as CONNECT and people write it. */
export function authority({ host, port }: { readonly host: string; readonly port: number }): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
