// Clients that push: new packages, packages that share a NAR, the same ones again, with one more signature, or half of one.
import { request } from 'node:http';
import { setTimeout as delay, setImmediate as turn } from 'node:timers/promises';
import { get, head, type Reply } from '../fixtures/client.ts';
import { pick } from '../fixtures/random.ts';
import { drawRecipe, KEYS, make, type Recipe } from './goods.ts';
import type { Entry, Ledger } from './ledger.ts';
import { sigsOf } from './ledger.ts';
import { assertRight, type Life } from './life.ts';

export class Pushers {
  readonly #ledger: Ledger;
  readonly #seed: number;
  #names = 0;

  constructor(ledger: Ledger, seed: number) {
    this.#ledger = ledger;
    this.#seed = seed;
  }

  async push(life: Life): Promise<void> {
    const { random } = life;
    const recipe = this.#drawRecipe(random);
    // Between two that are made, others may read what has come for them.
    await turn();
    const made = make(recipe, pick(random, KEYS));
    const entry = this.#ledger.entryOf(recipe, made);
    if (entry.doomed) return;
    entry.pushing++;
    try {
      if (random() < 0.05) return await leaveHalfway(life, made.narPath, made.file);
      if (random() < 0.7 || !(await isThere(life, made.narPath))) {
        const reply = await upload(life, made.narPath, made.file, random() < 0.2);
        if (!this.#taken(life, entry, made.narPath, reply)) return;
        entry.nar.acknowledged = true;
        if (random() < 0.05) return;
      }
      const sigs = sigsOf(made.narInfo);
      for (const sig of sigs) entry.sent.add(sig);
      const reply = await upload(life, made.narInfoPath, Buffer.from(made.narInfo), false);
      if (!this.#taken(life, entry, made.narInfoPath, reply)) return;
      for (const sig of sigs) entry.acknowledged.add(sig);
      entry.state = 'acknowledged';
    } finally {
      entry.pushing--;
    }
  }

  #drawRecipe(random: () => number): Recipe {
    const { entries } = this.#ledger;
    const recent = entries.slice(-200);
    const draw = random();
    if (recent.length > 0 && draw < 0.25) return pick(random, recent).recipe;
    if (entries.length > 0 && draw < 0.35) return pick(random, entries).recipe;
    const name = `pushed-${this.#seed}-${this.#names++}`;
    return drawRecipe(
      random,
      name,
      recent.length > 0 && draw < 0.5 ? pick(random, recent).recipe : undefined,
    );
  }

  /** Whether it was acknowledged; it must have been, unless its NAR was just being removed. */
  #taken(life: Life, { nar }: Entry, path: string, { complete, status, text }: Reply): boolean {
    life.story.tell(`PUT ${path}: ${status}`);
    if (complete && status === 200) {
      this.#ledger.acknowledgements++;
      return true;
    }
    assertRight(life.over || (nar.shaky && status === 400), `PUT ${path}: ${status} ${text}`);
    return false;
  }
}

async function isThere(life: Life, path: string): Promise<boolean> {
  return (await head(life.url, path)).status === 200;
}

function upload({ url }: Life, path: string, body: Buffer, chunked: boolean): Promise<Reply> {
  const headers: Record<string, string> = chunked
    ? { 'transfer-encoding': 'chunked' }
    : { 'content-length': String(body.length) };
  return get(url, path, { method: 'PUT', body, headers });
}

/** Announces the whole and sends half of it. */
async function leaveHalfway({ url }: Life, path: string, file: Buffer): Promise<void> {
  const outgoing = request(new URL(path, url), {
    ...{ method: 'PUT', agent: false, headers: { 'content-length': file.length } },
  });
  outgoing.on('error', () => {});
  outgoing.write(file.subarray(0, file.length >> 1));
  await delay(20);
  outgoing.destroy();
}
