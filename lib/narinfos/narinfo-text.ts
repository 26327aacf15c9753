// A narinfo from an upstream: its text, within bounds of size and time, and whether that upstream is to be believed.

import { collect } from '../bytes/streams.ts';
import { CacheError } from '../errors.ts';
import { isContentAddressed } from '../nix/content-address.ts';
import { MAX_NARINFO_BYTES, type NarInfo } from '../nix/narinfo.ts';
import type { Answer } from '../upstream/answer.ts';
import type { Upstream } from '../upstream/upstream.ts';

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
  // The stall timeout bounds silence; this bounds an upstream that sends slowly for ever.
  const timer = setTimeout(tooSlow, NARINFO_MS);
  try {
    return (await collect(answer.body, MAX_NARINFO_BYTES, tooLong)).toString();
  } finally {
    clearTimeout(timer);
  }
}

/** @throws CacheError `invalid` or `upstream` if what `answer` said does not count */
export function checkBelievable(info: NarInfo, answer: Answer, upstream: Upstream, storeDir: string): void {
  // A narinfo whose URL can't be asked for is no good.
  upstream.resolve(info.url);
  const proven = isContentAddressed(info, storeDir) || upstream.checkSigned(info, storeDir);
  // A narinfo that was cut behind a line looks whole, but lacks references or signatures.
  if (answer.delimited || proven) return;
  throw new CacheError('upstream', 'it has neither a length nor chunks nor a signature that shows its end');
}
