// Who may supply a body, in the order in which they are asked.
import { describe, lacksDescriptors } from '../errors.ts';
import type { Emit } from '../events.ts';
import type { NarInfos } from '../narinfos/narinfos.ts';
import type { KnownNarInfo } from '../narinfos/served-narinfos.ts';
import { isNameOf, namesFor, nixNarName, partsOfAddress } from '../nix/nar-names.ts';
import type { NarInfo } from '../nix/narinfo.ts';
import { hashInNarName, type NarName, type ObjectName, pathsOf } from '../nix/object-name.ts';
import { hashPartOf, type StoreHash } from '../nix/store-path.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { Upstreams } from '../upstream/upstreams.ts';
import { NOBODY, type Via } from '../upstream/via.ts';
import { codedSource } from './coded-source.ts';
import { fileSource } from './file-sources.ts';
import type { Source, Wanted } from './sources.ts';
import { canTell, type Expected } from './verify.ts';

interface WantedNar extends Wanted {
  /** Under which it is to be stored, as far as that can be told. */
  readonly name: NarName;
}

const NOTHING: Expected = { fileHash: undefined, fileSize: undefined, nar: undefined };

export class NarSources {
  readonly #upstreams: Upstreams;
  readonly #narInfos: NarInfos;
  readonly #emit: Emit;

  constructor(upstreams: Upstreams, narInfos: NarInfos, emit: Emit) {
    this.#upstreams = upstreams;
    this.#narInfos = narInfos;
    this.#emit = emit;
  }

  /** Of any object but a NAR: the same paths at every upstream. */
  async forFile(name: Exclude<ObjectName, { kind: 'narinfo' | 'nar' }>, via: Via = NOBODY): Promise<Wanted> {
    const paths = pathsOf(name.kind === 'log' ? await this.#wholeName(name, via) : name);
    const sources = this.#upstreams.all.flatMap((upstream) =>
      paths.map((path) => {
        // `?` is the one character of our names that a URL would read as something else.
        const url = upstream.resolve(path.slice(1).replaceAll('?', '%3F'));
        return fileSource(source(upstream, url, { packed: true, via }), name.kind);
      }),
    );
    return { sources, expected: NOTHING };
  }

  /** What newer clients leave out of a derivation's name, narinfos tell: that of its output, asked a moment ago, or its own. */
  async #wholeName(name: ObjectName & { kind: 'log' }, via: Via): Promise<ObjectName> {
    if (name.drv.endsWith('.drv')) return name;
    const hash = hashPartOf(name.drv);
    const deriver = this.#narInfos.served.derivers.get(hash);
    if (deriver !== undefined) return { kind: 'log', drv: deriver };
    const own = await this.#narInfos.find(hash, via).catch(() => undefined);
    return own === undefined ? name : { kind: 'log', drv: own.known.info.storePath.replace(/^.*\//, '') };
  }

  /**
   * Of a NAR: first the upstream its narinfo came from, then all by the same path, then those whose own narinfo is of the
   * same file. `hash` is the store path's, which leads to the narinfo; `via` whom the request has come through.
   */
  async forNar(name: NarName, hash: StoreHash | undefined, via: Via = NOBODY): Promise<WantedNar> {
    const guesses = (
      one: NarName,
      guess: Source['guess'],
      upstreams = this.#upstreams.all,
      codings = false,
    ) =>
      upstreams.map((upstream) =>
        source(upstream, upstream.resolve(`nar/${nixNarName(one)}`), { large: true, guess, codings, via }),
      );
    // So far only the name is known.
    const [plain] = namesFor(name, hash);
    const packing = partsOfAddress(name)?.compression;
    const isHash = hashInNarName(plain) !== undefined;
    const expected = isHash ? { ...NOTHING, named: { name: plain, packing } } : NOTHING;
    // Another cache of this kind knows the NAR by its address, and so does nix-serve.
    const inAddress = packing === undefined ? (`${hash}-${plain}` as NarName) : name;
    const addressed = hash === undefined || !isHash ? [] : guesses(inAddress, 'settled');
    // A client that asks by the plain name accepts a packed NAR as well.
    const asked = packing === 'none' ? name : plain;
    const byName = { name: asked, sources: [...addressed, ...guesses(plain, 'alone')], expected };
    if (hash === undefined) return byName;
    const known = await this.#narInfos.find(hash, via).catch((error) => {
      // Without the narinfo, only a name that is a hash can say what the bytes must be.
      if (byName.expected.named === undefined || lacksDescriptors(error)) throw error;
      this.#emit({ kind: 'narinfo-unavailable', hash, error });
      return 'unknown' as const;
    });
    if (known === undefined) return byName;
    if (known === 'unknown' || !isNameOf(name, known.known)) {
      // A client may remember a narinfo that we have forgotten, and that can't be had now, or another one has come in
      // its place. An upstream's 404 for this path proves nothing: its own narinfo may give the NAR another name.
      const byOwn = this.#byOwnNarInfo(hash, (own) => isNameOf(name, own), { via });
      return { ...byName, sources: [...addressed, ...guesses(plain, 'settled'), ...byOwn] };
    }
    const { info, narName, origin } = known.known;
    const from = this.#upstreams.byOrigin(origin);
    // What is packed already no transport coding makes smaller.
    const codings = info.compression === 'none';
    const own = from === undefined ? [] : this.#own(from, info.url, { codings, via });
    // Only a name that is a hash means the same bytes everywhere. The upstream of the narinfo is asked by the name in it:
    // asked by another name, its 404 would count as a real one.
    const elsewhere = this.#upstreams.all.filter((upstream) => own.length === 0 || upstream !== from);
    const others =
      hashInNarName(narName) === undefined && own.length > 0
        ? []
        : guesses(narName, 'settled', elsewhere, codings);
    const byOwn = this.#byOwnNarInfo(hash, (one) => one.narName === narName, { codings, via }, from);
    const all = unique([...own, ...others, ...byOwn]);
    return {
      name: narName,
      sources: codings ? all.map((one) => codedSource(one, info.narSize, this.#emit)) : all,
      expected: expectedOf(info, narName),
    };
  }

  #own(upstream: Upstream, url: string, manner: Manner): Source[] {
    try {
      return [source(upstream, upstream.resolve(url), { large: true, certain: true, ...manner })];
    } catch (error) {
      this.#emit({ kind: 'notice', level: 'warn', text: describe(error) });
      return [];
    }
  }

  /** Each asks for the upstream's own narinfo only when its turn has come. */
  #byOwnNarInfo(
    hash: StoreHash,
    isSame: (own: KnownNarInfo) => boolean,
    manner: Manner,
    except?: Upstream,
  ): Source[] {
    const upstreams = this.#upstreams.all.filter((upstream) => upstream !== except);
    return upstreams.map((upstream) => {
      let url: Promise<URL | undefined> | undefined;
      return {
        label: `${upstream.url} by its narinfo of ${hash}`,
        upstream,
        certain: false,
        ask: async (signal, part, need) => {
          url ??= this.#narInfos.ask(upstream, hash, signal, need?.insist, manner.via).then(
            (own) => (own !== undefined && isSame(own) ? upstream.resolve(own.info.url) : undefined),
            (error) => {
              // Asked again the next time: the upstream may answer then, or the signal was that of another attempt.
              url = undefined;
              throw error;
            },
          );
          const found = await url;
          return found && source(upstream, found, { large: true, ...manner }).ask(signal, part, need);
        },
      };
    });
  }
}

interface Manner extends Partial<Pick<Source, 'certain' | 'guess'>> {
  /** See {@link Upstream.get}. */
  readonly large?: boolean;
  readonly packed?: boolean;
  readonly codings?: boolean;
  readonly via: Via;
}

function source(upstream: Upstream, url: URL, manner: Manner): Source {
  const { certain = false, codings, guess, large = false, packed, via } = manner;
  return {
    label: url.href,
    upstream,
    certain,
    guess,
    at: url,
    ask: (signal, part, need) =>
      upstream.get(url, large, signal, { part, foreign: guess !== undefined, packed, codings, via, ...need }),
  };
}

/** Of those with one URL the first, which is known best. */
function unique(sources: readonly Source[]): Source[] {
  return sources.filter((one, i) => sources.findIndex(({ label }) => label === one.label) === i);
}

function expectedOf(info: NarInfo, narName: NarName): Expected {
  const plain = info.compression === 'none';
  const { compression, narHash, narSize } = info;
  const expected = {
    fileHash: info.fileHash ?? (plain ? narHash : promisedBeside(info, narName)),
    fileSize: plain ? narSize : info.fileSize,
    nar: { compression, narHash, narSize },
  };
  // Node has no BLAKE3.
  const other = info.otherFileHash?.algorithm === 'blake3' ? undefined : info.otherFileHash;
  return canTell(expected) ? expected : { ...expected, otherFileHash: other };
}

/** The file's hash as the name of a stored NAR of unknown origin tells: it may also be made of the NarHash. */
function promisedBeside({ narHash }: NarInfo, narName: NarName): Expected['fileHash'] {
  const promised = hashInNarName(narName);
  return promised === narHash ? undefined : promised;
}
