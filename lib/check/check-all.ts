// One check of all of the folder, or of a sample of it: sets aside what is damaged, and has it fetched anew where that is
// wished. Works beside a service, from which it takes nothing but time of the disk.
import { describe, isCacheError } from '../errors.ts';
import { type ObjectName, parseObjectName, pathOf } from '../nix/object-name.ts';
import { idOf } from '../store/object-id.ts';
import type { Aside, Totals, Upkeep } from '../store/upkeep.ts';
import { checkAny } from './check-any.ts';
import { Checker } from './check-object.ts';
import type { Finding } from './finding.ts';
import { narInfosOf } from './narinfos-of.ts';
import type { Repairer } from './repair.ts';
import { type KeysConfig, TrustedKeys } from './trusted-keys.ts';

interface VerifyOptions {
  readonly upkeep: Upkeep;
  readonly config: KeysConfig;
  /** Of the objects, above 0; 1 for all. */
  readonly share: number;
  /** Undefined where nothing is to be fetched anew. */
  readonly repairer: Repairer | undefined;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: Progress) => void;
  readonly onEvent: (event: VerifyEvent) => void;
  /** From 0 to 1. */
  readonly random?: () => number;
}

export interface Progress {
  /** From 0 to 1, of all there is to do. */
  readonly done: number;
  /** Read so far. */
  readonly bytes: number;
  readonly objects: number;
  readonly findings: number;
}

export type VerifyEvent =
  /** `aside` is what had been set aside before; `stays`, why it can't be, though it is to be. */
  | { readonly kind: 'found'; readonly finding: Finding; readonly aside?: boolean; readonly stays?: string }
  | { readonly kind: 'repaired'; readonly label: string }
  | { readonly kind: 'not repaired'; readonly label: string; readonly why: string };

export interface Verified {
  objects: number;
  bytes: number;
  /** Objects with which nothing is kept, and of which nobody can tell what they are. */
  unknown: number;
  damaged: number;
  doubtful: number;
  /** Of the damaged ones. */
  repaired: number;
  /** Whether it was ended early. */
  interrupted: boolean;
}

/** @throws CacheError `storage` or `startup` */
export async function checkAll(options: VerifyOptions): Promise<Verified> {
  const run = new Verification(options);
  try {
    await run.takeUp();
    await run.checkAll();
    await run.settle();
  } catch (error) {
    if (!options.signal.aborted) throw error;
    run.result.interrupted = true;
  }
  return run.result;
}

class Verification {
  readonly result: Verified = {
    objects: 0,
    bytes: 0,
    unknown: 0,
    damaged: 0,
    doubtful: 0,
    repaired: 0,
    interrupted: false,
  };
  readonly #options: VerifyOptions;
  readonly #checker: Checker;
  /** Set aside. */
  readonly #lost: Finding[] = [];
  /** Ids of those that were set aside before. */
  readonly #aside = new Set<string>();
  /** By the id of the narinfo. */
  readonly #dangling = new Map<string, Finding>();
  #read = 0;
  #ofThis = 0;
  #progress: (bytesOfThis: number) => void = () => {};

  constructor(options: VerifyOptions) {
    const { config, signal, upkeep } = options;
    const keys = new TrustedKeys(config);
    this.#options = options;
    const pause = (bytes: number) => {
      signal.throwIfAborted();
      this.#read += bytes;
      this.#ofThis += bytes;
      this.#progress(this.#ofThis);
    };
    this.#checker = new Checker({
      upkeep,
      storeDir: config.storeDir,
      keys: () => keys,
      pause,
    });
  }

  /** What an earlier check, or whoever read it, has set aside is to be had again too. */
  async takeUp(): Promise<void> {
    const { repairer, signal, upkeep } = this.#options;
    if (repairer === undefined) return;
    for (const aside of await upkeep.listAside()) {
      const { id, label, reason } = aside;
      signal.throwIfAborted();
      // Another file has taken its place, and is checked like all others.
      if (await upkeep.has(id)) await upkeep.dropAside(id);
      else if (await this.#isDangling(aside)) {
        // The reason for setting the file aside may be gone, or mended.
        const place = await upkeep.putBack(aside);
        for (const finding of (await checkAny(this.#checker, { id, place })).findings)
          await this.#act(finding);
      } else if (!this.#aside.has(id)) {
        this.#aside.add(id);
        const name = label.startsWith('/') ? parseObjectName(label.slice(1), '') : undefined;
        const finding: Finding = { id, place: undefined, version: '', name, label, reason, kind: 'damaged' };
        this.result.damaged++;
        this.#lost.push(finding);
        this.#options.onEvent({ kind: 'found', finding, aside: true });
      }
    }
  }

  /** Whether it is a pushed narinfo, whole, that was set aside for no other reason than that its NAR was not there. */
  async #isDangling(aside: Aside): Promise<boolean> {
    if (!/^its NAR .* is not here$/.test(aside.reason)) return false;
    const meta = await this.#options.upkeep.wholeAside(aside);
    return meta?.kind === 'narinfo' && meta.origin === 'push';
  }

  async checkAll(): Promise<void> {
    const { random = Math.random, share, signal, upkeep } = this.#options;
    const totals = await upkeep.count(signal);
    const wanted = Math.ceil(totals.objects * share);
    const isChosen = share === 1 ? () => true : chooser(wanted, totals.objects, random);
    this.#watch(share === 1 ? totals : undefined, wanted);
    const unknown: string[] = [];
    for await (const source of upkeep.places()) {
      signal.throwIfAborted();
      if (!isChosen()) continue;
      this.#ofThis = 0;
      const { bytes, findings, state } = await checkAny(this.#checker, source);
      if (state === 'gone') continue;
      this.result.objects++;
      this.result.bytes += bytes;
      this.#progress(0);
      if (state === 'unknown') unknown.push(source.id);
      for (const finding of findings) await this.#act(finding);
    }
    this.result.unknown = unknown.filter((id) => !this.#checker.isExplained(id)).length;
  }

  /** What is read a second time, because a narinfo and its NAR are looked at together, must not turn the bar back. */
  #watch(totals: Totals | undefined, wanted: number): void {
    let shown = 0;
    this.#progress = (bytesOfThis) => {
      const { bytes, damaged, doubtful, objects } = this.result;
      const done = totals === undefined ? objects / wanted : (bytes + bytesOfThis) / totals.bytes;
      shown = Math.max(shown, Math.min(1, done));
      this.#options.onProgress({ done: shown, bytes: this.#read, objects, findings: damaged + doubtful });
    };
  }

  async #act(finding: Finding): Promise<void> {
    if (finding.kind === 'dangling') {
      this.#dangling.set(finding.id, finding);
      return;
    }
    if (finding.kind === 'damaged') return this.#setAside(finding);
    this.result.doubtful++;
    this.#options.onEvent({ kind: 'found', finding });
  }

  async #setAside(finding: Finding): Promise<void> {
    const { label, place, reason, version } = finding;
    if (place === undefined) return;
    let isAside: boolean;
    try {
      isAside = await this.#options.upkeep.setAside({ place, version }, label, reason);
    } catch (error) {
      if (!isCacheError(error, 'storage')) throw error;
      // On a read-only disk, or in another user's folder, the check goes on all the same.
      this.result.damaged++;
      this.#options.onEvent({ kind: 'found', finding, stays: describe(error.cause) });
      return;
    }
    // The file may have been replaced or removed since: then it is not the damaged one.
    if (!isAside) return;
    this.result.damaged++;
    this.#lost.push(finding);
    this.#options.onEvent({ kind: 'found', finding });
  }

  /** Deals with what depends on what was lost, and has that fetched anew: narinfos first, since they lead to NARs. */
  async settle(): Promise<void> {
    const { config, signal, upkeep } = this.#options;
    this.#progress = () => {};
    const lost = this.#lost.filter(({ name }) => name?.kind !== 'narinfo');
    for (const one of this.#lost.filter(({ name }) => name?.kind === 'narinfo')) await this.#repair(one);
    const found = new Set(this.#dangling.keys());
    const missing = new Set([...lost.map(({ id }) => id), ...this.#nars()]);
    const names = new Map<string, ObjectName>();
    for await (const one of narInfosOf(upkeep, config.storeDir, missing, signal)) {
      names.set(one.id, one.nar);
      if (one.pushed) this.#dangling.set(one.finding.id, one.finding);
    }
    for (const one of lost) {
      await this.#repair(one, names.get(one.id));
      missing.delete(one.id);
    }
    for (const id of missing) {
      const name = names.get(id);
      if (name !== undefined) await this.#options.repairer?.fetch(name);
    }
    for (const [id, one] of this.#dangling) await this.#settleDangling(one, found.has(id));
  }

  #nars(): string[] {
    return [...this.#dangling.values()].flatMap(({ nar }) => nar ?? []);
  }

  /** `found` is whether it was so before anything was set aside. */
  async #settleDangling(finding: Finding, found: boolean): Promise<void> {
    if (finding.place === undefined) return;
    const { findings, state } = await this.#checker.check(finding.place);
    if (findings.some(({ kind }) => kind === 'dangling')) {
      const before = this.#lost.length;
      await this.#setAside({ ...finding, kind: 'damaged' });
      if (this.#lost.length > before) await this.#repair(finding);
    } else if (found && state === 'right' && this.#options.repairer !== undefined) {
      this.result.damaged++;
      this.#options.onEvent({ kind: 'found', finding });
      this.#repaired(finding.label);
    }
  }

  /** `name` is better than what the finding knows. */
  async #repair(finding: Finding, name = finding.name): Promise<void> {
    const { repairer, signal, upkeep } = this.#options;
    if (repairer === undefined) return;
    signal.throwIfAborted();
    const label = name === undefined ? finding.label : pathOf(name);
    const why =
      name === undefined
        ? 'nobody can tell what it was'
        : ((await repairer.fetch(name)) ?? (await this.#whyNotRight(pathOf(name))));
    if (why === undefined) {
      this.#repaired(label);
      if (this.#aside.has(finding.id)) await upkeep.dropAside(finding.id);
    } else this.#options.onEvent({ kind: 'not repaired', label, why });
  }

  #repaired(label: string): void {
    this.result.repaired++;
    this.#options.onEvent({ kind: 'repaired', label });
  }

  async #whyNotRight(path: string): Promise<string | undefined> {
    const object = await this.#options.upkeep.inspectId(idOf(path), () => {});
    if (object === undefined || object === 'moving') return 'it could not be kept';
    await object.close();
    const { findings, state } = await this.#checker.check(object.place);
    if (state === 'gone') return 'it could not be kept';
    return findings[0] && `what came instead: ${findings[0].reason}`;
  }
}

/** Says of each of `total` in turn whether it is one of the `wanted`, all of them equally likely. */
export function chooser(wanted: number, total: number, random: () => number): () => boolean {
  let [missing, left] = [wanted, total];
  return () => {
    const chosen = random() * left < missing;
    left--;
    if (chosen) missing--;
    return chosen;
  };
}
