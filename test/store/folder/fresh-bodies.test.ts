// What was just stored is at hand only while nobody can have made another of it, and not for long.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FreshBodies } from '../../../lib/store/folder/fresh-bodies.ts';
import type { ObjectMeta } from '../../../lib/store/store.ts';

const KEPT_MS = 60_000;
const SWEEP_MS = 10_000;
const MOST_BYTES = 16 << 20;

function setUp(t: { mock: typeof test.mock }) {
  t.mock.timers.enable({ apis: ['setInterval'] });
  let now = 1000;
  t.mock.method(performance, 'now', () => now);
  const bodies = new FreshBodies();
  bodies.begin();
  const put = (path: string, body = Buffer.from(path), before = () => {}) => {
    const coming = bodies.coming(path, `/folder/${path}`);
    before();
    if (!bodies.settled(coming)) return false;
    bodies.keep(coming, { path } as ObjectMeta, `version of ${path}`, body);
    return true;
  };
  const later = (ms: number) => {
    now += ms;
  };
  return { bodies, later, put };
}

test('what was stored is there, until it is touched or its file is', (t) => {
  const { bodies, put } = setUp(t);
  for (const path of ['a', 'b', 'c']) assert.ok(put(path));
  assert.equal(bodies.get('a')?.version, 'version of a');
  bodies.drop('a');
  bodies.dropFile('/folder/b');
  bodies.dropFile('/folder/x');
  assert.deepEqual(
    ['a', 'b', 'c'].map((path) => bodies.get(path)?.body.toString()),
    [undefined, undefined, 'c'],
  );
  bodies.recheck();
  assert.equal(bodies.get('c')?.seenAt, Number.NEGATIVE_INFINITY, 'it is looked at before it is believed');
  bodies.end();
  assert.equal(bodies.get('c'), undefined);
  assert.ok(!put('d'), 'nothing is kept any more');
});

test('what was touched while it was stored is not kept', (t) => {
  const { bodies, put } = setUp(t);
  for (const touch of [
    () => bodies.drop('a'),
    () => bodies.dropFile('/folder/a'),
    () => bodies.recheck(),
    () => bodies.coming('a', '/folder/a'),
  ]) {
    assert.ok(!put('a', undefined, touch), String(touch));
    assert.equal(bodies.get('a'), undefined);
  }
  assert.ok(put('a', undefined, () => bodies.drop('b')));
});

test('bytes are bounded, and so is how long they are kept', (t) => {
  const { bodies, later, put } = setUp(t);
  const body = Buffer.alloc(MOST_BYTES / 4);
  for (const path of ['a', 'b', 'c', 'd']) put(path, body);
  assert.equal(bodies.get('a'), undefined, 'what an entry takes besides counts too');
  assert.ok(bodies.get('b') && bodies.get('d'));
  later(KEPT_MS - 1);
  put('e');
  t.mock.timers.tick(SWEEP_MS);
  assert.ok(bodies.get('d'));
  later(2);
  t.mock.timers.tick(SWEEP_MS);
  assert.deepEqual(
    ['b', 'c', 'd', 'e'].map((path) => bodies.get(path) !== undefined),
    [false, false, false, true],
  );
});
