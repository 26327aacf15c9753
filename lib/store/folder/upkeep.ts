// The upkeep of the folder: its files are looked at one after another, by a thread where there may be a million of them.
import { readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { replaceFile, sizeOf, storageError, syncFolder } from '../../disk/files.ts';
import { writing } from '../../disk/writing.ts';
import { isErrno } from '../../errors.ts';
import type { Limits } from '../plan.ts';
import type { ObjectMeta } from '../store.ts';
import type {
  Aside,
  Inspected,
  Located,
  Namer,
  NamersOptions,
  Pause,
  Pin,
  Place,
  Remains,
  Step,
  Totals,
  Upkeep,
} from '../upkeep.ts';
import { changing, heeded, lastChange } from './changed-beside.ts';
import type { Damaged } from './damaged.ts';
import { readSmall } from './facts.ts';
import { fileAt, placeOf, placesOf, trashFolder, trashOf } from './files.ts';
import { inspectFile } from './inspect.ts';
import type { KeptFiles } from './kept-files.ts';
import { isLearningDue, Learning } from './learning.ts';
import { namersIn } from './namers.ts';
import { give } from './own.ts';
import { Pins } from './pins.ts';
import { dropQuarantined, listQuarantined, putBackNoted, readQuarantined, wholeFile } from './quarantine.ts';
import { removeNar } from './removal.ts';
import { countFolder, planFolder } from './scan.ts';
import type { Tally } from './tally.ts';
import { walkFolder, walkFolderSync } from './walk.ts';
import { forgetWithdrawn, readWithdrawn, withdraw } from './withdrawn.ts';

/** Files to look at before others get a turn. */
const BATCH = 32;

export class FolderUpkeep implements Upkeep {
  readonly #folder: string;
  readonly #damaged: Damaged;
  readonly #tally: Tally;
  readonly #pins: Pins;
  readonly #kept: KeptFiles;

  readonly #many: number;

  /** `many`: of how many objects on it is noted what names a NAR. */
  constructor(
    folder: string,
    damaged: Damaged,
    tally: Tally,
    { kept, many }: { readonly kept: KeptFiles; readonly many: number },
  ) {
    this.#folder = folder;
    this.#damaged = damaged;
    this.#tally = tally;
    this.#pins = new Pins(folder);
    this.#kept = kept;
    this.#many = many;
  }

  get totals(): Totals | undefined {
    return this.#tally.totals;
  }

  async count(signal: AbortSignal): Promise<Totals> {
    const counted = this.#tally.counting();
    const totals = await countFolder(this.#folder, signal);
    counted(totals);
    return totals;
  }

  watch(changed: (full: boolean) => void): void {
    this.#tally.watch(changed);
  }

  changedElsewhere(): Promise<number> {
    return lastChange(this.#folder);
  }

  changing<T>(run: () => Promise<T>): Promise<T> {
    return changing(this.#folder, run);
  }

  heeded(): Promise<void> {
    return heeded(this.#folder);
  }

  async *places(after?: Place): AsyncGenerator<Located> {
    for await (const { id, place } of walkFolder(this.#folder, after)) yield { id, place };
  }

  inspect(place: Place, pause: Pause): Promise<Inspected | undefined> {
    return inspectFile(this.#folder, place, pause);
  }

  async inspectId(id: string, pause: Pause): Promise<Inspected | 'moving' | undefined> {
    const open = async () => {
      for (const place of placesOf(id)) {
        const found = await this.inspect(place, pause);
        if (found !== undefined) return found;
      }
      return undefined;
    };
    const isMoving = async () => {
      const sizes = placesOf(id).map((place) => sizeOf(trashOf(this.#folder, place)));
      return (await Promise.all(sizes)).some((size) => size !== undefined) ? 'moving' : undefined;
    };
    // Looked for once more at the end: the file may have been put back since the first look.
    return (await open()) ?? (await isMoving()) ?? open();
  }

  namers(nars: ReadonlySet<string>, options: NamersOptions): AsyncGenerator<Namer> {
    return namersIn(this.#folder, this.#many, nars, options);
  }

  async *smallBodies(
    mostBytes: number,
    looked: (objects: number) => void,
  ): AsyncGenerator<{ readonly path: string; readonly body: Buffer }> {
    let objects = 0;
    for (const source of walkFolderSync(this.#folder)) {
      if (++objects % BATCH === 0) {
        looked(objects);
        await turn();
      }
      const found = readSmall(source, mostBytes);
      if (found !== undefined) yield found;
    }
  }

  setAside(
    { place, version }: Pick<Inspected, 'place' | 'version'>,
    label: string,
    reason: string,
  ): Promise<boolean> {
    return this.#damaged.setAside(label, fileAt(this.#folder, place), version, reason);
  }

  listAside(): Promise<Aside[]> {
    return listQuarantined(this.#folder);
  }

  wholeAside({ id, key }: Aside): Promise<ObjectMeta | undefined> {
    return wholeFile(this.#folder, key, id);
  }

  async putBack({ id, key }: Aside): Promise<Place> {
    const place = placeOf(id);
    await putBackNoted(this.#folder, join(this.#folder, key), fileAt(this.#folder, place));
    this.#gone(id);
    await dropQuarantined(this.#folder, id);
    return place;
  }

  dropAside(id: string): Promise<void> {
    return dropQuarantined(this.#folder, id);
  }

  async has(id: string): Promise<boolean> {
    const sizes = await Promise.all(placesOf(id).map((place) => sizeOf(fileAt(this.#folder, place))));
    return sizes.some((size) => size !== undefined);
  }

  async withdraw(id: string): Promise<void> {
    await withdraw(this.#folder, id);
    this.#gone(id);
    await this.#settle(id);
  }

  async remains(id: string): Promise<Remains[]> {
    return [...(await readWithdrawn(this.#folder, id)), ...(await readQuarantined(this.#folder, id))];
  }

  async forget(id: string): Promise<void> {
    await forgetWithdrawn(this.#folder, id);
    await dropQuarantined(this.#folder, id);
    await this.#settle(id);
  }

  async removeNar(id: string, needed: () => Promise<boolean>): Promise<number | undefined> {
    const bytes = await removeNar(this.#folder, id, () => {
      this.#gone(id);
      return needed();
    });
    await this.#settle(id);
    return bytes;
  }

  async remove(place: Place): Promise<void> {
    const file = fileAt(this.#folder, place);
    await rm(file, { force: true }).catch((error) => {
      throw storageError(`can't remove ${file}`, error);
    });
    this.#kept.dropFile(file);
    await syncFolder(dirname(file));
  }

  #gone(id: string): void {
    for (const place of placesOf(id)) this.#kept.dropFile(fileAt(this.#folder, place));
  }

  /** All folders in which the object may have been. */
  async #settle(id: string): Promise<void> {
    const places = placesOf(id).map((place) => dirname(fileAt(this.#folder, place)));
    for (const one of [...places, trashFolder(this.#folder)]) await syncFolder(one);
  }

  async *collect(
    limits: Limits,
    {
      remove,
      storeDir,
      tell,
    }: { readonly storeDir: string; readonly remove: boolean; readonly tell: boolean },
    signal: AbortSignal,
  ): AsyncGenerator<Step> {
    const tally = this.#tally;
    const expected = Math.ceil((tally.totals?.objects ?? 10_000) * 1.1);
    const counted = tally.counting();
    // Whoever reads all objects may as well learn what names what.
    const isDue = remove && (await isLearningDue(this.#folder, this.#many));
    const learning = isDue ? await Learning.begin(this.#folder) : undefined;
    let isNoted: boolean | undefined;
    const options = { folder: this.#folder, storeDir, expected, notes: learning?.fd };
    try {
      for await (const reply of planFolder(options, limits, { remove, tell }, signal)) {
        if (reply.kind === 'noted') {
          isNoted = reply.whole;
          await learning?.end(isNoted);
        }
        if (reply.kind === 'summary') counted({ objects: reply.objects, bytes: reply.totalBytes });
        if (reply.kind === 'removed') {
          this.#kept.recheck();
          tally.changed(-reply.objects, -reply.bytes);
        }
        if (reply.kind !== 'totals' && reply.kind !== 'noted') yield reply;
      }
    } finally {
      if (isNoted === undefined) await learning?.end(false);
    }
  }

  pins(): Promise<Pin[]> {
    return this.#pins.list();
  }

  pin(pin: Pin): Promise<void> {
    return this.#pins.set(pin);
  }

  unpin(name: string): Promise<boolean> {
    return this.#pins.remove(name);
  }

  async readProgress(): Promise<string | undefined> {
    return readFile(this.#progress, 'utf8').catch((error) => {
      if (isErrno(error, 'ENOENT')) return undefined;
      throw storageError(`can't read ${this.#progress}`, error);
    });
  }

  async writeProgress(text: string): Promise<void> {
    const file = this.#progress;
    try {
      await writing(() => replaceFile(file, `${file}.new`, (handle) => handle.writeFile(text)));
      await give(this.#folder, file);
    } catch (error) {
      throw storageError(`can't write ${file}`, error);
    }
  }

  get #progress(): string {
    return join(this.#folder, 'scrub.json');
  }
}
