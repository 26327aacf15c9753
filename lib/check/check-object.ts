// Checks one object after another: whole, what its header and its name say, and, of a narinfo, whether it is about its own
// path, rightly signed, and agrees with its NAR. Looks only, and leaves no trace. What is found is for the caller to act on.
import { ByteLru } from '../bytes/byte-lru.ts';
import { isDecodable } from '../bytes/codings.ts';
import { describe, isCacheError } from '../errors.ts';
import { NAR_ENDINGS } from '../nix/compression.ts';
import { sha256FromBytes } from '../nix/hash.ts';
import { narNameOf } from '../nix/nar-names.ts';
import { beginsLikeNarInfo, MAX_NARINFO_BYTES, type NarInfo, parseNarInfo } from '../nix/narinfo.ts';
import { type NarName, type ObjectName, parseObjectName, pathOf } from '../nix/object-name.ts';
import { idOf } from '../store/object-id.ts';
import type { ObjectMeta } from '../store/store.ts';
import type { Inspected, Pause, Place, Upkeep } from '../store/upkeep.ts';
import { bytesOf, hashOf } from './body.ts';
import { difference, guessCoding, isProven, type NarFacts, narDamage, readNar } from './check-nar.ts';
import { metaOf } from './checked-meta.ts';
import { type Checked, type Finding, finding } from './finding.ts';
import { isOfOtherStore, nameOfNarInfo } from './names-in-files.ts';
import type { TrustedKeys } from './trusted-keys.ts';

interface CheckerOptions {
  readonly upkeep: Pick<Upkeep, 'inspect' | 'inspectId'>;
  readonly storeDir: string;
  readonly keys: () => TrustedKeys;
  readonly pause: Pause;
}

/** NARs whose facts are remembered until their narinfos come, or the other way round. */
const REMEMBERED = 50_000;
/** Enough to know a narinfo, and how a NAR is packed. */
const HEAD_BYTES = 4096;
const CACHE_INFO = idOf('/nix-cache-info');
type Verdict = Omit<Checked, 'bytes'>;

const NOTHING: readonly Finding[] = [];
const RIGHT: Verdict = { state: 'right', findings: NOTHING };

export class Checker {
  readonly #options: CheckerOptions;
  readonly #nars = new ByteLru<{ readonly version: string; readonly facts: NarFacts }>(REMEMBERED);
  /** What nothing is kept with, and a narinfo has explained. */
  readonly #explained = new ByteLru<true>(REMEMBERED);

  constructor(options: CheckerOptions) {
    this.#options = options;
  }

  /** @throws CacheError `storage`, or what `pause` throws */
  async check(place: Place): Promise<Checked> {
    const { pause, upkeep } = this.#options;
    const object = await upkeep.inspect(place, pause);
    if (object === undefined) return { state: 'gone', bytes: 0, findings: NOTHING };
    const { bytes, damage, meta, path } = object;
    try {
      const isBare = meta === undefined && damage === undefined;
      return { bytes, ...(isBare ? await this.#bare(object) : await this.#object(object)) };
    } catch (error) {
      if (!isCacheError(error, 'damaged')) throw error;
      const name = path === undefined ? undefined : parseObjectName(path.slice(1), '');
      return { bytes, ...found(finding(object, name, describe(error))) };
    } finally {
      await object.close();
    }
  }

  /** Whether a narinfo that came after this object has told what it is. */
  isExplained(id: string): boolean {
    return this.#explained.get(id) ?? false;
  }

  /** @throws CacheError `damaged` while it is not certain what it is */
  async #object(object: Inspected): Promise<Verdict> {
    const { meta, name } = metaOf(object);
    const { damage, size } = object;
    if (damage !== undefined) return found(finding(object, name, damage));
    if (size !== meta.size)
      return found(finding(object, name, `its body has ${size} bytes, its header says ${meta.size}`));
    try {
      if (name.kind === 'nar') return await this.#nar(object, meta, name);
      const sha256 = (await hashOf(object)).toString('hex');
      if (sha256 !== meta.sha256)
        return found(
          finding(object, name, `the SHA-256 of its body is ${sha256}, its header says ${meta.sha256}`),
        );
      if (name.kind !== 'narinfo') return RIGHT;
      if (size > MAX_NARINFO_BYTES) return found(finding(object, name, 'it is longer than any narinfo'));
      return await this.#narInfo(object, (await bytesOf(object)).toString(), meta.origin);
    } catch (error) {
      if (!isCacheError(error, 'damaged')) throw error;
      return found(finding(object, name, describe(error)));
    }
  }

  /** One with which nothing is kept. */
  async #bare(object: Inspected): Promise<Verdict> {
    const { id, size, version } = object;
    const head = await bytesOf(object, 0, Math.min(size, HEAD_BYTES));
    if (size <= MAX_NARINFO_BYTES && beginsLikeNarInfo(head))
      return this.#narInfo(object, (await bytesOf(object)).toString(), 'unknown');
    const facts = await readNar(object, guessCoding(undefined, head));
    this.#nars.set(id, { version, facts }, 1);
    // No name is kept with it, but a NAR's name is a hash: of the file, or of what is packed in it.
    const hash = sha256FromBytes(Buffer.from(facts.sha256 ?? '', 'hex'));
    const inside = facts.unpacked?.result;
    const hashes = inside !== undefined && 'narHash' in inside ? [hash, inside.narHash] : [hash];
    const isNar = hashes.some((one) => NAR_ENDINGS.some((ending) => idOf(`/nar/${one}.nar${ending}`) === id));
    return {
      state: isNar || id === CACHE_INFO || this.isExplained(id) ? 'right' : 'unknown',
      findings: NOTHING,
    };
  }

  async #nar(object: Inspected, meta: ObjectMeta, name: ObjectName & { kind: 'nar' }): Promise<Verdict> {
    const { id, version } = object;
    const remembered = this.#nars.get(id);
    if (remembered?.version === version && remembered.facts.sha256 !== undefined) return RIGHT;
    const head = await bytesOf(object, 0, Math.min(object.size, 8));
    const facts = await readNar(object, guessCoding(name.name, head));
    const reason = narDamage(facts, name.name, meta);
    if (reason !== undefined) return found(finding(object, name, reason));
    this.#nars.set(id, { version, facts }, 1);
    return RIGHT;
  }

  async #narInfo(object: Inspected, text: string, origin: string): Promise<Verdict> {
    const { keys, storeDir } = this.#options;
    const name = nameOfNarInfo(text, object.id);
    let info: NarInfo;
    try {
      info = parseNarInfo(text, storeDir);
    } catch (error) {
      if (!isCacheError(error, 'invalid')) throw error;
      // Another store_dir is no reason to throw a whole cache away: the configuration may be the wrong one.
      const kind = isOfOtherStore(text, storeDir) ? 'doubtful' : 'damaged';
      return found(finding(object, name, describe(error), kind));
    }
    if (name === undefined) return found(finding(object, name, `it is about ${info.storePath}`));
    const { reason, vouched } = keys().judge(info, origin);
    // A pushed path may have no second copy, and the operator may have changed the keys.
    const isOurs = origin === 'push' || origin === 'unknown';
    const kind = isOurs || vouched ? 'doubtful' : 'damaged';
    const doubt = reason === undefined ? undefined : finding(object, name, reason, kind);
    if (doubt?.kind === 'damaged') return found(doubt);
    const disagreement = await this.#compare(object, info, { origin, name, vouched });
    return found(disagreement ?? doubt);
  }

  async #compare(
    object: Inspected,
    info: NarInfo,
    { name, origin, vouched }: { name: ObjectName; origin: string; vouched: boolean },
  ): Promise<Finding | undefined> {
    const narName = narNameOf(info, origin);
    const nar: ObjectName & { kind: 'nar' } = { kind: 'nar', name: narName, hash: info.hashPart };
    const id = idOf(pathOf(nar));
    const stored = await this.#options.upkeep.inspectId(id, this.#options.pause);
    if (stored === 'moving') return undefined;
    if (stored === undefined) {
      if (origin !== 'push') return undefined;
      return { ...finding(object, name, `its NAR ${pathOf(nar)} is not here`, 'dangling'), nar: id };
    }
    try {
      const facts = await this.#factsFor(stored, nar.name, info.compression);
      if (typeof facts === 'string') return finding(stored, nar, facts);
      if (stored.meta === undefined) this.#explained.set(id, true, 1);
      const different = difference(info, facts);
      if (different === undefined) return undefined;
      // A NAR whose hash is in its name is right. Otherwise the narinfo's signature tells which of the two to believe.
      const narIsWrong = !isProven(narName, facts) && different.signed && vouched;
      return narIsWrong
        ? finding(stored, nar, `${pathOf(name)} says of it: ${different.reason}`)
        : finding(object, name, different.reason);
    } catch (error) {
      if (!isCacheError(error, 'damaged')) throw error;
      return finding(stored, nar, describe(error));
    } finally {
      await stored.close();
    }
  }

  /** What is known of the NAR, reading no more of it than its narinfo can be compared with; or what is wrong with it. */
  async #factsFor(object: Inspected, name: NarName, coding: string): Promise<NarFacts | string> {
    const { damage, id, size, version } = object;
    const remembered = this.#nars.get(id);
    const enough = !isDecodable(coding) || remembered?.facts.unpacked?.coding === coding;
    const known = remembered?.version === version && enough ? remembered.facts : undefined;
    const isBare = object.meta === undefined && damage === undefined;
    const meta = isBare ? undefined : metaOf(object).meta;
    const mustRead = known === undefined && (isBare || isDecodable(coding));
    if (meta !== undefined && size !== meta.size)
      return `its body has ${size} bytes, its header says ${meta.size}`;
    const facts = mustRead
      ? await readNar(object, coding)
      : (known ?? { size, sha256: meta?.sha256, unpacked: undefined });
    const reason = narDamage(facts, name, meta);
    if (reason === undefined && mustRead) this.#nars.set(id, { version, facts }, 1);
    return reason ?? facts;
  }
}

function found(one: Finding | undefined): Verdict {
  return one === undefined ? RIGHT : { state: 'found', findings: [one] };
}
