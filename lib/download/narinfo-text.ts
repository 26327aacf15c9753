// The text of a narinfo from an upstream, within bounds of size and time.
import { CacheError } from '../errors.ts';
import { MAX_NARINFO_BYTES } from '../nix/narinfo.ts';
import { collect } from '../streams.ts';
import type { Answer } from '../upstream/answer.ts';

/** How long a narinfo may take from its first byte to its last. */
const NARINFO_MS = 30_000;

/** @throws CacheError `upstream` or `timeout` */
export async function readNarInfo(answer: Answer, label: string): Promise<string> {
  const tooLong = () =>
    new CacheError('upstream', `${label}: narinfo is longer than ${MAX_NARINFO_BYTES} bytes`);
  const tooSlow = () => {
    answer.body.destroy(
      new CacheError('timeout', `${label}: narinfo not there within ${NARINFO_MS / 1000} s`),
    );
  };
  // A stall is too long a silence; this is against an upstream that never falls silent.
  const timer = setTimeout(tooSlow, NARINFO_MS);
  try {
    return (await collect(answer.body, MAX_NARINFO_BYTES, tooLong)).toString();
  } finally {
    clearTimeout(timer);
  }
}
