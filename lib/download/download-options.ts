// What a download is told beforehand, and whom it tells what becomes of it.
import type { Deadlines } from '../config/config.ts';
import type { Log } from '../log.ts';
import type { Spool } from '../store/scratch.ts';
import type { BeginningStore } from './beginning.ts';
import type { Here } from './first-answer.ts';
import type { Source } from './sources.ts';
import type { Arrived, Expected } from './verify.ts';

export interface DownloadOptions {
  /** In messages. */
  readonly path: string;
  readonly expected: Expected;
  /** Who may supply it, the one that has answered first among them. */
  readonly sources: readonly Source[];
  readonly first: Here;
  readonly connections: number;
  /** See {@link Deadlines}. */
  readonly returnMs: Deadlines['returnMs'] | undefined;
  readonly spool: () => Spool;
  readonly log: Log;
  /** Told what the disk refused; every download may be, for the same reason. */
  readonly warnDisk: (message: string) => void;
  readonly signal: AbortSignal;
  /** Gets the finished body; readers do not wait for it. The spool is closed afterwards. */
  readonly keep: (spool: Spool, arrived: Arrived, origin: string) => Promise<void>;
  readonly beginnings: BeginningStore;
  /** Told when the disk takes no more: nobody can join from then on. */
  readonly passing: () => void;
  /** Told who sent wrong bytes. */
  readonly blame: (source: Source) => void;
  /** Told who sent bytes of a body that broke off. */
  readonly gave: (source: Source) => void;
  /** Told that nobody had what was expected. */
  readonly unfit: () => Promise<void>;
  /** Told that readers have seen wrong bytes, before they hear of it. */
  readonly misled: () => void;
  /** Told that it fails or is stopped, and nobody can join from now on. */
  readonly ending: () => void;
  /** Told when the last who read it leaves. */
  readonly abandoned: () => void;
}
