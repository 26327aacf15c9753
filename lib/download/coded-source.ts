// A source of a NAR that is not packed, which may come coded in transfer: the coding is offered where no part is wanted, a large NAR
// is asked for in parts instead where those are faster, and nothing is decoded beyond the size that the NAR has.
import { isCacheError } from '../errors.ts';
import type { Emit } from '../events.ts';
import type { Answer, Part } from '../upstream/answer.ts';
import type { Incoming } from '../upstream/body.ts';
import type { Coding } from '../upstream/coding.ts';
import type { Source } from './sources.ts';

/** How long the end of a coded body may take behind its last byte before its connection is given up. */
const TAIL_MS = 1000;

/** The same source of a NAR of `size` bytes. */
export function codedSource(source: Source, size: number, emit: Emit): Source {
  const { upstream } = source;
  return {
    ...source,
    ask: async (signal, part, need) => {
      const asked = isOpening(part) && isBetterWhole(source, part.connections, emit) ? undefined : part;
      const answer = await source.ask(signal, asked, need);
      if (answer === undefined) return undefined;
      if (isOpening(asked) && !answer.partial) upstream.coding.ignoredPart();
      return answer.undone === undefined ? answer : bounded(answer, size, upstream.coding);
    },
  };
}

function isOpening(part: Part | undefined): part is Part & { readonly connections: number } {
  return part?.start === 0 && part.whole !== true && part.connections !== undefined;
}

function isBetterWhole({ label, upstream }: Source, connections: number, emit: Emit): boolean {
  const { coded, manner, parts } = upstream.coding.choose(connections, upstream.pace);
  if (coded !== undefined) emit({ kind: 'manner-chosen', source: label, manner, coded, parts });
  return manner === 'coded';
}

/** The answer without what it is decoded to behind `size` bytes. */
function bounded(answer: Answer, size: number, coding: Coding): Answer {
  return { ...answer, body: new BoundedBody(answer.body, size, coding) };
}

class BoundedBody implements Incoming {
  readonly #body: Incoming;
  readonly #size: number;
  readonly #coding: Coding;
  /** What has given all that is wanted, and whose end is still to come. */
  #tail: AsyncIterator<Buffer> | undefined;

  constructor(body: Incoming, size: number, coding: Coding) {
    this.#body = body;
    this.#size = size;
    this.#coding = coding;
  }

  get received(): number {
    return this.#body.received ?? 0;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    const chunks = this.#body[Symbol.asyncIterator]();
    let left = this.#size;
    let isOver = false;
    try {
      while (left > 0) {
        const next = await chunks.next().catch((error) => {
          isOver = true;
          if (isCacheError(error.cause, 'invalid')) this.#coding.broke(this.#size - left);
          throw error;
        });
        if (next.done) {
          isOver = true;
          return;
        }
        const wanted = next.value.subarray(0, left);
        left -= wanted.length;
        isOver = wanted.length < next.value.length;
        if (left === 0) this.#coding.undone();
        yield wanted;
      }
    } finally {
      if (left === 0 && !isOver) this.#tail = chunks;
      else await chunks.return?.();
    }
  }

  /** Once all has been read, nobody waits for the end that keeps the connection. */
  destroy(error?: Parameters<Incoming['destroy']>[0]): void {
    const tail = this.#tail;
    this.#tail = undefined;
    if (tail === undefined) this.#body.destroy(error);
    else this.#finish(tail);
  }

  #finish(tail: AsyncIterator<Buffer>): void {
    const timer = setTimeout(() => this.#body.destroy(), TAIL_MS);
    const isEnd = tail.next().then(
      ({ done }) => done === true,
      () => true,
    );
    isEnd.then((ended) => {
      clearTimeout(timer);
      if (!ended) this.#body.destroy();
    });
  }
}
