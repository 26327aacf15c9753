// A program of this folder as a process of its own, so that what it does costs the service and the other programs no turn
// of their event loop. It is asked by messages, one answer each.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { defer, type Owner } from '../fixtures/defer.ts';

type Reply = { readonly id: number } & ({ readonly value: unknown } | { readonly error: string });

export class Child {
  readonly #process: ChildProcess;
  readonly #waiting = new Map<
    number,
    { resolve: (value: unknown) => void; reject: (error: Error) => void }
  >();
  #id = 0;

  /** Starts `program`, e.g. `source`; it ends with its owner. */
  constructor(t: Owner, program: string) {
    const extension = import.meta.url.slice(-3);
    this.#process = fork(fileURLToPath(new URL(`${program}${extension}`, import.meta.url)));
    const ended = once(this.#process, 'close');
    defer(t, async () => {
      this.#process.kill('SIGKILL');
      await ended;
    });
    this.#process.on('message', (reply: Reply) => {
      const waiting = this.#waiting.get(reply.id);
      this.#waiting.delete(reply.id);
      if ('error' in reply) waiting?.reject(new Error(`${program}: ${reply.error}`));
      else waiting?.resolve(reply.value);
    });
    this.#process.on('exit', (code, signal) => {
      for (const { reject } of this.#waiting.values())
        reject(new Error(`${program} ended: ${code ?? signal}`));
    });
  }

  get pid(): number {
    return this.#process.pid as number;
  }

  ask(question: object): Promise<unknown> {
    const id = ++this.#id;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#process.send({ id, question });
    });
  }
}

/** In the child: answers every question with what `answer` makes of it. */
export function answerQuestions<Q>(answer: (question: Q) => Promise<unknown>): void {
  process.on('message', ({ id, question }: { id: number; question: Q }) => {
    answer(question).then(
      (value) => process.send?.({ id, value }),
      (error) => process.send?.({ id, error: String(error?.stack ?? error) }),
    );
  });
  process.on('disconnect', () => process.exit());
}

/** Milliseconds on a clock that all processes of a machine share. */
export function sharedNow(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
