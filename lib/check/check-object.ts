// Checks one object after another: whole, what its header and its name say, and, of a narinfo, whether it is about its own
// path, rightly signed, and agrees with its NAR. Looks only, and leaves no trace. What is found is for the caller to act on.
import { access } from 'node:fs/promises';
import { ByteLru } from '../bytes/byte-lru.ts';
import { isDecodable } from '../bytes/codings.ts';
import { describe, isCacheError } from '../errors.ts';
import { NAR_ENDINGS } from '../nix/compression.ts';
import { sha256FromBytes } from '../nix/hash.ts';
import { narNameOf } from '../nix/nar-names.ts';
import { beginsLikeNarInfo, MAX_NARINFO_BYTES, type NarInfo, parseNarInfo } from '../nix/narinfo.ts';
import { type NarName, type ObjectName, pathOf } from '../nix/object-name.ts';
import { fileOf } from '../store/folder/files.ts';
import { asideOf } from '../store/folder/removal.ts';
import type { FolderFile } from '../store/folder/walk.ts';
import { idOf } from '../store/object-id.ts';
import type { ObjectMeta } from '../store/store.ts';
import { difference, guessCoding, isProven, type NarFacts, narDamage, readNar } from './check-nar.ts';
import { CheckedFile, type Pause } from './checked-file.ts';
import { readMeta } from './checked-meta.ts';
import { type Checked, type Finding, finding } from './finding.ts';
import type { KnownKeys } from './known-keys.ts';
import { isOfOtherStore, nameFromBytes, nameOfNarInfo } from './names-in-files.ts';

interface CheckerOptions {
  readonly folder: string;
  readonly storeDir: string;
  readonly keys: () => KnownKeys;
  readonly pause: Pause;
}

interface Body {
  readonly file: CheckedFile;
  /** Where the body begins. */
  readonly from: number;
  /** Undefined for a file of the Go service. */
  readonly meta: ObjectMeta | undefined;
}

/** NARs whose facts are remembered until their narinfos come, or the other way round. */
const REMEMBERED = 50_000;
const CACHE_INFO = idOf('/nix-cache-info');
type Verdict = Omit<Checked, 'bytes'>;

const NOTHING: readonly Finding[] = [];
const RIGHT: Verdict = { state: 'right', findings: NOTHING };

export class Checker {
  readonly #options: CheckerOptions;
  readonly #nars = new ByteLru<{ readonly version: string; readonly facts: NarFacts }>(REMEMBERED);
  /** Flat files that a narinfo has explained. */
  readonly #explained = new ByteLru<true>(REMEMBERED);

  constructor(options: CheckerOptions) {
    this.#options = options;
  }

  /** @throws CacheError `storage`, or what `pause` throws */
  async check(source: FolderFile): Promise<Checked> {
    const file = await CheckedFile.open(source, this.#options.pause);
    if (file === undefined) return { state: 'gone', bytes: 0, findings: NOTHING };
    const { bytes } = file;
    try {
      return { bytes, ...(source.flat ? await this.#flat(file) : await this.#object(file)) };
    } catch (error) {
      if (!isCacheError(error, 'damaged')) throw error;
      return { bytes, ...found(finding(file, await nameFromBytes(file), describe(error))) };
    } finally {
      await file.close();
    }
  }

  /** Whether a narinfo that came after this file has told what it is. */
  isExplained(id: string): boolean {
    return this.#explained.get(id) ?? false;
  }

  /** @throws CacheError `damaged` while it is not certain what it is */
  async #object(file: CheckedFile): Promise<Verdict> {
    const { from, meta, name } = await readMeta(file);
    if (file.source.file !== fileOf(this.#options.folder, file.source))
      return found(finding(file, name, 'it lies in a folder where nobody looks for it'));
    const size = file.bytes - from;
    if (size !== meta.size)
      return found(finding(file, name, `its body has ${size} bytes, its header says ${meta.size}`));
    try {
      if (name.kind === 'nar') return await this.#nar({ file, from, meta }, name);
      const sha256 = (await file.hash(from)).toString('hex');
      if (sha256 !== meta.sha256)
        return found(
          finding(file, name, `the SHA-256 of its body is ${sha256}, its header says ${meta.sha256}`),
        );
      if (name.kind !== 'narinfo') return RIGHT;
      if (size > MAX_NARINFO_BYTES) return found(finding(file, name, 'it is longer than any narinfo'));
      return await this.#narInfo(file, (await file.text(from, file.bytes)).toString(), meta.origin);
    } catch (error) {
      if (!isCacheError(error, 'damaged')) throw error;
      return found(finding(file, name, describe(error)));
    }
  }

  async #flat(file: CheckedFile): Promise<Verdict> {
    const head = await file.head();
    if (file.bytes <= MAX_NARINFO_BYTES && beginsLikeNarInfo(head))
      return this.#narInfo(file, (await file.text(0, file.bytes)).toString(), 'unknown');
    const { id } = file.source;
    const facts = await readNar(file, 0, guessCoding(undefined, head));
    this.#nars.set(id, { version: file.version, facts }, 1);
    // The Go service noted no names, but a NAR's name is a hash: of the file, or of what is packed in it.
    const hash = sha256FromBytes(Buffer.from(facts.sha256 ?? '', 'hex'));
    const inside = facts.unpacked?.result;
    const hashes = inside !== undefined && 'narHash' in inside ? [hash, inside.narHash] : [hash];
    const isNar = hashes.some((one) => NAR_ENDINGS.some((ending) => idOf(`/nar/${one}.nar${ending}`) === id));
    return {
      state: isNar || id === CACHE_INFO || this.isExplained(id) ? 'right' : 'unknown',
      findings: NOTHING,
    };
  }

  async #nar(body: Body, name: ObjectName & { kind: 'nar' }): Promise<Verdict> {
    const { file, from, meta } = body;
    const remembered = this.#nars.get(file.source.id);
    if (remembered?.version === file.version && remembered.facts.sha256 !== undefined) return RIGHT;
    const head = await file.text(from, Math.min(from + 8, file.bytes));
    const facts = await readNar(file, from, guessCoding(name.name, head));
    const reason = narDamage(facts, name.name, meta);
    if (reason !== undefined) return found(finding(file, name, reason));
    this.#nars.set(file.source.id, { version: file.version, facts }, 1);
    return RIGHT;
  }

  async #narInfo(file: CheckedFile, text: string, origin: string): Promise<Verdict> {
    const { keys, storeDir } = this.#options;
    const { id } = file.source;
    const name = nameOfNarInfo(text, id);
    let info: NarInfo;
    try {
      info = parseNarInfo(text, storeDir);
    } catch (error) {
      if (!isCacheError(error, 'invalid')) throw error;
      // Another store_dir is no reason to throw a whole cache away: the configuration may be the wrong one.
      const kind = isOfOtherStore(text, storeDir) ? 'doubtful' : 'damaged';
      return found(finding(file, name, describe(error), kind));
    }
    if (name === undefined) return found(finding(file, name, `it is about ${info.storePath}`));
    const { reason, vouched } = keys().judge(info, origin);
    // A pushed path may have no second copy, and the operator may have changed the keys.
    const isOurs = origin === 'push' || origin === 'unknown';
    const kind = isOurs || vouched ? 'doubtful' : 'damaged';
    const doubt = reason === undefined ? undefined : finding(file, name, reason, kind);
    if (doubt?.kind === 'damaged') return found(doubt);
    const disagreement = await this.#compare(file, info, { origin, name, vouched });
    return found(disagreement ?? doubt);
  }

  async #compare(
    file: CheckedFile,
    info: NarInfo,
    { name, origin, vouched }: { name: ObjectName; origin: string; vouched: boolean },
  ): Promise<Finding | undefined> {
    const narName = narNameOf(info, origin);
    const nar: ObjectName & { kind: 'nar' } = { kind: 'nar', name: narName, hash: info.hashPart };
    const id = idOf(pathOf(nar));
    const narFile = await this.#openNar(id);
    if (narFile === 'moving') return undefined;
    if (narFile === undefined) {
      if (origin !== 'push') return undefined;
      return { ...finding(file, name, `its NAR ${pathOf(nar)} is not here`, 'dangling'), nar: id };
    }
    try {
      const facts = await this.#factsFor(narFile, nar.name, info.compression);
      if (typeof facts === 'string') return finding(narFile, nar, facts);
      if (narFile.source.flat) this.#explained.set(id, true, 1);
      const different = difference(info, facts);
      if (different === undefined) return undefined;
      // A NAR whose hash is in its name is right. Otherwise the narinfo's signature tells which of the two to believe.
      const narIsWrong = !isProven(narName, facts) && different.signed && vouched;
      return narIsWrong
        ? finding(narFile, nar, `${pathOf(name)} says of it: ${different.reason}`)
        : finding(file, name, different.reason);
    } catch (error) {
      if (!isCacheError(error, 'damaged')) throw error;
      return finding(narFile, nar, describe(error));
    } finally {
      await narFile.close();
    }
  }

  /** `moving` while a collection has it in its hands, and its narinfo is as good as gone, or it is put back. */
  async #openNar(id: string): Promise<CheckedFile | 'moving' | undefined> {
    const { folder, pause } = this.#options;
    const open = async () => {
      for (const flat of [false, true]) {
        const file = await CheckedFile.open({ id, flat, file: fileOf(folder, { id, flat }) }, pause);
        if (file !== undefined) return file;
      }
      return undefined;
    };
    const isMoving = () =>
      Promise.any([false, true].map((flat) => access(asideOf(folder, { id, flat })))).then(
        () => 'moving' as const,
        () => undefined,
      );
    // Opened once more at the end: the file may have been put back since the first look.
    return (await open()) ?? (await isMoving()) ?? open();
  }

  /** What is known of the NAR, reading no more of it than its narinfo can be compared with; or what is wrong with it. */
  async #factsFor(file: CheckedFile, name: NarName, coding: string): Promise<NarFacts | string> {
    const { flat, id } = file.source;
    const remembered = this.#nars.get(id);
    const enough = !isDecodable(coding) || remembered?.facts.unpacked?.coding === coding;
    const known = remembered?.version === file.version && enough ? remembered.facts : undefined;
    const head = flat ? undefined : await readMeta(file);
    const { from, meta } = head ?? { from: 0, meta: undefined };
    const mustRead = known === undefined && (flat || isDecodable(coding));
    if (meta !== undefined && file.bytes - from !== meta.size)
      return `its body has ${file.bytes - from} bytes, its header says ${meta.size}`;
    const facts = mustRead
      ? await readNar(file, from, coding)
      : (known ?? { size: file.bytes - from, sha256: meta?.sha256, unpacked: undefined });
    const reason = narDamage(facts, name, meta);
    if (reason === undefined && mustRead) this.#nars.set(id, { version: file.version, facts }, 1);
    return reason ?? facts;
  }
}

function found(one: Finding | undefined): Verdict {
  return one === undefined ? RIGHT : { state: 'found', findings: [one] };
}
