// The benchmarks' side of reader.ts: clients in another process.
import { get } from '../fixtures/client.ts';
import type { Owner } from '../fixtures/defer.ts';
import { field } from '../fixtures/nar.ts';
import { Child } from './child.ts';
import type { Question, Read } from './reader.ts';

type Options = Omit<Question, 'port' | 'path' | 'count'>;

export class Clients {
  readonly #child: Child;

  constructor(t: Owner) {
    this.#child = new Child(t, 'reader');
  }

  /**
   * What `count` clients experience who ask for `path` at once.
   * @throws Error unless all of them got all of it, or were to leave early
   */
  async read(base: string, path: string, count: number, options: Options = {}): Promise<Read[]> {
    const question: Question = { port: Number(new URL(base).port), path, count, ...options };
    const reads = (await this.#child.ask(question)) as Read[];
    for (const { bytes, size, status } of reads) {
      const whole = bytes === size || options.leaveAfterMs !== undefined;
      if (status !== 200 || !whole) throw new Error(`GET ${path}: ${status}, ${bytes} of ${size} bytes`);
    }
    return reads;
  }

  async readOne(base: string, path: string, options?: Options): Promise<Read> {
    const [one] = await this.read(base, path, 1, options);
    return one as Read;
  }
}

/** Where a client that has read the narinfo asks for the NAR. */
export async function narPathAt(base: string, narInfoPath: string): Promise<string> {
  const { status, text } = await get(base, narInfoPath);
  if (status !== 200) throw new Error(`GET ${narInfoPath}: ${status} ${text}`);
  return `/${field(text, 'URL')}`;
}
