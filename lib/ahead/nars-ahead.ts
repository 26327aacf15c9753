// NARs before a client asks for them. A client asks for the narinfos of all that it lacks, then for the NARs; so when it asks for the first
// of them, the others of what it asked for itself come next. Who asks for narinfos only, as a push or a dry run does, has none
// loaded; who asks for no more, as one that was ended, soon has none either.
import { setMaxListeners } from 'node:events';
import type { Fetcher } from '../download/fetcher.ts';
import type { Emit } from '../events.ts';
import type { StoreHash } from '../nix/store-path.ts';
import { Ahead } from '../sync/ahead.ts';
import type { After } from '../sync/within.ts';
import { Batch, type Expected, type Plan } from './batch.ts';
import type { Room } from './room.ts';
import { Unasked } from './unasked.ts';

interface NarsAheadOptions {
  readonly fetcher: Pick<Fetcher, 'fetchAhead'>;
  /** What the narinfo says, if it is here or has just come. */
  readonly expected: (hash: StoreHash) => Promise<Expected | undefined>;
  readonly room: Pick<Room, 'look' | 'take'>;
  readonly emit: Emit;
  /** Ends it when the service stops. */
  readonly signal: AbortSignal;
  /** Milliseconds from anywhere. */
  readonly now: () => number;
  readonly after: After;
}

/** How long before the first NAR a narinfo may have been asked for: whoever was shown what there is to do thinks about it first. */
const ASKED_MS = 60_000;
/** Without a question for so long, the next narinfo is of another occasion. */
const PAUSE_MS = 5000;
/** A client that has asked for no NAR for so long, and gets none, may have been ended. */
const QUIET_MS = 4000;
/** Narinfos of one occasion, and occasions of one client. */
const MOST_ASKED = 20_000;
const MOST_BATCHES = 4;
/** Of all clients together; of those who asked longest ago nothing is known any more. */
const MOST_KNOWN = 100_000;
const MOST_CLIENTS = 1000;
/** Nobody has asked for them yet, whoever they were fetched for. */
const MOST_UNASKED = 5000;
const MOST_UNASKED_BYTES = 4 * 2 ** 30;

/** Calls `over` once, when the client has what it asked for, or does not want it any more. */
export type WhenOver = (over: () => void) => void;

interface Client {
  /** The last one first. */
  batches: Batch[];
  askedAt: number;
  /** NARs that it is being sent. */
  loading: number;
  /** When it last asked for one. */
  loadedAt: number;
  /** Ends what is on its way for it while nobody waits for that. */
  quit: AbortController | undefined;
}

/** A NAR that is being fetched. */
interface OnItsWay {
  readonly ahead: Ahead;
  readonly bytes: number;
}

export class NarsAhead {
  readonly #options: NarsAheadOptions;
  /** Who asked last stands last. */
  readonly #clients = new Map<string, Client>();
  /** The last of them. */
  #newest: string | undefined;
  #known = 0;
  readonly #unasked: Unasked;
  readonly #onTheirWay = new Map<StoreHash, OnItsWay>();
  #bytesOnTheirWay = 0;

  constructor(options: NarsAheadOptions) {
    this.#options = options;
    this.#unasked = new Unasked({
      ...{ what: 'nar', most: MOST_UNASKED, mostBytes: MOST_UNASKED_BYTES },
      ...options,
    });
  }

  /** The client asks for the narinfo. */
  narInfoAsked(name: string, hash: StoreHash): void {
    const now = this.#options.now();
    const client = this.#clientOf(name);
    const [last] = client.batches;
    const isOver =
      last === undefined || last.isBegun || last.size >= MOST_ASKED || now - client.askedAt > PAUSE_MS;
    const batch = isOver ? new Batch() : last;
    if (isOver) {
      client.batches.unshift(batch);
      this.#known -= client.batches[MOST_BATCHES]?.size ?? 0;
      client.batches.length = Math.min(client.batches.length, MOST_BATCHES);
    }
    const before = batch.size;
    batch.add(hash, now);
    this.#known += batch.size - before;
    client.askedAt = now;
    this.#forgetOldest();
  }

  /** The client asks for the NAR. */
  narAsked(name: string | undefined, hash: StoreHash, whenOver: WhenOver): void {
    const onItsWay = this.#onTheirWay.get(hash);
    onItsWay?.ahead.wanted();
    this.#unasked.asked(hash);
    if (name === undefined) return;
    const client = this.#clients.get(name);
    const batch = client?.batches.find((one) => one.has(hash));
    if (client === undefined || batch === undefined) return;
    this.#loads(client, whenOver);
    void this.#goOn(client, batch, hash, onItsWay !== undefined);
  }

  /** Whoever is asked for nothing more for a while, and sends nothing, has nothing more fetched ahead. */
  #loads(client: Client, whenOver: WhenOver): void {
    const { after, now } = this.#options;
    client.loading++;
    client.loadedAt = now();
    whenOver(() => {
      client.loading--;
      client.loadedAt = now();
    });
    if (client.quit !== undefined) return;
    const quit = new AbortController();
    // Every NAR that is fetched ahead for the client listens.
    setMaxListeners(0, quit.signal);
    client.quit = quit;
    const look = () => {
      const quietMs = client.loading > 0 ? 0 : now() - client.loadedAt;
      if (quietMs < QUIET_MS && !this.#options.signal.aborted) {
        after(QUIET_MS - quietMs, look);
        return;
      }
      client.quit = undefined;
      quit.abort();
    };
    after(QUIET_MS, look);
  }

  async #goOn(client: Client, batch: Batch, hash: StoreHash, isLate: boolean): Promise<void> {
    const then = this.#options.now() - ASKED_MS;
    const plan = batch.plan ?? (await batch.begin(hash, then, this.#options.expected));
    if (plan === undefined) return;
    plan.take(hash, isLate);
    await this.#options.room.look();
    this.#fill(client, plan);
  }

  #clientOf(name: string): Client {
    const known = this.#clients.get(name);
    // Called with every hit, most of which are the same client's as the one before.
    if (known !== undefined && name === this.#newest) return known;
    this.#newest = name;
    const client = known ?? { batches: [], askedAt: 0, loading: 0, loadedAt: 0, quit: undefined };
    this.#clients.delete(name);
    this.#clients.set(name, client);
    return client;
  }

  #forgetOldest(): void {
    const isEnough = () => this.#known <= MOST_KNOWN && this.#clients.size <= MOST_CLIENTS;
    if (isEnough()) return;
    for (const [name, { batches }] of this.#clients) {
      if (isEnough()) return;
      this.#clients.delete(name);
      for (const { size } of batches) this.#known -= size;
    }
  }

  #fill(client: Client, plan: Plan): void {
    const { room, signal } = this.#options;
    const { quit } = client;
    if (signal.aborted || quit === undefined) return;
    while (!this.#unasked.isFull(this.#onTheirWay.size, this.#bytesOnTheirWay)) {
      const one = plan.next();
      if (one === undefined) return;
      if (!room.take(one.bytes)) {
        plan.putBack(one.hash);
        return;
      }
      void this.#fetch(one, plan, quit.signal);
    }
  }

  /** Never rejects. */
  async #fetch({ bytes, hash, narName }: Expected, plan: Plan, quit: AbortSignal): Promise<void> {
    if (this.#onTheirWay.has(hash)) return;
    const ahead = new Ahead();
    this.#onTheirWay.set(hash, { ahead, bytes });
    this.#bytesOnTheirWay += bytes;
    const come = await this.#options.fetcher.fetchAhead({ kind: 'nar', name: narName, hash }, ahead, quit);
    this.#onTheirWay.delete(hash);
    this.#bytesOnTheirWay -= bytes;
    if (come !== undefined) this.#unasked.add(hash, come, ahead.isWanted);
    else if (quit.aborted) plan.putBack(hash);
  }
}
