// What lies on the disk while nothing runs, read without the service: every object whole and under its own name, every pushed
// narinfo with its NAR, and nothing that does not belong there.
import { lstat, readdir, readFile, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { idOf } from '../fixtures/holdings.ts';
import { field } from '../fixtures/nar.ts';
import { hex, type Ledger } from './ledger.ts';
import { assertRight } from './life.ts';

const HEADER_BYTES = 1024;
const HOUR_MS = 3_600_000;
const KNOWN =
  /^(?:[0-9a-f]{2}|tmp|trash|partial|pins|quarantine|removing|notes|changed|push\.netrc|service\.sock(?:\.turn)?)$/;
/** As many as are kept. */
const MOST_PARTIALS = 32;

export class Disk {
  readonly #dir: string;
  /** Files that were read and found right: they are never changed. */
  readonly #right = new Set<string>();

  constructor(dir: string) {
    this.#dir = dir;
  }

  /** @throws Wrong */
  async check(ledger: Ledger): Promise<void> {
    const top = await this.names('');
    for (const name of top) assertRight(KNOWN.test(name), `${name} in the cache folder`);
    const there = new Set(await this.names('trash'));
    for (const folder of top.filter((name) => /^..$/.test(name)))
      for (const id of await this.names(folder)) there.add(id);
    for (const id of there) await this.#checkObject(id, there);
    for (const { narInfoPath, state } of ledger.entries) {
      const isThere = there.has(idOf(narInfoPath));
      assertRight(isThere || state !== 'acknowledged', `${narInfoPath} is lost`);
      assertRight(!isThere || state !== 'removed', `${narInfoPath} was removed and is here`);
    }
    for (const nar of ledger.nars)
      assertRight(there.has(idOf(nar.path)) || !ledger.mustHave(nar), `${nar.path} is lost`);
    const removed = new Set(ledger.entries.filter((one) => one.doomed).map((one) => idOf(one.narInfoPath)));
    // Nothing is damaged by a kill: only what a removal has in its hands lies beside the objects.
    for (const name of await this.names('quarantine')) assertRight(false, `${name} in quarantine/`);
    for (const name of await this.names('removing'))
      assertRight(removed.has(name.slice(0, 64)), `${name} in removing/`);
    const partials = await this.names('partial');
    assertRight(partials.length <= MOST_PARTIALS + 8, `${partials.length} files in partial/`);
  }

  async #checkObject(id: string, there: ReadonlySet<string>): Promise<void> {
    const inPlace = join(this.#dir, id.slice(0, 2), id);
    const file = (await lstat(inPlace).catch(() => undefined)) ? inPlace : join(this.#dir, 'trash', id);
    const { birthtimeMs, ino } = await lstat(file);
    const key = `${id} ${ino} ${birthtimeMs}`;
    const isRead = this.#right.has(key);
    // The narinfos are read each time, as their NARs may have gone since.
    const bytes = await readFile(file);
    const { path, size, sha256, kind, origin } = JSON.parse(bytes.toString('utf8', 0, HEADER_BYTES));
    const body = bytes.subarray(HEADER_BYTES);
    assertRight(idOf(path) === id, `${path} has the name ${id}`);
    assertRight(body.length === size, `${path} has ${body.length} bytes, its header says ${size}`);
    assertRight(isRead || hex(body) === sha256, `${path} is wrong`);
    this.#right.add(key);
    if (kind !== 'narinfo' || origin !== 'push') return;
    const nar = `/${field(body.toString(), 'URL').replace(/\?.*/, '')}`;
    assertRight(there.has(idOf(nar)), `the NAR of ${path}, ${nar}, is gone`);
  }

  async names(folder: string): Promise<string[]> {
    return readdir(join(this.#dir, folder)).catch(() => []);
  }

  /** As if everything had been used some hours ago, so that it may be collected. */
  async age(random: () => number): Promise<void> {
    for (const folder of (await this.names('')).filter((name) => /^[0-9a-f]{2}$/.test(name))) {
      for (const id of await this.names(folder)) {
        const used = new Date(Date.now() - (2 + 18 * random()) * HOUR_MS);
        await utimes(join(this.#dir, folder, id), used, used);
      }
    }
  }
}
