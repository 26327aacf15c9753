import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { buffer, text } from 'node:stream/consumers';
import { test } from 'node:test';
import type { Source } from '../../lib/download/sources.ts';
import type { Expected } from '../../lib/download/verify.ts';
import { CacheError } from '../../lib/errors.ts';
import type { Spool } from '../../lib/store/scratch.ts';
import type { Answer } from '../../lib/upstream/answer.ts';
import { BREAK, digest, gated, hashOf, NOTHING, open, start } from '../fixtures/download.ts';
import { fakeSource } from '../fixtures/fake-source.ts';
import { Gate } from '../fixtures/gate.ts';

test('readers get the bytes as they arrive, from any offset, each at its own pace', async (t) => {
  const { download, gate, kept } = await gated(t, 10);
  const follower = open(download)[Symbol.asyncIterator]();
  const late = text(open(download, 3));
  const part = text(open(download, 1, 4));
  gate.give('abc');
  assert.equal(String((await follower.next()).value), 'abc');
  gate.give('def');
  assert.equal(String((await follower.next()).value), 'def');
  gate.give('ghij').end();
  assert.equal(await part, 'bcd');
  assert.equal(await late, 'defghij');
  for (let seen = 'abcdef'; seen !== 'abcdefghij'; ) seen += String((await follower.next()).value);
  assert.equal((await follower.next()).done, true);
  await download.ended;
  assert.deepEqual(kept, [{ size: 10, sha256: digest('abcdefghij').toString('hex') }]);
});

test('the last byte is not shown before hash and size are known to be right', async (t) => {
  const { download, gate, kept } = await gated(t, undefined, {
    ...NOTHING,
    fileHash: hashOf('abcd'),
    fileSize: 4,
  });
  assert.equal(download.size, 4);
  const seen: string[] = [];
  const reading = (async () => {
    for await (const chunk of open(download)) seen.push(String(chunk));
  })();
  gate.give('ab').give('xd').end();
  await assert.rejects(reading, /SHA-256 is wrong/);
  await download.ended;
  assert.ok(seen.join('').length < 4, seen.join(''));
  assert.deepEqual(kept, []);
});

test('a part that ends before the file does waits for no verdict; one that ends with it does', async (t) => {
  for (const lastByte of ['9', '0']) {
    const { download, gate } = await gated(t, 10, { ...NOTHING, fileHash: hashOf('0123456789') });
    const part = text(open(download, 2, 5));
    let ended = false;
    const rest = text(open(download, 4, 10)).finally(() => {
      ended = true;
    });
    const follower = open(download)[Symbol.asyncIterator]();
    gate.give('01234').give('5678');
    assert.equal(await part, '234');
    for (let seen = ''; seen !== '012345678'; ) seen += String((await follower.next()).value);
    assert.equal(ended, false);
    gate.give(lastByte).end();
    if (lastByte === '9') assert.equal(await rest, '456789');
    else await assert.rejects(rest, /SHA-256 is wrong/);
    await follower.return?.();
    await download.ended;
  }
});

test('of a body that comes to its end at once, no more than the last piece waits for the verdict', async (t) => {
  const body = randomBytes(6 << 20);
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  // Whoever fetches the first part is the last to be done.
  const source = fakeSource('source', body, {
    chunk: 65_536,
    before: (at) => (at === 0 ? released : undefined),
  });
  const wrong = { ...NOTHING, fileHash: hashOf('other'), fileSize: body.length };
  const bytes = Buffer.alloc(body.length);
  let judge = () => {};
  const judged = new Promise<void>((resolve) => {
    judge = resolve;
  });
  const spool: Spool = {
    ready: async () => {},
    write: async (chunk, offset) => void bytes.set(chunk, offset),
    read: async (buffer, offset) => {
      if (offset + buffer.length > 5 << 20) await judged;
      return bytes.copy(buffer, 0, offset);
    },
    close: async () => {},
  };
  const { download } = await start(t, [source], wrong, 4, spool);
  const part = buffer(open(download, 0, 5 << 20));
  const rest = buffer(open(download, 5 << 20));
  release();
  assert.ok((await part).equals(body.subarray(0, 5 << 20)));
  judge();
  await assert.rejects(rest, /SHA-256 is wrong/);
  await download.ended;
});

test('a body that ends early, runs over or breaks off fails every reader when nobody else has it', async (t) => {
  const endings: [string, (gate: Gate) => void][] = [
    ['early', (gate) => gate.give('ab').end()],
    ['broken', (gate) => gate.give('ab').fail(BREAK)],
  ];
  for (const [what, finish] of endings) {
    const { download, gate, kept } = await gated(t, 4);
    const readers = [text(open(download)), text(open(download, 1))];
    finish(gate);
    const outcomes = await Promise.allSettled(readers);
    assert.deepEqual(
      outcomes.map(({ status }) => status),
      ['rejected', 'rejected'],
      what,
    );
    await download.ended;
    assert.deepEqual(kept, [], what);
    assert.throws(() => download.hold());
  }
});

test('a reader that leaves disturbs nobody, and without any the download goes on', async (t) => {
  const { download, gate, kept } = await gated(t, 6);
  const leaver = open(download);
  const stayer = text(open(download));
  gate.give('abc');
  for await (const chunk of leaver) {
    assert.equal(String(chunk), 'abc');
    break;
  }
  gate.give('def').end();
  assert.equal(await stayer, 'abcdef');
  await download.ended;
  assert.equal(kept[0]?.size, 6);
});

test('a slow reader still gets everything after the end; a newcomer is told to look in the store', async (t) => {
  const { download, gate } = await gated(t, undefined);
  const slow = open(download);
  gate.give('abc').end();
  await download.ended;
  assert.equal(await text(open(download, 1)), 'bc');
  assert.equal(await text(slow), 'abc');
  assert.equal(download.hold(), undefined);
});

test('an empty body is a body', async (t) => {
  for (const size of [0, undefined]) {
    const { download, gate } = await gated(t, size);
    const reading = text(open(download));
    gate.end();
    assert.equal(await reading, '');
    await download.ended;
  }
});

const BODY = randomBytes(50_000);
const KNOWN: Expected = { fileHash: hashOf(BODY), fileSize: BODY.length, nar: undefined };

test('what breaks off is continued by the next source from the next byte', async (t) => {
  const breaking = fakeSource('first', BODY, {
    before: (at) => {
      if (at >= 20_000) throw BREAK;
    },
  });
  const second = fakeSource('second', BODY);
  const { download, kept } = await start(t, [breaking, second], KNOWN);
  assert.deepEqual(await buffer(open(download)), BODY);
  await download.ended;
  assert.equal(kept.length, 1);
  assert.deepEqual(second.asks, [[20_000, 50_000]]);
});

test('with one source only, that one is asked again from the next byte', async (t) => {
  const flaky = fakeSource('only', BODY, {
    before: (at, ask) => {
      if (ask < 4 && at >= ask * 10_000) throw BREAK;
    },
  });
  const { download } = await start(t, [flaky], KNOWN);
  assert.deepEqual(await buffer(open(download)), BODY);
  assert.deepEqual(
    flaky.asks.map(([from]) => from),
    [undefined, 10_000, 20_000, 30_000],
  );
});

test('a source that ignores ranges continues too: what came before is discarded', async (t) => {
  const breaking = fakeSource('first', BODY, {
    before: (at) => {
      if (at >= 20_000) throw BREAK;
    },
  });
  const whole = fakeSource('second', BODY, { ranges: false });
  const { download } = await start(t, [breaking, whole], KNOWN);
  assert.deepEqual(await buffer(open(download)), BODY);
  assert.equal(whole.asks.length, 1);
});

for (const [where, at] of [
  ['its middle', 20_000],
  ['its very end', 50_000],
] as const) {
  for (const ranges of [true, false]) {
    test(`without a length, what breaks off at ${where} is continued by a source ${ranges ? 'with' : 'without'} ranges`, async (t) => {
      const whole = fakeSource('first', BODY, { sized: false });
      const breaking: Source = {
        ...whole,
        ask: async (...part) => {
          const answer = (await whole.ask(...part)) as Answer;
          const { body } = answer;
          const chunks = () => breakOff(body, at);
          return { ...answer, body: { destroy: () => body.destroy(), [Symbol.asyncIterator]: chunks } };
        },
      };
      const second = fakeSource('second', BODY, { ranges });
      const { download, kept } = await start(t, [breaking, second], { ...KNOWN, fileSize: undefined });
      assert.deepEqual(await buffer(open(download)), BODY);
      await download.ended;
      assert.equal(kept.length, 1);
      assert.deepEqual([whole.asks.length, second.asks.length], [1, 1]);
    });
  }
}

/** All that comes, and a break once that is `at` bytes. */
async function* breakOff(chunks: AsyncIterable<Buffer>, at: number): AsyncGenerator<Buffer> {
  let left = at;
  for await (const chunk of chunks) {
    yield chunk;
    left -= chunk.length;
    if (left <= 0) throw BREAK;
  }
}

test('how fast a body came in parts is noted of the upstream that gave all of them, and of no other', async (t) => {
  const body = randomBytes(6 << 20);
  const expected = { ...NOTHING, fileHash: hashOf(body), fileSize: body.length };
  for (const [what, connections, ranges, breaks, told] of [
    ['in parts', 4, true, false, true],
    ['over one connection', 1, true, false, false],
    ['as a whole', 4, false, false, false],
    ['by two', 4, true, true, false],
  ] as const) {
    const before = (at: number) => {
      if (breaks && at >= 1 << 20) throw BREAK;
    };
    const first = fakeSource('first', body, { ranges, chunk: 64 << 10, before });
    const second = fakeSource('second', body, { chunk: 64 << 10 });
    const noted: [bytes: number, ms: number][] = [];
    for (const { upstream } of [first, second]) upstream.coding.noteParts = (...one) => noted.push(one);
    const { download, kept } = await start(t, [first, second], expected, connections);
    await download.ended;
    assert.equal(kept.length, 1, what);
    assert.deepEqual(
      noted.map(([bytes]) => bytes),
      told ? [body.length] : [],
      what,
    );
    assert.ok(noted.every(([, ms]) => ms > 0));
  }
});

test('several connections share one body, and every byte is fetched once', async (t) => {
  const body = randomBytes(6 << 20);
  const source = fakeSource('source', body, { chunk: 65_536, before: () => new Promise(setImmediate) });
  const expected = { ...NOTHING, fileHash: hashOf(body), fileSize: body.length };
  const { download, kept } = await start(t, [source], expected, 4);
  assert.ok((await buffer(open(download))).equals(body));
  await download.ended;
  assert.equal(kept.length, 1);
  assert.ok(source.asks.length >= 4, `${source.asks.length} requests`);
  assert.equal(source.bytes, body.length);
});

test('a source that promises a part and sends nothing of it is not asked for ever', async (t) => {
  const breaking = fakeSource('first', BODY, {
    before: (at) => {
      if (at >= 20_000) throw BREAK;
    },
  });
  const second = fakeSource('second', BODY);
  const empty: Source = {
    ...second,
    ask: async (...args) => {
      const answer = await second.ask(...args);
      return answer && { ...answer, body: new Gate().end() };
    },
  };
  const { download } = await start(t, [breaking, empty], KNOWN);
  await assert.rejects(buffer(open(download)));
  assert.ok(second.asks.length <= 10, `${second.asks.length} requests`);
});

test('without a hash, bytes of two sources or of a changed file are never joined', async (t) => {
  const breaking = (validator: string | undefined) =>
    fakeSource('first', BODY, {
      validator,
      before: (at, ask) => {
        if (ask === 1 && at >= 20_000) throw BREAK;
      },
    });
  const unknown = { ...NOTHING, fileSize: BODY.length };
  const other = fakeSource('second', Buffer.from(BODY).fill(7, 10));
  const unsure = await start(t, [breaking(undefined), other], unknown);
  await assert.rejects(buffer(open(unsure.download)));
  const same = await start(t, [breaking('"v1"'), other], unknown);
  assert.deepEqual(await buffer(open(same.download)), BODY);
  const changing = breaking('"v1"');
  const changed: Source = {
    ...changing,
    ask: async (...args) => {
      const answer = await changing.ask(...args);
      return answer && { ...answer, validator: `"v${changing.asks.length}"` };
    },
  };
  const third = await start(t, [changed], unknown);
  assert.deepEqual(await buffer(open(third.download)), BODY);
  assert.deepEqual(
    changing.asks.map(([from]) => from),
    [undefined, 20_000, 0],
    'all of it, once more',
  );
});

test('without a hash, what breaks off is had elsewhere from its start; readers do not notice', async (t) => {
  const breaking = fakeSource('first', BODY, {
    before: (at) => {
      if (at >= 20_000) throw BREAK;
    },
  });
  const other = fakeSource('second', BODY);
  const { download, blamed, kept } = await start(t, [breaking, other]);
  assert.deepEqual(await buffer(open(download)), BODY);
  await download.ended;
  assert.deepEqual(other.asks, [[0, BODY.length]]);
  assert.deepEqual(blamed, []);
  assert.equal(kept.length, 1);
});

test('without a hash, a source that stays away is not waited for as long as when nobody else had it', async (t) => {
  const away = fakeSource('first', BODY, {
    asked: (ask) => {
      if (ask > 1) throw new CacheError('upstream', 'connection refused');
      return true;
    },
    before: (at) => {
      if (at >= 20_000) throw BREAK;
    },
  });
  const began = performance.now();
  const { download } = await start(t, [away, fakeSource('second', BODY)]);
  assert.deepEqual(await buffer(open(download)), BODY);
  const ms = performance.now() - began;
  assert.ok(ms < 12_000, `${ms} ms`);
});

test('without a hash, the only source that breaks off is asked for all of it again; readers do not notice', async (t) => {
  let asks = 0;
  const breaking = fakeSource('only', BODY, {
    before: (at, ask) => {
      if (ask === 1 && at >= 20_000) throw BREAK;
    },
    // It is away for a moment.
    asked: () => {
      asks++;
      if (asks === 2 || asks === 3) throw BREAK;
      return true;
    },
  });
  const { download, kept } = await start(t, [breaking]);
  assert.deepEqual(await buffer(open(download)), BODY);
  await download.ended;
  assert.equal(breaking.asks.length, 4);
  assert.equal(kept.length, 1);
  // A file that is another one by now is not joined to what readers have seen.
  const other = Buffer.from(BODY).fill(7, 10, 20);
  const first = fakeSource('first', BODY, {
    before: (at) => {
      if (at >= 20_000) throw BREAK;
    },
  });
  const second = fakeSource('first', other);
  const changing: Source = {
    ...first,
    ask: (...args) => (first.asks.length === 0 ? first : second).ask(...args),
  };
  const changed = await start(t, [changing]);
  const reader = open(changed.download);
  await assert.rejects(buffer(reader), /wrong bytes/);
});

test('wrong bytes are had elsewhere; readers who saw none of them do not notice', async (t) => {
  const wrong = Buffer.from(BODY);
  wrong[49_999] = (wrong[49_999] as number) ^ 1;
  const bad = fakeSource('bad', wrong);
  const good = fakeSource('good', BODY);
  const { download, blamed, kept } = await start(t, [bad, good], KNOWN);
  assert.deepEqual(await buffer(open(download)), BODY);
  await download.ended;
  assert.deepEqual(blamed, ['bad']);
  assert.equal(kept.length, 1);
});

test('events tell from whom a download began, who was wrong, who had it in the end, and how much', async (t) => {
  const wrong = Buffer.from(BODY);
  wrong[49_999] = (wrong[49_999] as number) ^ 1;
  const expected = { ...NOTHING, fileHash: hashOf(BODY), fileSize: BODY.length };
  const { download, events } = await start(t, [fakeSource('bad', wrong), fakeSource('good', BODY)], expected);
  await download.ended;
  const path = '/nar/x.nar';
  const told = events.map((event) => ('ms' in event ? { ...event, ms: 0 } : event));
  assert.deepEqual(
    told.map(({ kind }) => kind),
    ['download-begun', 'download-rejected', 'failover', 'download-ended'],
  );
  assert.deepEqual(told[0], { kind: 'download-begun', path, from: 'http://bad', bytes: BODY.length });
  assert.deepEqual(told[3], { kind: 'download-ended', path, from: 'http://good', bytes: BODY.length, ms: 0 });
  const [, rejected, failover] = events;
  assert.ok(rejected?.kind === 'download-rejected' && failover?.kind === 'failover');
  assert.deepEqual(rejected.from, ['bad']);
  assert.equal(failover.to, 'good');
});

test('how a download that fails ended is told with its cause', async (t) => {
  const broken = new CacheError('refused', 'answered 403');
  const asked = (ask: number) => {
    if (ask > 1) throw broken;
    return true;
  };
  const before = (at: number) => {
    if (at > 0) throw broken;
  };
  const { download, events } = await start(t, [fakeSource('one', BODY, { asked, before })]);
  await download.ended;
  const last = events.at(-1);
  assert.ok(last?.kind === 'download-failed');
  assert.equal(last.stopped, false);
  assert.match(String(last.error), /answered 403/);
});

test('nor does anybody notice that the temporary file of the wrong ones does not go', async (t) => {
  const wrong = Buffer.from(BODY);
  wrong[49_999] = (wrong[49_999] as number) ^ 1;
  const bytes = Buffer.alloc(BODY.length);
  const spool: Spool = {
    ready: async () => {},
    write: async (chunk, offset) => void bytes.set(chunk, offset),
    read: async (buffer, offset) => bytes.copy(buffer, 0, offset),
    close: () => Promise.reject(new Error('EROFS: read-only file system')),
  };
  const sources = [fakeSource('bad', wrong), fakeSource('good', BODY)];
  const { download, kept } = await start(t, sources, KNOWN, 1, spool);
  assert.deepEqual(await buffer(open(download)), BODY);
  await download.ended;
  assert.equal(kept.length, 1);
});

test('readers who saw wrong bytes are cut off, and the right body is kept for the next', async (t) => {
  const wrong = Buffer.from(BODY);
  wrong[10] = (wrong[10] as number) ^ 1;
  let shown = () => {};
  const seen = new Promise<void>((resolve) => {
    shown = resolve;
  });
  const bad = fakeSource('bad', wrong, { before: (at) => (at >= 30_000 ? seen : undefined) });
  const { download, kept } = await start(t, [bad, fakeSource('good', BODY)], KNOWN);
  const reader = open(download);
  reader.once('data', shown);
  await assert.rejects(buffer(reader), /wrong bytes/);
  await download.ended;
  assert.equal(kept.length, 1);
});

test('of a plain NAR the NarHash is compared, also where a FileHash says otherwise', async (t) => {
  for (const [nar, wrong] of [
    [{ narHash: hashOf('other'), narSize: BODY.length }, /NarHash is wrong/],
    [{ narHash: hashOf(BODY), narSize: 7 }, /NarSize is wrong/],
  ] as const) {
    const expected = { ...KNOWN, nar: { compression: 'none', ...nar } } as const;
    const { download, kept } = await start(t, [fakeSource('source', BODY)], expected);
    await assert.rejects(buffer(open(download)), wrong);
    await download.ended;
    assert.deepEqual(kept, []);
  }
});

test('two sources that are both wrong leave nothing', async (t) => {
  const wrong = Buffer.from(BODY).reverse();
  const { download, blamed, kept } = await start(t, [fakeSource('a', wrong), fakeSource('b', wrong)], KNOWN);
  await assert.rejects(buffer(open(download)), /SHA-256 is wrong/);
  await download.ended;
  assert.deepEqual(blamed, ['a', 'b']);
  assert.deepEqual(kept, []);
});
