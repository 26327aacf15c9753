// One GET: over HTTP/2 where the server offers it, else over HTTP/1.1, and again where that is right: on another connection, or
// by the other protocol. Answers when the head is there.
import { CacheError, isCacheError } from '../errors.ts';
import { AskAgain } from './ask-again.ts';
import { getOverHttp1, type RequestOptions } from './http1.ts';
import type { Origin } from './origin.ts';
import type { Origins } from './origins.ts';
import type { Response } from './response.ts';
import { shown, targetOf } from './urls.ts';

/** How often a request is sent that others have not processed. */
const MOST_TRIES = 8;
/** How often one is, at most, that was under way when its connection ended, on which others had been answered. */
const MOST_DEATHS = 3;
/** Misdirected Request: this connection is not for that name. */
const MISDIRECTED = 421;

interface GetOptions extends RequestOptions {
  readonly origins: Origins;
  /** Whether it is a part of something large, and not its beginning. */
  readonly isPart: boolean;
  readonly isLarge: boolean;
}

/**
 * Sends a GET of `url`; the answer's body must be read to its end or destroyed.
 * @throws CacheError `upstream`, `proxy`, `timeout` or `aborted`
 */
export async function get(url: URL, options: GetOptions): Promise<Response> {
  const origin = options.origins.at(targetOf(url, options.onlyPublic));
  let deaths = 0;
  for (let tries = 1; ; tries++) {
    try {
      return await ask(url, origin, options, tries);
    } catch (error) {
      if (!(error instanceof AskAgain)) throw error;
      if (error.why === 'reused') deaths++;
      if (error.why === 'http/1.1') origin.distrust();
      if (tries >= MOST_TRIES || deaths >= MOST_DEATHS) throw error.cause;
    }
  }
}

async function ask(url: URL, origin: Origin, options: GetOptions, tries: number): Promise<Response> {
  const { admit, agent, ahead, connected, firstByteMs, headers, isLarge, isPart, slots, signal } = options;
  const size = !isLarge ? 'small' : isPart ? 'part' : 'large';
  const since = performance.now();
  const wish = { size, slots, ahead, signal } as const;
  const place =
    origin.placeNow(wish) ??
    (await origin.place(wish).catch((error: unknown) => {
      if (signal.aborted || !isCacheError(error))
        throw new CacheError('aborted', `${shown(url)}: no longer wanted`, error);
      if (error.code !== 'aborted') admit(performance.now() - since);
      throw error;
    }));
  if (place === undefined) return await getOverHttp1(url, options);
  const { giveBack, session } = place;
  try {
    admit();
  } catch (error) {
    giveBack();
    throw error;
  }
  connected();
  const { through } = agent;
  const response = await session.ask({ url, headers, firstByteMs, through, signal }, giveBack);
  if (response.statusCode !== MISDIRECTED || tries > 1) return response;
  response.on('error', () => {}).destroy();
  session.end();
  throw new AskAgain('unprocessed', new CacheError('upstream', `${shown(url)}${through}: answered 421`));
}
