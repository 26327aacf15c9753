import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CacheError } from '../../lib/errors.ts';
import { logSink } from '../../lib/event-log.ts';
import { createLog } from '../../lib/log.ts';
import { Breakers } from '../../lib/upstream/breaker.ts';
import { handClock } from '../fixtures/hand-clock.ts';

const ERROR = new CacheError('upstream', 'connection refused');

function setUp() {
  const clock = handClock();
  const lines: string[] = [];
  const log = createLog((line) => lines.push(line.replace(/^\S+ /, '').trimEnd()));
  const breakers = new Breakers(logSink(log), clock.now, clock.after);
  return { clock, lines, breakers, breaker: breakers.make('upstream https://a') };
}

test('failures of three names open it, and a success in between starts the count again', () => {
  const { breaker, lines } = setUp();
  for (const name of ['a', 'b']) breaker.failed(ERROR, name);
  breaker.succeeded();
  for (const name of ['c', 'd']) breaker.failed(ERROR, name);
  assert.equal(breaker.open, false);
  breaker.failed(ERROR, 'e');
  assert.equal(breaker.open, true);
  assert.equal(breaker.why, ERROR);
  assert.equal(lines.length, 1);
});

test('one name, or two, may fail for ever', () => {
  const { breaker } = setUp();
  for (let i = 0; i < 1000; i++) breaker.failed(ERROR, i % 2 === 0 ? 'a' : 'b');
  assert.equal(breaker.open, false);
});

test('connections that can not be made count each, whatever they were for', () => {
  const { breaker } = setUp();
  breaker.failed(ERROR, 'a');
  breaker.failed(ERROR, undefined);
  assert.equal(breaker.open, false);
  breaker.failed(ERROR, undefined);
  assert.equal(breaker.open, true);
});

test('after it was closed it takes as much to open it as before', () => {
  const { breaker } = setUp();
  breaker.trip(ERROR);
  breaker.succeeded();
  for (const name of ['a', 'b']) breaker.failed(ERROR, name);
  assert.equal(breaker.open, false);
});

test('it tells whether the last failure was a silence, also a silent proxy', () => {
  const { breaker } = setUp();
  assert.equal(breaker.silent, false);
  const late = new CacheError('timeout', 'not done within 5000 ms');
  for (const error of [late, new CacheError('proxy', 'connecting', late)]) {
    breaker.failed(error, 'a');
    assert.equal(breaker.silent, true);
    breaker.failed(ERROR, 'a');
    assert.equal(breaker.silent, false);
  }
});

test('every change of state is one line that names it, and nothing else is a line', () => {
  const { breaker, clock, lines } = setUp();
  for (let i = 0; i < 10; i++) breaker.failed(ERROR, `${i}`);
  clock.pass(5000);
  for (let i = 0; i < 10; i++) breaker.failed(ERROR, `${i}`);
  breaker.succeeded();
  breaker.succeeded();
  assert.deepEqual(lines, [
    'warn upstream https://a: believed dead and passed over, but looked at every few seconds: connection refused',
    'info upstream https://a: alive again after 5 s',
  ]);
});

test('whoever has the same proxy shares its breaker', () => {
  const { breakers } = setUp();
  assert.equal(breakers.ofProxy('http://p'), breakers.ofProxy('http://p'));
  assert.notEqual(breakers.ofProxy('http://p'), breakers.ofProxy('http://q'));
  assert.notEqual(breakers.make('x'), breakers.make('x'));
});
