import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { mock, test } from 'node:test';
import { TransferProgress } from '../../lib/commands/transfer-progress.ts';

function watchOn(isTTY: boolean): { progress: TransferProgress; written: () => string } {
  const out = Object.assign(new PassThrough(), { isTTY });
  const written = () => {
    let all = '';
    // Chunk by chunk, in later Nodes.
    for (let chunk = out.read(); chunk !== null; chunk = out.read()) all += chunk;
    return all;
  };
  return { progress: new TransferProgress(out), written };
}

test('a terminal has a bar that makes way for lines; anything else has a line now and then', (t) => {
  let now = 0;
  mock.method(performance, 'now', () => now);
  t.after(() => mock.restoreAll());
  for (const isTTY of [true, false]) {
    now = 0;
    const { progress, written } = watchOn(isTTY);
    progress.total(4);
    assert.equal(written(), '');
    now = 10_000;
    progress.done('taken');
    const line = '1 of 4 paths, 0 B, 0 B/s';
    assert.equal(written(), isTTY ? `\r\x1b[K[${'#'.repeat(6).padEnd(24, '.')}]  ${line}` : `${line}\n`);
    progress.failed('/nix/store/\x1b', 'no');
    assert.equal(written(), `${isTTY ? '\r\x1b[K' : ''}/nix/store/\\x1b: no\n`);
    progress.done('there');
    progress.end();
    assert.equal(written(), '');
    assert.equal(
      progress.summary('exported'),
      'exported 1 paths, 0 B; 1 were there already; 1 could not be had',
    );
  }
});
