// Questions about all of a folder, answered by a thread of its own: how much there is, and what should go.
import { Worker } from 'node:worker_threads';
import { CacheError } from '../../errors.ts';
import { threadFile } from '../../sync/threads.ts';
import type { Limits, Plan, Unit } from '../plan.ts';
import type { Totals } from '../upkeep.ts';
import type { Removed } from './removal.ts';

/** What the thread is asked. */
export interface Task {
  readonly folder: string;
  readonly storeDir: string;
  /** Objects to make room for. */
  readonly expected: number;
  /** Undefined to count only. */
  readonly plan: (Omit<Limits, 'pinned'> & { readonly pinned: readonly string[] }) | undefined;
  /** Whether what is planned is to be done. */
  readonly remove: boolean;
  /** Whether units are to be told. */
  readonly tell: boolean;
  /** Of the file in which it is to be noted what names a NAR, if that is to be learned (see learning.ts). */
  readonly notes?: number | undefined;
}

export type Reply =
  /** The first, unasked. */
  | { readonly kind: 'ready' }
  | ({ readonly kind: 'totals' } & Totals)
  /** So many files can't be read, and are left out; one of them, and why. */
  | { readonly kind: 'unreadable'; readonly objects: number; readonly first: string }
  /** Where it was to be noted: whether all of it is. */
  | { readonly kind: 'noted'; readonly whole: boolean }
  | ({ readonly kind: 'summary' } & Omit<Plan, 'units'>)
  | { readonly kind: 'units'; readonly units: readonly Unit[] }
  /** Of the units before. */
  | ({ readonly kind: 'removed' } & Removed)
  | { readonly kind: 'failed'; readonly reason: string };

/** What comes of a task. */
type Answer = Exclude<Reply, { kind: 'ready' | 'failed' }>;

/** What the folder holds, as it is while it is counted. */
export async function countFolder(folder: string, signal: AbortSignal): Promise<Totals> {
  const task = { folder, storeDir: '', expected: 0, plan: undefined, remove: false, tell: false };
  for await (const reply of ask(task, signal)) if (reply.kind === 'totals') return reply;
  throw new CacheError('storage', `${folder} could not be counted`);
}

/**
 * What should go from the folder: first, if it was to be noted what names a NAR, whether that was done; then what of it can't be read, if anything, and a summary, then units in their order, if they
 * are to be told, each time followed, if they are to be removed, by what was removed of them. Nothing goes on before the next is
 * asked for.
 * @throws CacheError `storage` if it can't be read, or the signal's reason
 */
export function planFolder(
  options: Pick<Task, 'folder' | 'storeDir' | 'expected' | 'notes'>,
  limits: Limits,
  { remove, tell }: Pick<Task, 'remove' | 'tell'>,
  signal: AbortSignal,
): AsyncGenerator<Answer> {
  return ask({ ...options, plan: { ...limits, pinned: [...limits.pinned] }, remove, tell }, signal);
}

/** Small, so that what is dropped goes soon; what is known of the objects lies outside of it. */
const HEAP = { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 4 };

async function* ask(task: Task, signal: AbortSignal): AsyncGenerator<Answer> {
  signal.throwIfAborted();
  const file = threadFile('scan-thread', import.meta.url);
  const worker = new Worker(file, { workerData: task, resourceLimits: HEAP });
  const end = endOf(worker);
  const abort = () => void worker.terminate();
  try {
    // A thread that is ended while it loads its modules would leave their files open.
    await received(worker, end);
    signal.addEventListener('abort', abort, { once: true });
    for (;;) {
      signal.throwIfAborted();
      worker.postMessage('next');
      const reply = await received(worker, end);
      signal.throwIfAborted();
      if (reply === undefined) return;
      if (reply.kind === 'failed') {
        throw new CacheError('storage', `can't read all of ${task.folder}: ${reply.reason}`);
      }
      if (reply.kind !== 'ready') yield reply;
    }
  } finally {
    signal.removeEventListener('abort', abort);
    await worker.terminate();
  }
}

/** How the thread has ended, if it has: it may fail at any time, also while nobody waits for a message. */
interface End {
  readonly error?: CacheError;
}

function endOf(worker: Worker): () => End | undefined {
  let end: End | undefined;
  worker.on('error', (error) => {
    end = { error: new CacheError('storage', 'looking through the folder failed', error) };
  });
  worker.on('exit', () => {
    end ??= {};
  });
  return () => end;
}

/** The next message of the thread; undefined when it has ended. */
function received(worker: Worker, end: () => End | undefined): Promise<Reply | undefined> {
  return new Promise((resolve, reject) => {
    const ended = () => {
      settle();
      const { error } = end() ?? {};
      if (error === undefined) resolve(undefined);
      else reject(error);
    };
    const settle = () => worker.off('message', onMessage).off('error', ended).off('exit', ended);
    const onMessage = (reply: Reply) => {
      settle();
      resolve(reply);
    };
    if (end() !== undefined) return ended();
    worker.on('message', onMessage).on('error', ended).on('exit', ended);
  });
}
