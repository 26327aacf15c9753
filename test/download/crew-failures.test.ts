// What the workers of a download do about sources that fail, change, refuse or vanish, and how they end.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CacheError, isCacheError } from '../../lib/errors.ts';
import { sleep, stopClock } from '../fixtures/clock.ts';
import { soon, startCrew } from '../fixtures/crew.ts';
import { type FakeOptions, fakeSource } from '../fixtures/fake-source.ts';
import { noise } from '../fixtures/nar.ts';

const MIB = 2 ** 20;
const LARGE = noise(8 * MIB, 'failures');
const BODY = LARGE.subarray(0, 50_000);
const NEVER = new Promise<void>(() => {});

function failure(what: string): CacheError {
  return new CacheError('upstream', what);
}

/** Breaks off at byte 20000 of the first answer. */
function breaksOnce(options: FakeOptions = {}) {
  return fakeSource('breaking', BODY, {
    ...options,
    before: (at, ask) => {
      if (ask === 1 && at >= 20_000) throw failure('reset');
    },
  });
}

for (const [what, options] of [
  ['ETag', { validator: (ask: number) => `"v${ask}"` }],
  ['size', { sized: (ask: number) => BODY.length + ask - 1 }],
] as const) {
  test(`a source whose ${what} changes is left, and none of the new file is used`, async () => {
    const changing = breaksOnce(options);
    // Fails once, so that the other one is tried again.
    const other = fakeSource('other', BODY, {
      asked: (ask) => {
        if (ask === 1) throw failure('busy');
        return true;
      },
    });
    const crew = await startCrew(BODY, [changing, other]);
    await crew.ended;
    crew.assertWhole();
    assert.deepEqual([changing.asks.length, changing.bytes], [2, 20_000]);
    assert.deepEqual(other.asks.at(-1), [20_000, 50_000]);
  });
}

test('with a hash, the only source is used though its machines have each their own ETag', async () => {
  const several = fakeSource('several', LARGE, { validator: (ask) => `"v${ask}"` });
  const crew = await startCrew(LARGE, [several], { connections: 4, firstLength: MIB });
  await crew.ended;
  crew.assertWhole();
  assert.ok(several.asks.length < 20, `${several.asks.length} requests`);
});

test('a source that has another size from the start gives nothing', async () => {
  const other = fakeSource('other', LARGE.subarray(0, 60_000));
  const crew = await startCrew(BODY, [other]);
  await assert.rejects(crew.ended, /other: has 60000 bytes, expected 50000/);
  assert.deepEqual([other.asks.length, other.bytes, other.open], [1, 0, 0]);
});

for (const [what, hashKnown, validator] of [
  ['a hash', true, undefined],
  ['an ETag', false, '"v1"'],
  ['neither', false, undefined],
] as const) {
  const joined = hashKnown || validator !== undefined;
  test(`with ${what}, bytes of two answers of a source are ${joined ? '' : 'never '}joined`, async () => {
    const breaking = breaksOnce({ validator });
    const broken = await startCrew(BODY, [breaking], { hashKnown });
    const short = fakeSource('short', BODY, { validator });
    const begun = await startCrew(BODY, [short], { hashKnown, firstLength: 20_000 });
    if (joined) {
      for (const crew of [broken, begun]) {
        await crew.ended;
        crew.assertWhole();
      }
      return;
    }
    await assert.rejects(broken.ended, /reset/);
    assert.equal(breaking.asks.length, 1);
    await assert.rejects(begun.ended, /short: can not be told from another file/);
    assert.equal(Math.max(...begun.writes), 19_000);
  });
}

test('a source that fails is asked again at once, then after longer and longer, then not any more', async (t) => {
  const clock = stopClock(t);
  const times: number[] = [];
  const failing = fakeSource('failing', BODY, {
    asked: (ask) => {
      times.push(clock.now);
      throw failure(`attempt ${ask}`);
    },
  });
  const crew = await startCrew(BODY, [failing], { connections: 4 });
  await assert.rejects(clock.until(crew.ended), /attempt 6/);
  assert.deepEqual(times, [0, 0, 250, 750, 1750, 3750]);
});

for (const connections of [1, 4]) {
  for (const [what, hashKnown, validator] of [
    ['a hash', true, undefined],
    ['an ETag', false, '"v1"'],
  ] as const) {
    for (const awayMs of [1000, 5000, 13_000]) {
      test(`a restart of the only source of ${awayMs} ms costs nothing over ${connections} connections, with ${what}`, async (t) => {
        const clock = stopClock(t);
        let away = Number.POSITIVE_INFINITY;
        const isAway = () => clock.now >= away && clock.now < away + awayMs;
        const refusals: number[] = [];
        const source = fakeSource('source', LARGE, {
          chunk: 65_536,
          validator,
          asked: () => {
            if (isAway()) refusals.push(clock.now - away);
            if (isAway()) throw failure('connection refused');
            return true;
          },
          before: async (at) => {
            await sleep(100);
            // When everybody is at work; each of them notices at a moment of its own.
            if (at >= MIB / 2) away = Math.min(away, clock.now);
            if (isAway()) throw failure('reset');
          },
        });
        const crew = await startCrew(LARGE, [source], { connections, hashKnown });
        await clock.until(crew.ended);
        crew.assertWhole();
        const last = refusals.at(-1) ?? 0;
        assert.ok(refusals.length <= 10 * connections, `${refusals.length} requests in ${last} ms`);
        // What fails for all of them is said once.
        assert.ok(crew.log.length <= 11 + 2 * connections, crew.log.join('\n'));
        assert.ok(source.bytes <= LARGE.length + connections * 65_536, `${source.bytes} bytes over the link`);
      });
    }
  }
}

test('a source that is away for good is given up after 15 s if it gave bytes, and sooner if others have them', async (t) => {
  const clock = stopClock(t);
  for (const others of [[], [fakeSource('other', BODY)]]) {
    const down = breaksOnce({
      asked: (ask) => {
        if (ask > 1) throw failure('connection refused');
        return true;
      },
    });
    const began = clock.now;
    const crew = await startCrew(BODY, [down, ...others], { connections: 4 });
    if (others.length === 0) {
      await assert.rejects(clock.until(crew.ended), /connection refused/);
      assert.ok(clock.now - began >= 15_000 && clock.now - began < 20_000, `${clock.now - began} ms`);
    } else {
      await clock.until(crew.ended);
      crew.assertWhole();
      assert.ok(clock.now - began < 1000, `${clock.now - began} ms`);
    }
  }
});

test('what fails together is one failure, however many it fails for, and who gets on makes no others hurry', async (t) => {
  const clock = stopClock(t);
  const times: number[] = [];
  // One connection goes on throughout.
  const source = fakeSource('source', LARGE, {
    chunk: 65_536,
    asked: (_, start) => {
      if (start !== 0 && clock.now < 10_000) {
        times.push(clock.now);
        throw failure('503');
      }
      return true;
    },
    before: () => sleep(200),
  });
  const crew = await startCrew(LARGE, [source], { connections: 3, firstLength: MIB });
  await clock.until(crew.ended);
  crew.assertWhole();
  const moments = [...new Set(times)];
  assert.ok(moments.length >= 6, String(moments));
  assert.ok(moments.length <= 12, String(moments));
});

for (const [bytes, attempts] of [
  [64 * 1024, LARGE.length / (64 * 1024)],
  [64 * 1024 - 1, 6],
] as const) {
  test(`a source that breaks off after every ${bytes} bytes is asked ${attempts} times`, async (t) => {
    const clock = stopClock(t);
    let from = 0;
    const breaking = fakeSource('breaking', LARGE, {
      chunk: bytes,
      asked: (_, start = 0) => {
        from = start;
        return true;
      },
      before: (at) => {
        if (at > from) throw failure('reset');
      },
    });
    const crew = await startCrew(LARGE, [breaking]);
    await clock.until(crew.ended).catch(() => {});
    assert.equal(crew.ranges.complete, attempts > 6);
    assert.equal(breaking.asks.length, attempts);
  });
}

test('shorter parts than were asked for will do; if they are so short that there is no end of them, the whole is asked for', async (t) => {
  const clock = stopClock(t);
  const short = fakeSource('short', LARGE, { most: 64 * 1024 });
  const crew = await startCrew(LARGE, [short], { connections: 2 });
  await crew.ended;
  crew.assertWhole();
  const crumbs = fakeSource('crumbs', LARGE, { most: 64 * 1024 - 1 });
  const other = await startCrew(LARGE, [crumbs]);
  await clock.until(other.ended);
  other.assertWhole();
  assert.deepEqual([crumbs.asks.length, crumbs.asks.at(-1)], [6, [undefined, undefined]]);
});

test('a source that gives its parts in order, slowly, is not asked for the whole because those ahead wait', async (t) => {
  const clock = stopClock(t);
  let front = () => 0;
  const behind = fakeSource('behind', LARGE, {
    chunk: 65_536,
    before: async (at) => {
      for (let waitedMs = 0; at > front(); waitedMs += 500) {
        if (waitedMs >= 20_000) throw new CacheError('timeout', 'no byte for 20 s');
        await sleep(500);
      }
      await sleep(1000);
    },
  });
  const crew = await startCrew(LARGE, [behind], { connections: 4, firstLength: MIB });
  front = () => crew.ranges.front;
  await clock.until(crew.ended);
  crew.assertWhole();
  assert.equal(crew.log.length, 1, crew.log.join('\n'));
  assert.match(crew.log[0] ?? '', /behind: gives its parts one after the other/);
  assert.ok(behind.asks.every(([start]) => start !== undefined));
  assert.equal(behind.upstream.parts.given, true);
});

test('a source of whose parts nothing comes is asked for the whole, once, and then remembered', async (t) => {
  const clock = stopClock(t);
  for (const [what, ends] of [
    ['a source that gives no parts', LARGE.length],
    ['a source that has not got the middle', 3 * MIB],
  ] as const) {
    const source = fakeSource('source', LARGE, {
      chunk: 65_536,
      before: (at, ask) => {
        const [start] = source.asks[ask - 1] ?? [];
        if (at >= ends || (start !== undefined && start > 0)) throw failure('reset');
      },
    });
    const crew = await startCrew(LARGE, [source], { firstLength: MIB });
    await clock.until(crew.ended).catch(() => {});
    assert.equal(crew.ranges.complete, ends === LARGE.length, what);
    const starts = source.asks.map(([start]) => start);
    assert.equal(starts.filter((start) => start === undefined).length, 1, `${what}: ${starts}`);
    assert.ok(starts.length <= 10, `${what}: ${starts}`);
  }
});

test('when all sources are out, the last error is told', async (t) => {
  const clock = stopClock(t);
  const errors: CacheError[] = [];
  const asked = () => {
    errors.push(failure(`failure ${errors.length}`));
    throw errors.at(-1);
  };
  const gone = fakeSource('gone', BODY, { asked: () => false });
  const sources = [gone, fakeSource('a', BODY, { asked }), fakeSource('b', BODY, { asked })];
  const crew = await startCrew(BODY, sources, { connections: 2 });
  await assert.rejects(clock.until(crew.ended), (error) => error === errors.at(-1));
  assert.deepEqual(
    sources.map(({ asks }) => asks.length),
    [1, 6, 6],
  );
});

test('a source that refuses for good is asked once, and the next one continues', async () => {
  const refusing = fakeSource('refusing', BODY, {
    asked: (ask) => {
      if (ask > 1) throw new CacheError('refused', 'answered 401');
      return true;
    },
    before: (at) => {
      if (at >= 20_000) throw failure('reset');
    },
  });
  const other = fakeSource('other', BODY, {
    asked: (ask) => {
      if (ask < 3) throw failure('busy');
      return true;
    },
  });
  const crew = await startCrew(BODY, [refusing, other]);
  await crew.ended;
  crew.assertWhole();
  assert.deepEqual([refusing.asks.length, other.asks.length], [2, 3]);
});

test('a source without the file is not asked again', async () => {
  const gone = fakeSource('gone', BODY, { asked: () => false });
  const crew = await startCrew(BODY, [gone]);
  await assert.rejects(crew.ended, /gone: says that it has no such thing/);
  assert.equal(gone.asks.length, 1);
});

for (const connections of [1, 4]) {
  test(`a source that gave bytes and then says it has none is asked again for seconds: ${connections} at once`, async (t) => {
    const clock = stopClock(t);
    let awayFrom = 0;
    const router = fakeSource('router', LARGE, {
      chunk: 65_536,
      asked: () => awayFrom === 0 || clock.now - awayFrom > 12_000,
      before: (at) => {
        if (at < MIB || awayFrom !== 0) return;
        awayFrom = clock.now;
        throw failure('reset');
      },
    });
    const crew = await startCrew(LARGE, [router], { connections });
    await clock.until(crew.ended);
    crew.assertWhole();
    assert.ok(router.asks.length < 60, `${router.asks.length} requests`);
  });
}

test('a source that goes on saying so is given up, and meanwhile another has long taken over', async (t) => {
  const clock = stopClock(t);
  for (const others of [[], [fakeSource('other', BODY)]]) {
    const deleted = breaksOnce({ asked: (ask) => ask === 1 });
    const began = clock.now;
    const crew = await startCrew(BODY, [deleted, ...others]);
    if (others.length === 0) {
      await assert.rejects(clock.until(crew.ended), /no such thing/);
      assert.ok(clock.now - began >= 15_000 && clock.now - began < 20_000, `${clock.now - began} ms`);
      assert.ok(deleted.asks.length < 20, `${deleted.asks.length} requests`);
    } else {
      await clock.until(crew.ended);
      crew.assertWhole();
      assert.ok(clock.now - began < 1000, `${clock.now - began} ms`);
    }
  }
});

test('a source that takes fewer connections than there are workers is not given up, nor asked all the time', async (t) => {
  const clock = stopClock(t);
  const source = fakeSource('limited', LARGE, {
    chunk: 65_536,
    asked: () => {
      if (source.open >= 2) throw failure('503');
      return true;
    },
    before: () => sleep(1000),
  });
  const crew = await startCrew(LARGE, [source], { connections: 4 });
  await clock.until(crew.ended);
  crew.assertWhole();
  assert.ok(source.asks.length < 80, `${source.asks.length} requests in ${clock.now} ms`);
});

test('a worker whose source must rest goes on after that, however long others are busy', async (t) => {
  const clock = stopClock(t);
  let tries = 0;
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const source = fakeSource('source', LARGE, {
    chunk: 65_536,
    asked: (_, start) => {
      if (start === 0 && ++tries === 2) throw failure('busy');
      return true;
    },
    before: (at) => {
      // Whoever is ahead waits for the front, as it does when the body passes through memory.
      if (at >= 2 * MIB) return released;
      if (tries < 3) throw failure('reset');
      return release();
    },
  });
  const crew = await startCrew(LARGE, [source], { connections: 2 });
  await clock.until(crew.ended);
  crew.assertWhole();
  assert.equal(tries, 3);
});

const reason = new Error('the service stops');
for (const [where, options] of [
  ['before an answer', { asked: () => NEVER.then(() => true) }],
  ['in the middle of answers', { before: () => NEVER }],
] as const) {
  test(`an abort ${where} ends all workers and destroys all answers`, async () => {
    const source = fakeSource('source', LARGE, options);
    const crew = await startCrew(LARGE, [source], { connections: 4 });
    await soon(() => source.asks.length === ('before' in options ? 4 : 1), 'all asked');
    crew.abort(reason);
    await assert.rejects(crew.ended, reason);
    assert.equal(source.open, 0);
  });
}

test('an abort while the only source rests does not wait for it', async (t) => {
  const clock = stopClock(t);
  const source = fakeSource('source', BODY, {
    asked: () => {
      throw failure('busy');
    },
  });
  const crew = await startCrew(BODY, [source], { connections: 4 });
  await soon(() => source.asks.length === 2, 'resting');
  crew.abort(reason);
  await assert.rejects(crew.ended, reason);
  assert.equal(clock.now, 0);
});

for (const firstLength of [undefined, 1000]) {
  test(`an abort that came before ${firstLength === undefined ? 'anything' : 'the first answer was used'} leaves nothing open`, async () => {
    const source = fakeSource('source', BODY);
    const crew = await startCrew(BODY, [source], { firstLength, aborted: reason, connections: 4 });
    await assert.rejects(crew.ended, reason);
    const asked = firstLength === undefined ? 0 : 1;
    assert.deepEqual([source.asks.length, source.open, source.bytes], [asked, 0, 0]);
  });
}

test('a disk that fails ends all workers and destroys all answers', async () => {
  const source = fakeSource('source', LARGE, { chunk: 65_536 });
  const write = (at: number) => {
    if (at >= MIB) throw new CacheError('storage', 'the disk is gone');
  };
  const crew = await startCrew(LARGE, [source], { connections: 4, write });
  await assert.rejects(crew.ended, (error) => isCacheError(error, 'storage'));
  assert.equal(source.open, 0);
});

test('a source that lets all its time pass is asked three times, one that fails at once six times', async () => {
  for (const [code, times] of [
    ['timeout', 3],
    ['upstream', 6],
  ] as const) {
    const silent = fakeSource('silent', BODY, {
      asked: () => {
        throw new CacheError(code, 'nothing');
      },
    });
    const crew = await startCrew(BODY, [silent]);
    await assert.rejects(crew.ended, (error) => isCacheError(error));
    assert.equal(silent.asks.length, times, code);
  }
});
