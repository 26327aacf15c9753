// The benchmarks' side of source.ts: an upstream in another process.
import type { Owner } from '../fixtures/defer.ts';
import { Child } from './child.ts';
import type { Made, Manner, Question, Sent } from './source.ts';

export interface Upstream {
  readonly url: string;
  /** Adds a package with a NAR of `size` bytes. */
  make(name: string, size: number): Promise<Made>;
  /** What it has sent since this was last asked. */
  sent(): Promise<Sent>;
}

/** Starts an upstream of that manner on a free port; it ends with its owner. */
export async function startUpstream(t: Owner, manner: Manner = {}): Promise<Upstream> {
  const child = new Child(t, 'source');
  const ask = (question: Question) => child.ask(question);
  const port = await ask({ type: 'listen', manner });
  return {
    url: `http://127.0.0.1:${port}`,
    make: async (name, size) => (await ask({ type: 'make', name, size })) as Made,
    sent: async () => (await ask({ type: 'sent' })) as Sent,
  };
}

/** The configuration of a service with these upstreams. */
export function configOf(upstreams: readonly Upstream[], ...keys: string[]): string {
  const tables = upstreams.map(({ url }) => `[[upstreams]]\nurl = "${url}"\n`);
  return [...keys.map((key) => `${key}\n`), ...tables].join('');
}
