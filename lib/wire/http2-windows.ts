// How much of the answers on one HTTP/2 connection may be on its way at once: enough for a long line, and no more for all large answers
// together than for one, since what their readers leave unread is in memory.
import type { ClientHttp2Session } from 'node:http2';

/** Bytes that may be on their way at once: 16 MiB at 200 ms are 80 MB/s. */
export const CONNECTION_WINDOW = 16 * 1024 * 1024;
/** The least that one of many large answers may have on its way; also what a reader that stands still may leave in memory. */
const LEAST_WINDOW = 128 * 1024;

export class Windows {
  readonly #session: ClientHttp2Session;
  /** Large answers that they are made for. */
  #shares = 1;

  /** Of a connection whose streams have begun with the whole window each. */
  constructor(session: ClientHttp2Session) {
    this.#session = session;
    session.setLocalWindowSize(CONNECTION_WINDOW);
  }

  /** Has what is read ahead of slow readers stay the same, however many large answers there are. */
  fit(large: number): void {
    const wanted = 2 ** Math.ceil(Math.log2(Math.max(large, 1)));
    const isFitting = wanted <= this.#shares && wanted > this.#shares / 4;
    if (isFitting || this.#session.pendingSettingsAck || this.#session.destroyed) return;
    this.#shares = wanted;
    const initialWindowSize = Math.max(CONNECTION_WINDOW / wanted, LEAST_WINDOW);
    this.#session.settings({ initialWindowSize });
  }
}
