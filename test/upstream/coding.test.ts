import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Coding } from '../../lib/upstream/coding.ts';

const MIB = 2 ** 20;
const MINUTE = 60_000;

function start() {
  let now = 0;
  const coding = new Coding(() => now);
  const wait = (ms: number) => {
    now += ms;
  };
  return { coding, wait };
}

const paced = (bytesPerMs: number | undefined) => ({ bytesPerMs });

test('in parts where nothing is known, or nothing of what coding would do', () => {
  const { coding } = start();
  assert.deepEqual(coding.choose(4, paced(undefined)), {
    manner: 'parts',
    coded: undefined,
    parts: undefined,
  });
  assert.deepEqual(coding.choose(4, paced(10)), { manner: 'parts', coded: undefined, parts: 30 });
  coding.noteParts(MIB, 1000);
  assert.equal(coding.choose(4, paced(10)).manner, 'parts');
});

test('coded where that was faster than all connections together', () => {
  const { coding } = start();
  coding.note({ bytes: 10 * MIB, received: 2 * MIB, ms: 1000 });
  // So far as if four connections were as fast as three.
  assert.equal(coding.choose(4, paced(undefined)).manner, 'coded');
  assert.equal(coding.choose(4, paced((2 * MIB) / 1000)).manner, 'coded');
  assert.equal(coding.choose(4, paced((4 * MIB) / 1000)).manner, 'parts');
  coding.noteParts(20 * MIB, 1999);
  assert.equal(coding.choose(4, paced((2 * MIB) / 1000)).manner, 'parts');
  coding.noteParts(20 * MIB, 2001);
  assert.equal(coding.choose(4, paced((3 * MIB) / 1000)).manner, 'coded');
});

test('what comes coded and does not get smaller is soon had in parts again', () => {
  const { coding } = start();
  coding.note({ bytes: 10 * MIB, received: 2 * MIB, ms: 1000 });
  coding.noteParts(20 * MIB, 4000);
  assert.equal(coding.choose(4, paced(undefined)).manner, 'coded');
  coding.note({ bytes: 20 * MIB, received: 20 * MIB, ms: 8000 });
  assert.equal(coding.choose(4, paced(undefined)).manner, 'parts');
});

test('a pace in parts stands for an hour, and is then estimated again', () => {
  const { coding, wait } = start();
  coding.note({ bytes: 10 * MIB, received: 2 * MIB, ms: 1000 });
  coding.noteParts(20 * MIB, 1000);
  wait(59 * MINUTE);
  assert.equal(coding.choose(4, paced(undefined)).manner, 'parts');
  wait(MINUTE);
  assert.equal(coding.choose(4, paced(undefined)).manner, 'coded');
});

test('one that ignores ranges is asked for the whole, for ten minutes', () => {
  const { coding, wait } = start();
  coding.ignoredPart();
  assert.equal(coding.choose(4, paced(undefined)).manner, 'coded');
  wait(10 * MINUTE);
  assert.equal(coding.choose(4, paced(undefined)).manner, 'parts');
});

test('one whose coding could not be undone is offered none for ten minutes', () => {
  const { coding, wait } = start();
  coding.ignoredPart();
  coding.distrust();
  assert.equal(coding.isOffered, false);
  assert.equal(coding.choose(4, paced(undefined)).manner, 'parts');
  wait(10 * MINUTE);
  assert.equal(coding.isOffered, true);
});

test('a body that breaks off in the middle is a cut, and twice in a row none; at its very beginning it is no such coding', () => {
  const { coding } = start();
  coding.broke(1000);
  assert.equal(coding.isOffered, true);
  coding.undone();
  coding.broke(1000);
  assert.equal(coding.isOffered, true);
  coding.broke(1000);
  assert.equal(coding.isOffered, false);
  const { coding: other } = start();
  other.broke(0);
  assert.equal(other.isOffered, false);
});
