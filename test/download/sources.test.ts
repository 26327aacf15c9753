// What a source that fails, changes or crawls comes to, without anybody who works for it: when it is asked next, and for what.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { PROGRESS_BYTES, SourceState, Sources } from '../../lib/download/sources.ts';
import { CacheError } from '../../lib/errors.ts';
import type { Answer } from '../../lib/upstream/answer.ts';
import { stopClock } from '../fixtures/clock.ts';
import { fakeSource } from '../fixtures/fake-source.ts';
import { Gate } from '../fixtures/gate.ts';

const reset = new CacheError('upstream', 'connection reset');
const silence = new CacheError('timeout', 'no answer');
const absent = new CacheError('not-found', 'has no such thing');

const answer = (size: number | undefined, validator?: string): Answer => ({
  ...{ body: new Gate(), size, start: 0, end: size, partial: false, delimited: true, validator },
});

const named = (label: string) => fakeSource(label, Buffer.alloc(0));

function state(t: TestContext, returnMs?: number) {
  const clock = stopClock(t);
  const subject = new SourceState(named('source'), returnMs);
  /** One request that fails after that many bytes; before any answer if undefined. */
  const fail = (error: CacheError, bytes?: number) => {
    const request = subject.begin();
    request.answered = bytes !== undefined;
    return subject.failed(error, bytes ?? 0, request);
  };
  /** How long it is left alone now. */
  const rest = () => Math.max(subject.notBefore - performance.now(), 0);
  return { clock, subject, fail, rest };
}

/** One that has given something of the file. */
function seen(t: TestContext, returnMs?: number) {
  const one = state(t, returnMs);
  one.subject.accept(answer(10), 10, true);
  one.subject.given = 10;
  return one;
}

test('one that fails is asked again at once, then after pauses that double up to two seconds, six times in all', (t) => {
  const { clock, fail, rest, subject } = state(t);
  const pauses: number[] = [];
  while (subject.out === undefined) {
    fail(reset, 0);
    pauses.push(rest());
    clock.move(rest());
  }
  assert.deepEqual(pauses, [0, 250, 500, 1000, 2000, 2000]);
  assert.equal(subject.out, reset);
});

test('a silence that has had all its time counts twice', (t) => {
  const { fail, subject } = state(t);
  for (let i = 0; i < 3; i++) {
    assert.equal(subject.out, undefined);
    fail(silence);
  }
  assert.equal(subject.out, silence);
});

test('what brought enough to count as progress begins the counting anew, and what brought less does not', (t) => {
  const { fail, rest, subject } = state(t);
  for (let i = 0; i < 20; i++) fail(reset, PROGRESS_BYTES);
  assert.deepEqual([subject.out, subject.failures, rest()], [undefined, 1, 0]);
  for (let i = 0; i < 5; i++) fail(reset, PROGRESS_BYTES - 1);
  assert.equal(subject.out, reset);
});

test('requests that were under way together fail as one', (t) => {
  stopClock(t);
  const subject = new SourceState(named('source'));
  const requests = [1, 2, 3].map(() => subject.begin());
  assert.deepEqual(
    requests.map((request) => subject.failed(reset, 0, request)),
    [true, false, false],
  );
  assert.equal(subject.failures, 1);
  assert.equal(subject.failed(reset, 0, subject.begin()), true, 'one that began after that is news');
});

test('one that gets on ends its pauses, unless it began before it failed for others', (t) => {
  const { fail, rest, subject } = state(t);
  const before = subject.begin();
  for (let i = 0; i < 3; i++) fail(reset, 0);
  subject.succeeded(before);
  assert.deepEqual([subject.failures, rest()], [0, 500]);
  subject.succeeded(subject.begin());
  assert.equal(rest(), 0);
});

test('one that says it has no such thing is not asked again; if it has given bytes, for as long as it may be away', (t) => {
  const never = state(t);
  never.fail(absent);
  assert.equal(never.subject.out, absent);
  t.mock.reset();
  const { clock, fail, rest, subject } = seen(t, 5000);
  const at: number[] = [];
  const since = clock.now;
  while (subject.out === undefined) {
    fail(absent);
    at.push(clock.now - since);
    clock.move(rest());
  }
  assert.deepEqual(at, [0, 250, 500, 1000, 2000, 4000, 6000]);
});

test('one that has given bytes and can not be reached is waited for, up to its time; one that answers is not away', (t) => {
  const { clock, fail, rest, subject } = seen(t, 5000);
  const since = clock.now;
  while (subject.out === undefined) {
    fail(reset);
    clock.move(rest());
  }
  assert.ok(clock.now - since >= 5000);
  t.mock.reset();
  const back = seen(t, 5000);
  back.fail(absent);
  back.clock.move(4000);
  back.subject.accept(answer(10), 10, true);
  back.clock.move(4000);
  back.fail(absent);
  assert.equal(back.subject.out, undefined, 'it was away twice, and not for long');
});

test('while it delivers to others it is not given up for refusing more', (t) => {
  const { fail, subject } = state(t);
  const claim = { at: 0, end: 10 };
  subject.delivered.set(claim, performance.now());
  for (let i = 0; i < 49; i++) fail(reset, 0);
  assert.equal(subject.out, undefined);
  subject.delivered.delete(claim);
  fail(reset, 0);
  assert.equal(subject.out, reset);
});

test('the whole is asked for when nothing comes of two parts in a row, or after five failures; once, if that breaks off', (t) => {
  const barren = state(t);
  for (const [bytes, whole] of [
    [0, false],
    [1, false],
    [0, false],
    [0, true],
  ] as const) {
    barren.fail(reset, bytes);
    assert.equal(barren.subject.asksWhole, whole);
  }
  barren.fail(reset, 0);
  assert.equal(barren.subject.asksWhole, false);
  t.mock.reset();
  const refusing = state(t);
  for (let i = 0; i < 5; i++) {
    assert.equal(refusing.subject.asksWhole, false);
    refusing.fail(reset);
  }
  assert.equal(refusing.subject.asksWhole, true);
  refusing.subject.succeeded(refusing.subject.begin());
  assert.equal(refusing.subject.asksWhole, true, 'what has worked is asked for from then on');
});

test('one that gives parts and is only away is asked for parts again; one that never did, for the whole in the end', (t) => {
  const { fail, subject } = seen(t);
  subject.answersRanges = true;
  for (let i = 0; i < 20; i++) fail(reset);
  assert.equal(subject.asksWhole, false);
  t.mock.reset();
  const unknown = seen(t, 1000);
  for (let i = 0; i < 10; i++) {
    unknown.clock.move(79);
    unknown.fail(reset);
  }
  assert.equal(unknown.subject.asksWhole, false);
  unknown.clock.move(100);
  unknown.fail(reset);
  assert.equal(unknown.subject.asksWhole, true);
});

test('one worker is enough for who gives no parts, or was not asked for one yet; a whole that is asked for needs no other', (t) => {
  const { clock, fail, subject } = state(t);
  const freeTo = (workers: number) => {
    subject.workers = workers;
    return subject.free;
  };
  assert.deepEqual([freeTo(0), freeTo(1)], [true, false]);
  subject.answersRanges = true;
  assert.equal(freeTo(7), true);
  for (let i = 0; i < 2; i++) fail(reset, 0);
  assert.ok(subject.asksWhole);
  assert.equal(freeTo(1), false, 'those at work may still get on');
  clock.move(5001);
  assert.equal(freeTo(1), true);
  subject.begin();
  assert.deepEqual([freeTo(1), freeTo(0)], [false, true]);
});

test('another size ends it; another ETag or date ends it where no hash will tell, and else only once', () => {
  for (const [first, second, hashKnown, complaint, isOut] of [
    [answer(10), answer(11), true, /has 11 bytes, expected 10/, true],
    [answer(10, 'a'), answer(10, 'b'), false, /another ETag or date/, true],
    [answer(10, 'a'), answer(10, 'b'), true, /another ETag or date/, false],
    [answer(10), answer(10), false, /can not be told from another file/, true],
    [answer(10, 'a'), answer(10, 'a'), false, undefined, false],
    [answer(10), answer(10), true, undefined, false],
  ] as const) {
    const subject = new SourceState(named('source'));
    subject.accept(first, 10, hashKnown);
    assert.equal(subject.identity.isSteady, true);
    if (complaint === undefined) subject.accept(second, 10, hashKnown);
    else assert.throws(() => subject.accept(second, 10, hashKnown), complaint);
    assert.equal(subject.out !== undefined, isOut);
    assert.equal(subject.identity.isOther, second.size === 11);
    if (complaint === undefined || isOut) continue;
    subject.accept(answer(10, 'c'), 10, hashKnown);
    assert.equal(subject.identity.isSteady, false, 'several machines of which each has its own');
  }
});

test('the first is asked that does not fail, crawl or want nobody more; who is out never, though nobody is left', () => {
  const sources = new Sources(['a', 'b', 'c'].map(named));
  const [a, b, c] = sources.all;
  assert.ok(a && b && c);
  const picked = () => sources.pick()?.source.label;
  assert.equal(picked(), 'a');
  a.failures = 1;
  assert.equal(picked(), 'b');
  b.slow = true;
  assert.equal(picked(), 'c');
  c.failures = 5;
  assert.equal(picked(), 'a');
  a.workers = 1;
  assert.equal(picked(), undefined, 'no other is asked while the best is at work');
  a.out = reset;
  assert.equal(picked(), 'c', 'five failures are better than a crawl');
  c.out = reset;
  assert.equal(picked(), 'b');
  assert.equal(sources.allOut, false);
  b.out = reset;
  assert.deepEqual([picked(), sources.allOut], [undefined, true]);
});

test('the best pace of the others is that of those which could take over; who was never measured may have some', () => {
  const sources = new Sources(['a', 'b', 'c'].map(named));
  const [a, b, c] = sources.all;
  assert.ok(a && b && c);
  assert.equal(sources.paceBeside(a), 10);
  b.source.upstream.pace.note(3000, 1);
  c.source.upstream.pace.note(2000, 1);
  assert.equal(sources.paceBeside(a), 3000);
  b.failures = 1;
  assert.equal(sources.paceBeside(a), 2000);
  c.slow = true;
  assert.equal(sources.paceBeside(a), undefined);
});

test('all is of one file if one source gave all of it, and has not changed meanwhile', () => {
  const sources = new Sources(['a', 'b'].map(named));
  const [a, b] = sources.all;
  assert.ok(a && b);
  a.accept(answer(10, 'x'), 10, true);
  a.given = 5;
  assert.equal(sources.isOfOneFile, true);
  assert.throws(() => a.accept(answer(10, 'y'), 10, true));
  a.accept(answer(10, 'y'), 10, true);
  assert.equal(sources.isOfOneFile, false);
  const two = new Sources(['a', 'b'].map(named));
  for (const one of two.all) {
    one.accept(answer(10), 10, true);
    one.given = 5;
  }
  assert.equal(two.isOfOneFile, false);
});
