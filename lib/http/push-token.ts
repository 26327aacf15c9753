// Who may push, as far as the operator must know it: the token that the service makes itself where the configuration names nobody,
// and what it means to let addresses push. Where the token can't be had (a folder that takes no writes, a file that is damaged)
// uploads are refused, hits go on, and it is tried again until the operator has mended that.
import { Addresses, LOOPBACK } from '../addresses.ts';
import type { AccessConfig } from '../config/config.ts';
import { digestOf, type Token } from '../config/secrets.ts';
import { describe, isCacheError } from '../errors.ts';
import type { Emit, Notice } from '../events.ts';
import type { PushNetrc } from '../store/storage.ts';

const AGAIN_MS = 2_000;

/** The token beside those of the configuration. */
export interface OwnToken {
  /** Undefined where there is none. */
  readonly token: Token | undefined;
  /** Why there is none although there should be one, for clients. */
  readonly lack: string | undefined;
}

interface PushTokenOptions {
  readonly netrc: PushNetrc;
  /** What the service is to listen on; undefined for all of the machine's addresses. */
  readonly host: string | undefined;
  readonly emit: Emit;
  /** Ends all trying. */
  readonly signal: AbortSignal;
}

export class PushToken implements OwnToken {
  token: Token | undefined;
  lack: string | undefined;
  readonly #options: PushTokenOptions;
  #url: string | undefined;
  /** The latest call of {@link reconfigure}: what began before it counts for nothing. */
  #turn = 0;
  #timer: NodeJS.Timeout | undefined;
  /** What was said last, so that trying again does not repeat it. */
  #said: string | undefined;

  constructor(options: PushTokenOptions) {
    this.#options = options;
    options.signal.addEventListener('abort', () => this.#begin(), { once: true });
  }

  /** From now on these rules hold. Reads the file anew, or makes it. Never rejects. */
  async reconfigure(access: AccessConfig): Promise<void> {
    const turn = this.#begin();
    this.#said = undefined;
    if (access.ownToken) return this.#obtain(turn);
    this.token = undefined;
    this.lack = undefined;
    const { emit, netrc } = this.#options;
    const { file } = netrc;
    sayWhoMayPush(access, emit);
    const isThere = await netrc.read().then(
      (found) => found !== undefined,
      (error) => isCacheError(error, 'invalid'),
    );
    if (!isThere) return;
    emit(
      warning(
        `${file} does not count, as the configuration has [[tokens]] or [push] from: it may be deleted`,
      ),
    );
  }

  /** From now on it is known how clients reach the service. */
  introduce(url: string): void {
    this.#url = url.replace(/^(\w+):\/\/(?:0\.0\.0\.0|\[::\])/, '$1://localhost');
    this.#say();
  }

  #begin(): number {
    clearTimeout(this.#timer);
    return ++this.#turn;
  }

  async #obtain(turn: number): Promise<void> {
    const { emit, netrc } = this.#options;
    const { file } = netrc;
    try {
      let found = await netrc.read();
      if (found === undefined) {
        await netrc.make(strangeHost(this.#options.host));
        found = await netrc.read();
      }
      if (turn !== this.#turn) return;
      if (found === undefined) throw new Error(`${file} is gone again`);
      this.token = { name: 'push.netrc', digest: digestOf(found.secret), allow: ['push'] };
      this.lack = undefined;
      if (found.exposed) emit(warning(`${file} can be read by others on this machine: chmod 600 ${file}`));
      this.#say();
    } catch (error) {
      if (turn !== this.#turn) return;
      const damaged = isCacheError(error, 'invalid');
      const what = damaged
        ? 'its file push.netrc is damaged'
        : "its folder's push.netrc can't be made or read";
      this.token = undefined;
      this.lack = `this cache has no token for pushing now: ${what}, as its log says`;
      const todo = damaged
        ? 'delete the file, and a new one is made within seconds'
        : `it is tried again every ${AGAIN_MS / 1000} s`;
      const said = `uploads are refused, because there is no token for pushing: ${describe(error)}; ${todo}`;
      if (said !== this.#said) emit(warning(said));
      this.#said = said;
      this.#timer = setTimeout(() => void this.#obtain(turn), AGAIN_MS).unref();
    }
  }

  #say(): void {
    if (this.token === undefined || this.#url === undefined) return;
    const { file } = this.#options.netrc;
    this.#options.emit({
      kind: 'notice',
      level: 'info',
      text: `pushing takes the token in ${file}: nix copy --option netrc-file ${file} --to ${this.#url}/push ./result`,
    });
  }
}

function warning(text: string): Notice {
  return { kind: 'notice', level: 'warn', text };
}

/** The name or address that must stand in the netrc beside the usual ones. */
function strangeHost(host: string | undefined): string | undefined {
  return host === undefined || host === '0.0.0.0' || host === '::' ? undefined : host;
}

/** Whoever lets addresses push must know whom that may be. */
function sayWhoMayPush({ pushFrom }: AccessConfig, emit: Emit): void {
  if (pushFrom.length === 0) return;
  const ranges = pushFrom.map(({ address, prefix }) => `${address}/${prefix}`).join(', ');
  const proxies = 'so may whoever comes through a reverse proxy';
  const loopback = new Addresses(LOOPBACK);
  const those = new Addresses(pushFrom);
  const here =
    pushFrom.some(({ address }) => loopback.has(address)) || those.has('127.0.0.1') || those.has('::1');
  emit({
    kind: 'notice',
    level: 'info',
    text: here
      ? `[push] from: this machine may push without a token (${ranges}), and ${proxies} on it`
      : `[push] from: ${ranges} may push without a token, and ${proxies} at such an address`,
  });
}
