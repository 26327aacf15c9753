// One look at an upstream that is believed dead: whether it is alive. It is asked for the one file that every cache has, and for
// a narinfo that none has: either may be broken where the other works.
import { CacheError, isCacheError } from '../errors.ts';
import type { Response } from '../wire/response.ts';
import type { Answer } from './answer.ts';
import { discard } from './body.ts';
import { banIn, isWebPage } from './forbidden.ts';
import type { Way } from './parties.ts';
import { race } from './race.ts';
import { isRedirect } from './sender.ts';
import { Postponement } from './standing.ts';
import { NOBODY } from './via.ts';

/** A store hash that nobody has: what is answered to it tells whether narinfos are answered at all. */
const NO_PATH = '0'.repeat(32);
/** How long the file that every cache has may take before something else is asked as well. */
const HEDGE_MS = 1000;

interface Looked {
  /** For messages. */
  readonly url: string;
  readonly through: string;
  /** The first answer, be it a redirect. */
  readonly head: (path: string, way: Way) => Promise<Response>;
  /** What it comes to; undefined for a miss. */
  readonly answer: (path: string, way: Way) => Promise<Answer | undefined>;
  readonly signal: AbortSignal;
}

/** Rejects unless it is alive. */
export async function look(looked: Looked): Promise<void> {
  const { answer, head, signal } = looked;
  const manner = { part: undefined, ahead: undefined, insist: true, patient: false, looking: true };
  const wayOf = (over: AbortSignal): Way => {
    return { ...manner, large: false, via: NOBODY, excuses: () => false, signal: over };
  };
  const asks = [
    async (over: AbortSignal) => await isLife(await head('nix-cache-info', wayOf(over)), looked),
    async (over: AbortSignal) => {
      const found = await answer(`${NO_PATH}.narinfo`, wayOf(over)).catch((error) => {
        // A refusal is a sign of life; a postponement says that it was asked too often.
        if (isCacheError(error, 'refused') || error instanceof Postponement) return undefined;
        throw error;
      });
      found?.body.destroy();
      return true;
    },
  ];
  const onFailure = () => {};
  const { found, failures } = await race(asks, { hedgeDelayMs: HEDGE_MS, signal, onFailure });
  if (found === undefined) throw failures.at(-1)?.error ?? signal.reason;
}

/** What a head says of whoever sent it: true for a cache, and a failure for what anybody on the way may have sent. */
async function isLife(response: Response, { through, url }: Looked): Promise<true> {
  const { statusCode: status = 0 } = response;
  const ban = status === 403 ? await banIn(response) : undefined;
  const isPage = status === 200 && isWebPage(response);
  discard(response);
  // No cache answers 400 to this question, but the other end of a proxy may answer it to everything.
  const isStranger = status === 400 && through !== '';
  if (status < 500 && !isRedirect(response) && ban === undefined && !isPage && !isStranger) return true;
  const what = isPage ? 'a web page' : `${status}`;
  throw new CacheError('upstream', `${url}/nix-cache-info${through}: answered ${what}`);
}
