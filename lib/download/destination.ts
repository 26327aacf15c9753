// Where the body of one name goes: into the store if it is right, and back to its narinfo, as a doubt, if nobody has it right.
import { describe } from '../errors.ts';
import type { Emit } from '../events.ts';
import type { NarInfos } from '../narinfos/narinfos.ts';
import { namesFor } from '../nix/nar-names.ts';
import { hashInNarName, type ObjectName, pathOf } from '../nix/object-name.ts';
import type { Spool } from '../store/scratch.ts';
import type { Store } from '../store/store.ts';
import { Until } from '../sync/until.ts';
import type { Arrived, Expected } from './verify.ts';

/** Who is told by a download what becomes of the body. */
export interface Destination {
  /** Gets the finished body; readers do not wait for it. The spool is closed afterwards. */
  keep(spool: Spool, arrived: Arrived, origin: string): Promise<void>;
  /** Nobody had what was expected. Never rejects. */
  unfit(): Promise<void>;
  /** Readers have seen wrong bytes, and have not heard of it yet. */
  misled(): void;
}

/** What is known of a body when its first bytes have come. */
interface Coming {
  readonly expected: Expected;
  /** Whether it can't have been cut off without anybody knowing. */
  readonly isWhole: boolean;
  /** Bytes that it has as its narinfo says, which nobody need have signed. */
  readonly saidSize: number | undefined;
}

interface DestinationsOptions {
  readonly store: Pick<Store, 'put'>;
  readonly narInfos: Pick<NarInfos, 'doubt' | 'resize'>;
  readonly emit: Emit;
  /** Milliseconds from anywhere. */
  readonly now: () => number;
}

/** How long clients that have seen wrong bytes may come back for the rest. */
const MISLED_MS = 60_000;

/** Those of all that is fetched. */
export class Destinations {
  readonly #options: DestinationsOptions;
  /** Paths of which readers have seen wrong bytes. */
  readonly #misled: Until;

  constructor(options: DestinationsOptions) {
    this.#options = options;
    this.#misled = new Until(options.now, MISLED_MS);
  }

  of(name: ObjectName, coming: Coming): Destination {
    return {
      keep: (spool, arrived, origin) => this.#keep(name, coming, spool, arrived, origin),
      unfit: () => this.unfit(name),
      misled: () => this.#misled.add(pathOf(name)),
    };
  }

  /** Nobody has the body as its narinfo, if it has one, describes it. Never rejects. */
  async unfit(name: ObjectName): Promise<void> {
    if (name.kind !== 'nar' || name.hash === undefined) return;
    const { emit, narInfos } = this.#options;
    await narInfos
      .doubt(name.hash, name.name)
      .catch((error) => emit({ kind: 'notice', level: 'warn', text: describe(error) }));
  }

  /** Whether clients have lately seen wrong bytes of it, so that what they ask for now may be meant to go behind those. */
  hasMisled(name: ObjectName): boolean {
    return pathsFor(name).some((path) => this.#misled.has(path));
  }

  async #keep(
    name: ObjectName,
    { expected, isWhole, saidSize }: Coming,
    spool: Spool,
    arrived: Arrived,
    origin: string,
  ): Promise<void> {
    const kept = keptAs(name, expected, arrived);
    if (kept === undefined || !isWhole) return;
    const { narInfos, store } = this.#options;
    const { sha256, size } = arrived;
    const meta = { ...kept, kind: name.kind, origin, storedAt: new Date(), size, sha256 };
    await store.put(spool, meta, { when: 'absent', durable: false });
    const isSizeWrong = saidSize !== undefined && saidSize !== size;
    if (isSizeWrong && name.kind === 'nar' && name.hash !== undefined)
      await narInfos.resize(name.hash, name.name, size);
  }
}

/** Where it is to be stored; undefined for a NAR of which nobody can tell whether it is what its name says. */
function keptAs(
  name: ObjectName,
  { named, nar, fileHash }: Expected,
  { proof }: Arrived,
): { path: string; narHash: string | undefined } | undefined {
  const narHash = nar && `sha256:${nar.narHash}`;
  if (name.kind !== 'nar' || named === undefined) {
    const isTold = name.kind !== 'nar' || nar !== undefined || fileHash !== undefined;
    return isTold ? { path: pathOf(name), narHash } : undefined;
  }
  // A NAR's name may be made of the hash of the file or of what is in it, and which it is shows only when all of it is there.
  const [byFileHash, byNarHash = byFileHash] = namesFor(named.name, name.hash);
  if (proof === 'file') return { path: pathOf({ ...name, name: byFileHash }), narHash };
  if (proof !== 'nar') return undefined;
  return { path: pathOf({ ...name, name: byNarHash }), narHash: `sha256:${hashInNarName(byFileHash)}` };
}

/** Under which paths it may be stored already. */
export function pathsFor(name: ObjectName): string[] {
  if (name.kind !== 'nar') return [pathOf(name)];
  return namesFor(name.name, name.hash).map((one) => pathOf({ ...name, name: one }));
}
