// Clients that pull, compare all they get with what it should be, and insist on what was acknowledged.
import { get, open, type Reply } from '../fixtures/client.ts';
import { field, type Package } from '../fixtures/nar.ts';
import { pick } from '../fixtures/random.ts';
import { comparable, type Entry, hex, type Ledger, type Nar, sigsOf } from './ledger.ts';
import { assertRight, type Life } from './life.ts';

const RECENT = 100;

export class Pullers {
  readonly #ledger: Ledger;
  readonly #goods: readonly Package[];

  constructor(ledger: Ledger, goods: readonly Package[]) {
    this.#ledger = ledger;
    this.#goods = goods;
  }

  async pull(life: Life): Promise<void> {
    const { random } = life;
    const { entries } = this.#ledger;
    const draw = random();
    if (draw < 0.5 || entries.length === 0) return this.pullUpstream(life, pick(random, this.#goods));
    await this.pullPushed(life, pick(random, draw < 0.8 ? entries.slice(-RECENT) : entries));
  }

  /** The narinfo and its NAR: what was acknowledged must be there, what was not must be right if it is. */
  async pullPushed(life: Life, entry: Entry): Promise<void> {
    const { narInfoPath, storePath } = entry;
    const must = entry.state === 'acknowledged';
    const sigs = [...entry.acknowledged];
    const removed = entry.state === 'removed';
    const reply = await get(life.url, narInfoPath);
    if (!this.#isHere(life, narInfoPath, reply, must && entry.state === 'acknowledged')) return;
    assertRight(!removed, `${storePath} was removed and is served`);
    const { text } = reply;
    assertRight(comparable(text) === entry.lines, `${narInfoPath} is wrong:\n${text}`);
    const served = sigsOf(text);
    assertRight(
      served.every((sig) => entry.sent.has(sig)),
      `${narInfoPath} has a signature that nobody sent:\n${text}`,
    );
    const lost = must && !entry.doomed ? sigs.filter((sig) => !served.includes(sig)) : [];
    assertRight(lost.length === 0, `${narInfoPath} lacks ${lost}:\n${text}`);
    // What is being removed may go between narinfo and NAR.
    await this.pullNar(life, entry.nar, `/${field(text, 'URL')}`, () => !entry.doomed);
  }

  async pullNar(life: Life, nar: Nar, path: string, must: () => boolean): Promise<void> {
    const reply = await get(life.url, path);
    if (!this.#isHere(life, path, reply, must())) return;
    const found = `${reply.body.length} bytes, ${hex(reply.body)}`;
    assertRight(found === `${nar.size} bytes, ${nar.sha256}`, `${path} is wrong: ${found}`);
  }

  /** From the upstream if need be, which always has it: whole, in part, or left half-way. */
  async pullUpstream(life: Life, one: Package): Promise<void> {
    const { random, url } = life;
    const reply = await get(url, one.narInfoPath);
    if (!this.#isHere(life, one.narInfoPath, reply, true)) return;
    assertRight(
      withoutUrl(reply.text) === withoutUrl(one.narInfo),
      `${one.narInfoPath} is wrong:\n${reply.text}`,
    );
    const path = `/${field(reply.text, 'URL')}`;
    const draw = random();
    if (draw < 0.1) {
      const answer = await open(url, path);
      await answer.atLeast(1 + Math.floor(random() * one.file.length));
      return answer.abort();
    }
    const [from, to] = [random(), random()].sort().map((part) => Math.floor(part * one.file.length));
    const headers = draw < 0.3 ? { range: `bytes=${from}-${to}` } : undefined;
    this.#checkFile(life, path, await get(url, path, headers && { headers }), one.file);
  }

  #checkFile(life: Life, path: string, reply: Reply, file: Buffer): void {
    if (!this.#isHere(life, path, reply, true)) return;
    const [, first, last] = /^bytes (\d+)-(\d+)\//.exec(reply.headers['content-range'] ?? '') ?? [];
    const truth = reply.status === 206 ? file.subarray(Number(first), Number(last) + 1) : file;
    assertRight(reply.body.equals(truth), `${path}: a complete answer, and wrong`);
  }

  /** Whether the answer is one; if not, it must not have been necessary, or the kill has come between. */
  #isHere(life: Life, path: string, { complete, status, text }: Reply, must: boolean): boolean {
    life.story.tell(`GET ${path}: ${status}${complete ? '' : ', cut'}`);
    if (complete && (status === 200 || status === 206)) return true;
    assertRight(life.over || complete, `GET ${path}: the answer broke off`);
    assertRight(life.over || !must, `GET ${path}: ${status} ${text}`);
    assertRight(life.over || status === 404, `GET ${path}: ${status} ${text}`);
    return false;
  }
}

/** What is fetched is served at an address of the cache's own; whether that leads to the right NAR is seen by asking there. */
function withoutUrl(narInfo: string): string {
  return comparable(narInfo).replace(/^URL: .*\n/m, '');
}
