// Begins one download: asks those who may have the body, goes on from the beginning that an earlier download left, if there is one,
// and hands over to the download what was answered first.
import type { Deadlines } from '../config/config.ts';
import type { Emit } from '../events.ts';
import { type ObjectName, pathOf } from '../nix/object-name.ts';
import type { Scratch } from '../store/scratch.ts';
import type { Ahead } from '../sync/ahead.ts';
import type { Nobody, Upstreams } from '../upstream/upstreams.ts';
import type { Via } from '../upstream/via.ts';
import { type BeginningStore, Beginnings, type TakenBeginning } from './beginnings.ts';
import type { Place } from './crowd.ts';
import type { Destinations } from './destination.ts';
import { Download } from './download.ts';
import { type Asked, type FirstAnswer, firstAnswer, type Here } from './first-answer.ts';
import type { Reputation } from './reputation.ts';
import type { Wanted } from './sources.ts';
import { canTell, sizedBy } from './verify.ts';

interface StarterOptions {
  readonly upstreams: Upstreams;
  readonly scratch: BeginningStore & Pick<Scratch, 'spool' | 'takeBeginning'>;
  readonly destinations: Destinations;
  readonly reputation: Reputation;
  readonly emit: Emit;
  /** Ends downloads when the service stops. */
  readonly signal: AbortSignal;
  /** Connections for one NAR. */
  readonly connections: number;
  readonly returnMs: Deadlines['returnMs'] | undefined;
}

/** Whom a download is begun for. */
interface Occasion {
  /** Whom the request has come through. */
  readonly via: Via;
  /** Aborted when nobody waits for the first answer any more. */
  readonly isWanted: AbortSignal;
  readonly place: Place;
  /** Set where nobody has asked for it yet. */
  readonly ahead?: Ahead | undefined;
}

/** How it begins. */
interface Manner {
  readonly connections: number;
  readonly beginning: TakenBeginning | undefined;
  /** Bytes of the body as its narinfo says. */
  readonly saidSize: number | undefined;
}

/** Bodies above this may be worth several connections. */
const LARGE_BYTES = 8 << 20;
/** Of a large body the first request asks for so much: it shows whether the source answers ranges. */
const FIRST_BYTES = 1 << 20;

export class Starter {
  readonly #options: StarterOptions;
  readonly #beginnings: Beginnings;

  constructor(options: StarterOptions) {
    this.#options = options;
    this.#beginnings = new Beginnings(options.scratch, options.emit);
  }

  /** @throws CacheError of the upstream that could not be asked, if none has it */
  async start(
    name: ObjectName,
    told: Wanted,
    { ahead, isWanted, place, via }: Occasion,
  ): Promise<Download | Nobody> {
    const { connections, reputation } = this.#options;
    const path = pathOf(name);
    const isNar = name.kind === 'nar';
    const { expected } = told;
    const sources = reputation.inOrder(told.sources);
    const beginning = await this.#beginnings.take(path, expected);
    const start = beginning?.length ?? 0;
    // A first request of a part is for bodies that may be fetched in parts: the size must be known for that, and a hash
    // that tells if the parts are of one file.
    const size = expected.fileHash === undefined ? 0 : (expected.fileSize ?? 0);
    const mayBeInParts = connections > 1 && size - start > LARGE_BYTES;
    const end = mayBeInParts ? start + FIRST_BYTES : undefined;
    const opening = mayBeInParts ? { connections } : {};
    const part = mayBeInParts || start > 0 ? { start, end, ...opening } : undefined;
    const missPath = isNar || isUncertain(name) ? undefined : path;
    const asked: Asked = { sources, isNar, path: missPath, expected, part, via, ahead };
    const putBack = () => this.#beginnings.putBack(path, expected, beginning);
    const unfit = () => this.#options.destinations.unfit(name);
    const first = await this.#ask(asked, isWanted, unfit).catch(async (error) => {
      await putBack();
      throw error;
    });
    if (first.kind !== 'found') {
      await putBack();
      return first;
    }
    const here = first.value;
    // The body has not the size that its narinfo says, so what is here of it may be of another file.
    const isSuspect = here.sized !== undefined;
    if (isSuspect) await putBack();
    const wanted = {
      expected: isSuspect ? { ...expected, fileSize: undefined } : sizedBy(here.answer, expected),
      // Another source may have the body in another coding.
      sources: here.answer.coding === undefined ? sources : [here.source],
    };
    const inParts = mayBeInParts && !isSuspect;
    return this.#begin(name, wanted, here, place, {
      connections: inParts ? connections : 1,
      beginning: isSuspect ? undefined : beginning,
      saidSize: expected.fileSize,
    });
  }

  #begin(
    name: ObjectName,
    wanted: Wanted,
    first: Here,
    place: Place,
    { beginning, connections, saidSize }: Manner,
  ): Download {
    const { destinations, emit, reputation, returnMs, scratch, signal } = this.#options;
    const { expected } = wanted;
    const isWhole = first.answer.delimited || expected.fileSize !== undefined || canTell(expected);
    const destination = destinations.of(name, { expected, isWhole, saidSize });
    return new Download(
      {
        ...{ path: pathOf(name), wanted, first, connections, returnMs },
        ...{ scratch, destination, reputation, place, emit, signal },
      },
      beginning ?? { spool: scratch.spool(), length: 0 },
    );
  }

  /** Whether any of them has the NAR; as far as one question tells, which is not asked as patiently as by whoever wants it. */
  async look({ expected, sources }: Wanted, via: Via): Promise<FirstAnswer['kind']> {
    const part = { start: 0, end: 1 };
    const asked = { sources, isNar: false, path: undefined, expected, part, via };
    const first = await this.#ask(asked, this.#options.signal);
    if (first.kind === 'found') first.value.answer.body.destroy();
    return first.kind;
  }

  #ask(asked: Asked, signal: AbortSignal, unfit = async () => {}): Promise<FirstAnswer> {
    const { emit, reputation, upstreams } = this.#options;
    return firstAnswer(asked, { upstreams, reputation, emit, signal, unfit });
  }
}

/** Whether others may have it under a name that this request does not tell. */
function isUncertain(name: ObjectName): boolean {
  return name.kind === 'log' && !name.drv.endsWith('.drv');
}
