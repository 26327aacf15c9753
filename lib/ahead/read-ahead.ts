// What is fetched before a client asks for it, because of what clients ask. All of it takes only what is idle, and whoever waits goes
// before it.
import type { Config } from '../config/config.ts';
import type { Emit } from '../events.ts';
import type { NarInfos } from '../narinfos/narinfos.ts';
import type { ObjectName } from '../nix/object-name.ts';
import type { Upstreams } from '../upstream/upstreams.ts';
import { NarInfosAhead } from './narinfos-ahead.ts';

interface ReadAheadOptions extends Pick<Config, 'readAhead'> {
  readonly narInfos: NarInfos;
  readonly upstreams: Upstreams;
  readonly emit: Emit;
  /** Ends it when the service stops. */
  readonly signal: AbortSignal;
  /** Milliseconds from anywhere. */
  readonly now: () => number;
}

export class ReadAhead {
  readonly #narInfos: NarInfosAhead | undefined;

  constructor(options: ReadAheadOptions) {
    if (options.readAhead === 'off') return;
    const narInfos = new NarInfosAhead(options);
    this.#narInfos = narInfos;
    options.narInfos.watch((known) => narInfos.follow(known));
  }

  /** A client asks for it, and will get what there is. */
  asked(name: ObjectName): void {
    if (name.kind === 'narinfo') this.#narInfos?.asked(name.hash);
  }
}
