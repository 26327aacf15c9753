// Takes in what belongs to imported paths besides narinfo and NAR: what the source can list, or else what can be asked for by its name.

import type { Engine } from '../engine.ts';
import { endingOf } from '../nix/compression.ts';
import { sameContent } from '../nix/fits.ts';
import type { NarInfo } from '../nix/narinfo.ts';
import { pathOf } from '../nix/object-name.ts';
import type { StoreHash } from '../nix/store-path.ts';
import { type Besides, bodyFor, fileNameIn, logOf, namesFor, narIn, outPathIn, withNar } from './besides.ts';
import type { ImportSource } from './import-source.ts';
import { attempt, checkAborted, type TransferWatch } from './transfer.ts';

interface Options {
  readonly engine: Engine;
  readonly source: ImportSource;
  readonly watch: TransferWatch;
  readonly signal: AbortSignal;
}

export class ImportedBesides {
  readonly #options: Options;
  readonly #paths = new Set<StoreHash>();
  /** Of imported NARs: what an index at the source may call one, and its name here. */
  readonly #nars = new Map<string, string>();
  readonly #looked = new Set<string>();

  constructor(options: Options) {
    this.#options = options;
  }

  /** The path is here now; what the source has of another content is not taken. */
  async ofPath(info: NarInfo): Promise<void> {
    const known = await this.#options.engine.narInfos.local(info.hashPart);
    if (known === undefined || !sameContent(known.info, info)) return;
    this.#paths.add(info.hashPart);
    const ending = endingOf(info.compression);
    for (const hash of [info.fileHash, info.narHash])
      if (hash !== undefined) this.#nars.set(`${hash}.nar${ending}`, known.narName);
    this.#nars.set(fileNameIn(info.url), known.narName);
    for (const name of namesFor(info)) await this.#take(name, false);
  }

  /** Once all paths were taken: of what the source lists all, or what leads to one of them. */
  async rest(all: boolean): Promise<void> {
    const { source } = this.#options;
    for await (const name of source.list()) {
      // Listings, and logs unless all are taken, have come with their paths.
      if (name.kind === 'listing' || (name.kind === 'log' && !all)) continue;
      await this.#take(name, !all);
    }
  }

  /** `ours`: only if it leads to a path that was taken. */
  async #take(name: Besides, ours: boolean): Promise<void> {
    const { engine, signal, source, watch } = this.#options;
    checkAborted(signal);
    const path = pathOf(name);
    if (this.#looked.has(path)) return;
    this.#looked.add(path);
    const taken = await attempt(this.#options, path, async () => {
      if (await this.#isHere(name)) return false;
      const found = await source.besides(name);
      const body = found && this.#wanted(name, await bodyFor(name, found), ours);
      if (body === undefined) return false;
      await engine.uploads.check(name, body.length);
      await engine.uploads.put(name, one(body), signal);
      return true;
    });
    if (taken === true) watch.besides();
    if (taken === true && name.kind === 'build-trace') await this.#take(logOf(name), false);
  }

  /** What was pushed stays; but a realisation may have got another signature. */
  async #isHere(name: Besides): Promise<boolean> {
    if (name.kind === 'realisation' || name.kind === 'build-trace') return false;
    const object = await this.#options.engine.store.open(pathOf(name));
    await object?.close();
    return object?.meta.origin === 'push';
  }

  #wanted({ kind }: Besides, body: Buffer | undefined, ours: boolean): Buffer | undefined {
    if (body === undefined) return undefined;
    if (kind === 'debug-info') {
      const nar = this.#nars.get(narIn(body) ?? '');
      return nar === undefined ? undefined : withNar(body, nar);
    }
    if (!ours) return body;
    const path = outPathIn(body);
    return path !== undefined && this.#paths.has(path) ? body : undefined;
  }
}

async function* one(body: Buffer): AsyncGenerator<Buffer> {
  yield body;
}
