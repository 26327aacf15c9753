// One service a folder: who has it listens on a socket in it, `service.sock`, and says to whoever connects who it is. That holds from
// one container to the other and over every restart, which the number of a process does not. The file of one that was killed
// stays, and nobody listens there: it is taken over. Where the disk takes no sockets, nobody can tell who has the folder.
// Commands tell the service through it, too, that they have taken something out of the folder.
import { randomBytes } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { isFull } from '../../disk/files.ts';
import { link, rename, unlink, writing } from '../../disk/writing.ts';
import { CacheError, describe, isErrno } from '../../errors.ts';
import type { Emit } from '../../events.ts';
import { printable } from '../../log.ts';
import { give, makeFolderIn } from './own.ts';
import { type Knocked, knock, type Listening, listenIn, type Talk } from './socket.ts';
import { OWN } from './writer.ts';

const NAME = 'service.sock';
/** Has this name whoever is doing away with a socket on which nobody listens. */
const TURN = 'service.sock.turn';
const FORGET = 'forget';
const DONE = 'done';
/** A restart may overlap: whoever is told to stop lets running answers finish. */
const WAIT_MS = 45_000;
const LOOK_MS = 200;
/** How long the other one has to say who it is. */
const GREETING_MS = 1000;
/** A disk that takes longer is not waited for. */
const DISK_MS = 3000;
const TURN_MS = 50;
/** How often it is looked at whether the socket is still there. */
const CHECK_MS = 10_000;
/** A service that is busy answers later than one that is not; a command does not wait for it for ever. */
const FORGET_MS = 5000;

interface HoldOptions {
  readonly emit: Emit;
  /** Commands have taken something out of the folder: nothing in memory is to be believed any more. */
  readonly onForget: () => void;
  readonly waitMs?: number;
}

type Tried =
  | { readonly kind: 'held'; readonly listening: Listening; readonly inode: string }
  | { readonly kind: 'taken'; readonly by: string }
  | { readonly kind: 'unknown'; readonly why: string };

export class Hold {
  readonly #folder: string;
  readonly #options: HoldOptions;
  readonly #talk: Talk;
  #held: { readonly listening: Listening; readonly inode: string } | undefined;
  /** Why nobody can tell who has the folder. */
  #doubt: string | undefined;
  #timer: NodeJS.Timeout | undefined;
  #checking: Promise<void> | undefined;
  #released = false;
  /** Whether it has been said that another one has it, too. */
  #isShared = false;

  private constructor(folder: string, options: HoldOptions) {
    this.#folder = folder;
    this.#options = options;
    const id = randomBytes(8).toString('hex');
    const own = { pid: process.pid, host: hostname(), since: new Date().toISOString(), id, notes: true };
    const greeting = JSON.stringify(own);
    this.#talk = {
      greeting: () => greeting,
      answer: (line) => {
        if (line !== FORGET) return undefined;
        options.onForget();
        return DONE;
      },
    };
  }

  /**
   * Takes the folder, or waits until the service that has it ends. Where nobody can tell who has it, it is taken for free.
   * @throws CacheError `startup` if another service has it, and goes on
   */
  static async take(folder: string, options: HoldOptions): Promise<Hold> {
    const hold = new Hold(folder, options);
    await hold.#wait();
    hold.#timer = setInterval(() => hold.#check(), CHECK_MS).unref();
    return hold;
  }

  /** Whether it is certain that no other service has the folder. */
  get isSole(): boolean {
    return this.#held !== undefined;
  }

  async #wait(): Promise<void> {
    const { waitMs = WAIT_MS } = this.#options;
    const until = performance.now() + waitMs;
    for (let looks = 0; ; looks++) {
      const tried = await this.#try();
      if (tried.kind === 'unknown') {
        this.#doubt = tried.why;
        return;
      }
      if (tried.kind === 'held') {
        this.#held = tried;
        return;
      }
      if (performance.now() >= until) {
        throw new CacheError(
          'startup',
          `the cache folder ${this.#folder} is that of ${tried.by}: one service a folder`,
        );
      }
      if (looks === 0)
        this.#say(
          'info',
          `${tried.by} has the cache folder; waiting for its end, for at most ${waitMs / 1000} s`,
        );
      await delay(LOOK_MS);
    }
  }

  /** Tries once more where that could not be told, when what was in the way may be gone; says so if it is not. */
  async settle(): Promise<void> {
    if (this.#doubt === undefined) return;
    const tried = await this.#try();
    if (tried.kind === 'held') this.#held = tried;
    else {
      const why = tried.kind === 'unknown' ? tried.why : `${tried.by} has come meanwhile`;
      this.#say(
        'warn',
        `whether another service has the cache folder ${this.#folder} can't be told (${why}): see to it that none has`,
      );
    }
  }

  #say(level: 'info' | 'warn' | 'error', text: string): void {
    this.#options.emit({ kind: 'notice', level, text });
  }

  /** What comes of it later, because the disk hangs, is undone. */
  async #try(): Promise<Tried> {
    const late = new AbortController();
    const tried = this.#takeOnce().catch((error): Tried => ({ kind: 'unknown', why: reason(error) }));
    const gaveUp = delay(DISK_MS, undefined, { signal: late.signal }).then(
      (): Tried => ({ kind: 'unknown', why: `the disk has not answered within ${DISK_MS / 1000} s` }),
      () => tried,
    );
    const first = await Promise.race([tried, gaveUp]);
    late.abort();
    if (first.kind === 'unknown')
      void tried.then((one) => (one.kind === 'held' ? this.#drop(one) : undefined)).catch(() => {});
    return first;
  }

  /** A socket has its name only when somebody listens on it: one without is of somebody who is gone. */
  async #takeOnce(): Promise<Tried> {
    const folder = this.#folder;
    const tmp = join(folder, 'tmp');
    await makeFolderIn(folder, folder);
    await makeFolderIn(folder, tmp);
    const own = `${OWN}-${randomBytes(6).toString('hex')}.sock.new`;
    const listening = await listenIn(tmp, own, this.#talk);
    try {
      const tried = await this.#name(join(tmp, own));
      await unlink(join(tmp, own)).catch(() => {});
      if (tried === 'named') {
        await give(folder, join(folder, NAME));
        return { kind: 'held', listening, inode: await inodeOf(join(folder, NAME)) };
      }
      await listening.close();
      return tried;
    } catch (error) {
      await unlink(join(tmp, own)).catch(() => {});
      await listening.close();
      throw error;
    }
  }

  /** Gives the socket its name, unless somebody has it who lives. */
  async #name(own: string): Promise<'named' | Exclude<Tried, { kind: 'held' }>> {
    for (;;) {
      const place = join(this.#folder, NAME);
      if (await isLinked(own, place)) return (await this.#isReached()) ?? this.#moved(own, place);
      const knocked = await this.#knock(NAME);
      if (knocked.kind === 'alive') return { kind: 'taken', by: whoIs(knocked.lines[0]) };
      if (knocked.kind === 'unknown') return knocked;
      if (knocked.kind === 'nobody') await this.#clear(own);
    }
  }

  /** Whether whoever looks for the service finds this one. */
  async #isReached(): Promise<'named' | undefined> {
    const knocked = await this.#knock(NAME);
    return knocked.kind === 'alive' && knocked.lines[0] === this.#talk.greeting() ? 'named' : undefined;
  }

  /** Programs that show one folder as another may take a file with two names for two files, and nobody listens on the second one. */
  async #moved(own: string, place: string): Promise<'named' | Extract<Tried, { kind: 'unknown' }>> {
    await unlink(place);
    await rename(own, place);
    // Two services may have done so at once.
    await delay(2 * TURN_MS);
    if (await this.#isReached()) return 'named';
    // Otherwise commands would believe that no service is here.
    if ((await this.#knock(NAME)).kind === 'nobody') await unlink(place);
    return { kind: 'unknown', why: 'sockets are not found again on this disk' };
  }

  /**
   * Does away with the socket of one that is gone. Only whoever has another name to itself may: else one that looked before might
   * do away with the socket of one that has come since.
   */
  async #clear(own: string): Promise<void> {
    const turn = join(this.#folder, TURN);
    if (await isLinked(own, turn)) {
      try {
        if ((await this.#knock(NAME)).kind === 'nobody') await unlink(join(this.#folder, NAME));
      } finally {
        await unlink(turn);
      }
      return;
    }
    const isGone = async () => (await this.#knock(TURN)).kind === 'nobody';
    const before = await isGone();
    await delay(TURN_MS * (1 + Math.random()));
    // Gone before and after the wait: whoever made it was killed in its turn.
    if (before && (await isGone())) await unlink(turn).catch(() => {});
  }

  #knock(name: string): Promise<Knocked> {
    return knock(this.#folder, name, { wanted: 1, waitMs: GREETING_MS });
  }

  /** Somebody may have moved the folder, put another one in its place, or emptied it. */
  #check(): void {
    this.#checking ??= this.#keep()
      .catch(() => {})
      .finally(() => {
        this.#checking = undefined;
      });
  }

  async #keep(): Promise<void> {
    const held = this.#held;
    const isOurs = async (inode: string) => (await inodeOf(join(this.#folder, NAME))) === inode;
    if (held !== undefined && ((await isOurs(held.inode)) || (await this.#isReached()))) return;
    const tried = await this.#try();
    if (this.#released) {
      if (tried.kind === 'held') await this.#drop(tried);
      return;
    }
    if (tried.kind === 'held') {
      this.#held = tried;
      this.#isShared = false;
      await held?.listening.close();
    } else if (tried.kind === 'taken' && !this.#isShared) {
      this.#held = undefined;
      this.#isShared = true;
      await held?.listening.close();
      this.#say('error', `${tried.by} has the cache folder ${this.#folder} now, too: end one of the two`);
    }
  }

  async #drop({
    inode,
    listening,
  }: {
    readonly listening: Listening;
    readonly inode: string;
  }): Promise<void> {
    const place = join(this.#folder, NAME);
    if ((await inodeOf(place).catch(() => undefined)) === inode) await unlink(place).catch(() => {});
    await listening.close();
  }

  /** Lets go of the folder. Never rejects. */
  async release(): Promise<void> {
    this.#released = true;
    clearInterval(this.#timer);
    await this.#checking;
    const held = this.#held;
    this.#held = undefined;
    if (held !== undefined) await this.#drop(held);
  }
}

/** Of no file another one than of any. */
async function inodeOf(file: string): Promise<string> {
  const { dev, ino } = await writing(() => stat(file, { bigint: true })).catch((error) => {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return { dev: 0n, ino: 0n };
    throw error;
  });
  return `${dev}:${ino}`;
}

/** Whether `file` has got the other name; not if that was taken. */
async function isLinked(file: string, name: string): Promise<boolean> {
  try {
    await link(file, name);
    return true;
  } catch (error) {
    if (isErrno(error, 'EEXIST')) return false;
    throw error;
  }
}

function reason(error: unknown): string {
  return isFull(error) ? 'the disk is full' : describe(error);
}

/** Whoever listens there says what it likes. */
function whoIs(line = ''): string {
  try {
    const { pid, host, since } = JSON.parse(line);
    if (Number.isSafeInteger(pid) && typeof host === 'string' && typeof since === 'string')
      return `the service of process ${pid} on ${printable(host.slice(0, 64))}, there since ${printable(since.slice(0, 24))}`;
  } catch {}
  return 'a service that does not say who it is';
}

/**
 * Tells the service that has the folder to believe nothing that it has in memory: true once it has heard that. That nobody listens
 * does not prove that there is none: it may be on another machine, or reach the folder another way.
 */
export async function tellService(folder: string): Promise<boolean> {
  const knocked = await knock(folder, NAME, { say: FORGET, wanted: 2, waitMs: FORGET_MS });
  return knocked.kind === 'alive' && knocked.lines[1] === DONE;
}
