// Scratch space in the folder: `tmp/` for bodies on their way, `partial/` for beginnings that a stop left.
import { join } from 'node:path';
import type { Emit } from '../../events.ts';
import { UnderWay } from '../../sync/under-way.ts';
import type { Beginning, Room, Scratch, Spool } from '../scratch.ts';
import { Beginnings } from './beginnings.ts';
import { Preparation } from './prepare.ts';
import { checkWritable, lackOfRoom, roomOf } from './room.ts';
import type { Tally } from './tally.ts';
import { dropAbandoned, TempFile, type TempFileWatch } from './temp-file.ts';
import { tempName } from './temp-name.ts';
import { showWriter } from './writer.ts';

export class FolderScratch implements Scratch {
  readonly #folder: string;
  readonly #tmp: string;
  readonly #tally: Tally;
  readonly #beginnings: Beginnings;
  readonly #preparation: Preparation;
  /** Whether no other service has the folder. */
  #sole = false;
  /** Spools that are open. */
  readonly #spools = new UnderWay();
  readonly #watch: TempFileWatch;

  constructor(folder: string, tally: Tally, emit: Emit) {
    this.#folder = folder;
    this.#tmp = join(folder, 'tmp');
    this.#tally = tally;
    this.#beginnings = new Beginnings(join(folder, 'partial'), emit);
    this.#preparation = new Preparation(folder, this.#beginnings, emit);
    this.#watch = {
      closed: () => this.#spools.end(),
      full: () => this.#full(),
      left: (error) => emit({ kind: 'notice', level: 'warn', text: error.message }),
    };
  }

  /** See {@link Preparation.begin}. */
  prepare(sole: boolean): Promise<void> {
    this.#sole = sole;
    return this.#preparation.begin(sole);
  }

  room(): Promise<Room> {
    return roomOf(this.#folder);
  }

  async checkRoom(bytes = 0): Promise<void> {
    await checkWritable(this.#folder);
    const refusal = await lackOfRoom(this.#folder, bytes);
    if (refusal === undefined) return;
    this.#full();
    throw refusal;
  }

  #full(): void {
    this.#tally.full();
    // A new body goes before beginnings that a client may or may not ask for again.
    void this.#beginnings.clear();
  }

  spool(): TempFile {
    void this.#preparation.goOn();
    this.#spools.begin();
    return TempFile.create(this.#tmp, this.#watch);
  }

  async noteBeginning(spool: Spool, beginning: Beginning): Promise<void> {
    if (spool instanceof TempFile) await this.#beginnings.note(spool, beginning);
  }

  async keepBeginning(spool: Spool, beginning: Beginning): Promise<void> {
    if (spool instanceof TempFile) await this.#beginnings.keep(spool, beginning);
  }

  takeBeginning(wanted: Omit<Beginning, 'length'>): Promise<{ spool: Spool; length: number } | undefined> {
    return this.#beginnings.take(wanted, join(this.#tmp, tempName()), async (file) => {
      const spool = await TempFile.adopt(file, this.#watch);
      this.#spools.begin();
      return spool;
    });
  }

  idle(): Promise<void> {
    return this.#spools.idle();
  }

  dropAbandoned(): Promise<void> {
    return dropAbandoned(this.#tmp, this.#sole);
  }

  show(): Promise<{ close(): Promise<void> }> {
    return showWriter(this.#folder);
  }
}
