import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import type { Found } from '../../lib/cache/found.ts';
import { isCacheError } from '../../lib/errors.ts';
import { sendFound } from '../../lib/http/send.ts';
import { startServer } from '../../lib/http/server.ts';
import { defer } from '../fixtures/defer.ts';
import { patiently } from '../fixtures/patience.ts';

test('a client that leaves while the beginning is read is waited for no longer, however much there is', async (t) => {
  for (const piece of [undefined, Buffer.from('x')]) {
    let begun = () => {};
    const reading = new Promise<void>((resolve) => {
      begun = resolve;
    });
    let settle = (_outcome: Promise<void>) => {};
    const settled = new Promise<void>((resolve) => {
      settle = resolve;
    });
    const closed: string[] = [];
    const server = await startServer({ host: '127.0.0.1', port: 0 }, async (req, res) => {
      const gone = once(res, 'close');
      const read = async () => {
        begun();
        await gone;
        return piece;
      };
      const found: Found = {
        ...{
          mime: 'text/plain',
          size: piece?.length ?? 0,
          sure: true,
          sha256: undefined,
          how: 'hit',
          mayBeDamaged: true,
        },
        ...{
          modified: undefined,
          lasting: false,
          body: undefined,
          open: () => ({ read, close: () => closed.push('reader') }),
          close: () => {},
        },
      };
      settle(sendFound(req, res, found, true));
      await settled.catch(() => {});
    });
    defer(t, () => server.stop(0));
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
    socket.write('GET /x HTTP/1.1\r\nHost: x\r\n\r\n');
    await reading;
    socket.destroy();
    await assert.rejects(
      patiently(settled, 'the answer to end'),
      (error) => isCacheError(error, 'aborted') || /destroyed/.test(String(error)),
    );
    assert.deepEqual(closed, ['reader']);
  }
});
