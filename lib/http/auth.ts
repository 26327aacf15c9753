// Who may do what. A client is known by its token, or by its address where the configuration opens something to addresses.
import { timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { Addresses, plainAddress } from '../addresses.ts';
import type { AccessConfig, Right } from '../config/config.ts';
import { digestOf, type Token } from '../config/secrets.ts';
import { CacheError } from '../errors.ts';
import { Guesses } from './guesses.ts';
import type { OwnToken } from './push-token.ts';

/** What each right is worth: it includes those before it. */
const RIGHTS: readonly Right[] = ['pull', 'push', 'admin'];

/** What proxies add, each some of them. One that adds none can't be told from a program on its machine. */
const SPOKEN_FOR = 'x-forwarded-for forwarded via x-real-ip x-forwarded-host x-forwarded-proto'.split(' ');

const MOST_TOKENLESS = 1000;

interface Policy {
  readonly tokens: readonly Token[];
  readonly openToRead: boolean;
  readonly pushFrom: Addresses;
  readonly trustedProxies: Addresses;
}

export class Access {
  #policy: Policy;
  readonly #guesses: Guesses;
  readonly #own: OwnToken;
  /** What is told of clients without a token, by their address. */
  readonly #tokenless = new Map<string, string>();

  /** `signal` ends the waiting of those who guess; `own` is looked at anew for each request. */
  constructor(
    config: AccessConfig,
    tokens: readonly Token[],
    signal: AbortSignal,
    own: OwnToken = { token: undefined, lack: undefined },
  ) {
    this.#policy = policyOf(config, tokens);
    this.#own = own;
    this.#guesses = new Guesses(signal);
  }

  /** From now on another configuration holds. */
  reconfigure(config: AccessConfig, tokens: readonly Token[]): void {
    this.#policy = policyOf(config, tokens);
  }

  /** Whether anybody may read what this client is sent, whom neither a token nor a certificate lets in. */
  isOpenTo({ socket }: IncomingMessage): boolean {
    return this.#policy.openToRead && (socket as Partial<TLSSocket>).authorized !== true;
  }

  /** The client's address, as far as it can be told. */
  addressOf(req: IncomingMessage): string {
    const peer = peerOf(req);
    return this.#hopBehind(peer, req) ?? peer;
  }

  /** Who it is, for what is to be told apart from what others ask: its token's name and its address; undefined if that may be of several. */
  clientOf(req: IncomingMessage): string | undefined {
    if (this.#isHidden(req)) return undefined;
    const address = this.addressOf(req);
    const secret = secretIn(req.headers.authorization);
    if (secret !== undefined) return `${this.#tokenOf(secret)?.name ?? ''} ${address}`;
    // The same text again and again, as its hash is counted only once then: this is asked for with every hit.
    let client = this.#tokenless.get(address);
    if (client === undefined) {
      if (this.#tokenless.size === MOST_TOKENLESS) this.#tokenless.clear();
      client = ` ${address}`;
      this.#tokenless.set(address, client);
    }
    return client;
  }

  /**
   * Whether the client has the right; undefined if it has it at once, as whoever reads an open cache.
   * @throws CacheError `unauthorized` or `forbidden`; also by rejecting
   */
  check(req: IncomingMessage, right: Right): Promise<void> | undefined {
    if (right === 'pull' && this.#policy.openToRead) return undefined;
    const address = this.addressOf(req);
    const hidden = this.#isHidden(req);
    if (right !== 'admin' && !hidden && this.#policy.pushFrom.has(address)) return undefined;
    const secret = secretIn(req.headers.authorization);
    if (secret !== undefined) {
      const turn = this.#guesses.turn(address, this.#tokenOf(secret)?.name);
      if (turn === undefined) return this.#checkToken(address, secret, right);
      // The tokens may be others when this request has waited.
      return turn.then(() => this.#checkToken(address, secret, right));
    }
    const hint = hidden ? ', which may speak for another' : '';
    throw new CacheError(
      'unauthorized',
      `expected a token that may ${right}, found none in the request from ${address}${hint}${this.#advice()}`,
    );
  }

  /** Whether it may read, as far as that can be told without noting anything: whoever may not is for {@link check}. */
  mayRead(req: IncomingMessage): boolean {
    if (this.#policy.openToRead) return true;
    const secret = secretIn(req.headers.authorization);
    if (secret === undefined || this.#guesses.guesses(this.addressOf(req))) return false;
    return this.#tokenOf(secret)?.allow.some((right) => RIGHTS.includes(right)) === true;
  }

  #checkToken(address: string, secret: string, right: Right): undefined {
    const token = this.#tokenOf(secret);
    if (token === undefined) {
      this.#guesses.wrong(address);
      throw new CacheError(
        'unauthorized',
        `the token in the request from ${address} is none of ours${this.#advice()}`,
      );
    }
    this.#guesses.right(address, token.name);
    const most = Math.max(...token.allow.map((one) => RIGHTS.indexOf(one)));
    if (most >= RIGHTS.indexOf(right)) return undefined;
    throw new CacheError(
      'forbidden',
      `the token ${token.name} may ${token.allow.join(' and ')}, expected one that may ${right} in the request from ${address}`,
    );
  }

  /** Where the token is, or why there is none: of the cache's own only its users on this machine can know that. */
  #advice(): string {
    const { lack, token } = this.#own;
    if (lack !== undefined) return `; ${lack}`;
    return token === undefined
      ? ''
      : '; the token is in push.netrc in the cache folder (nix: --option netrc-file)';
  }

  /** Compares with every one, so that the time it takes tells nothing. */
  #tokenOf(secret: string): Token | undefined {
    const digest = digestOf(secret);
    let found: Token | undefined;
    const own = this.#own.token;
    const tokens = own === undefined ? this.#policy.tokens : [...this.#policy.tokens, own];
    for (const token of tokens) if (timingSafeEqual(token.digest, digest)) found = token;
    return found;
  }

  /** Whether its address says nothing: a proxy that names no client, one that nobody vouches for, or a browser. */
  #isHidden(req: IncomingMessage): boolean {
    // A web page that a user of an allowed machine looks at must not push in its name.
    if (req.headers.origin !== undefined) return true;
    // In a chain of trusted proxies, the last may have been told nothing by the one before it.
    if (this.#policy.trustedProxies.has(this.addressOf(req))) return true;
    if (this.#hopBehind(peerOf(req), req) !== undefined) return false;
    const { headers } = req;
    for (const name of SPOKEN_FOR) if (headers[name] !== undefined) return true;
    return false;
  }

  /** Whom a trusted proxy speaks for; undefined if it is none, or does not say. */
  #hopBehind(peer: string, req: IncomingMessage): string | undefined {
    const forwarded = req.headers['x-forwarded-for'];
    const trusted = this.#policy.trustedProxies;
    if (forwarded === undefined || !trusted.has(peer)) return undefined;
    // The nearest hop stands last; entries before the first unknown hop may be made up.
    const hops = String(forwarded).split(',').map(hopAddress).reverse();
    const address = hops.find((hop) => !trusted.has(hop)) ?? hops.at(-1) ?? '';
    return isIP(address) === 0 ? undefined : address;
  }
}

function policyOf(config: AccessConfig, tokens: readonly Token[]): Policy {
  return {
    tokens,
    openToRead: config.read === 'anyone',
    pushFrom: new Addresses(config.pushFrom),
    trustedProxies: new Addresses(config.trustedProxies),
  };
}

function peerOf(req: IncomingMessage): string {
  return plainAddress(req.socket.remoteAddress ?? '-');
}

/** `10.0.0.1`, `10.0.0.1:1234`, `[fd00::1]:1234` → the address. */
function hopAddress(text: string): string {
  const hop = text.trim();
  return plainAddress(/^\[([^\]]*)\]/.exec(hop)?.[1] ?? /^([0-9.]+):\d+$/.exec(hop)?.[1] ?? hop);
}

/** The token in an Authorization header: a Bearer's, or the password of Basic, whatever the user. */
function secretIn(header: string | undefined): string | undefined {
  if (header === undefined) return undefined;
  const [, scheme = '', value = ''] = /^\s*(\S+)\s+(\S+)\s*$/.exec(header) ?? [];
  if (/^bearer$/i.test(scheme)) return value;
  if (!/^basic$/i.test(scheme)) return undefined;
  const pair = Buffer.from(value, 'base64').toString();
  const colon = pair.indexOf(':');
  return colon < 0 ? undefined : pair.slice(colon + 1);
}
