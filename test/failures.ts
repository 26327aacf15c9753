// A reporter for node:test that says only what failed and what was skipped, each with its file and why: what a run that nobody
// watches must end with.
import { relative, resolve } from 'node:path';
import { projectRoot } from './fixtures/project.ts';

interface TestEvent {
  readonly type: string;
  readonly data: {
    readonly name: string;
    readonly file?: string;
    readonly line?: number;
    /** Of what a file wrote. */
    readonly message?: string;
    readonly skip?: string | boolean;
    readonly todo?: string | boolean;
    readonly details?: { readonly error?: Error & { readonly failureType?: string } };
  };
}

/** Of a message: an assertion may show all of two long texts. */
const MAX_LINES = 40;
/** Of what a file wrote last. */
const MAX_TAIL = 2000;

export default async function* failures(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  let failed = 0;
  const skipped: string[] = [];
  const tails = new Map<string, string>();
  for await (const { type, data } of source) {
    if (type === 'test:stderr' && data.file !== undefined) {
      const file = resolve(data.file);
      tails.set(file, `${tails.get(file) ?? ''}${data.message ?? ''}`.slice(-MAX_TAIL));
    }
    if (type === 'test:pass' && data.skip !== undefined && data.skip !== false) {
      skipped.push(`skipped: ${where(data)}${data.name}: ${data.skip}\n`);
    }
    if (type !== 'test:fail') continue;
    const error = data.details?.error;
    // Its own subtests say it all.
    if (error?.failureType === 'subtestsFailed') continue;
    failed++;
    yield `not ok: ${where(data)}${data.name}\n${indented(messageOf(error))}\n`;
    // A file that ends before it has told of its tests has said why there.
    const tail = isFile(data) ? tails.get(resolve(data.name)) : undefined;
    if (tail !== undefined) yield `${indented(tail)}\n`;
  }
  yield* skipped;
  if (failed > 0) yield `${failed} failed\n`;
}

function where({ file, line }: TestEvent['data']): string {
  return file === undefined ? '' : `${relative(projectRoot, file)}:${line ?? 1}: `;
}

/** Whether it tells of a file as a whole. */
function isFile({ name, file }: TestEvent['data']): boolean {
  return file !== undefined && resolve(name) === resolve(file);
}

/** What was thrown in the test, without the lines of the runner; node:test wraps it. */
function messageOf(error: Error | undefined): string {
  const cause = error?.cause instanceof Error ? error.cause : error;
  const text = cause?.stack ?? String(cause?.message ?? error);
  return text.replace(/\n {4}at [^\n]*\bnode:[^\n]*/g, '');
}

function indented(text: string): string {
  const lines = text.split('\n');
  const left = lines.length > MAX_LINES ? [`… ${lines.length - MAX_LINES} lines more`] : [];
  return [...lines.slice(0, MAX_LINES), ...left].map((line) => `    ${line}`).join('\n');
}
