// What is remembered of the targets that clients ask for.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HotNars } from '../../lib/http/hot-nars.ts';

const NAME = `/nar/${'0'.repeat(52)}.nar.xz`;
const HASH = '1'.repeat(32);

test('only NARs are ready, under each way to ask for them', () => {
  const nars = new HotNars({ readyNar: () => undefined });
  for (const target of [NAME, `${NAME}?hash=${HASH}`, `/nar/${HASH}-${'0'.repeat(52)}.nar.xz`]) {
    const asked = nars.askedBy(target);
    assert.equal(asked?.name.kind, 'nar');
    assert.equal(nars.askedBy(target), asked, 'it is looked at once');
  }
  for (const target of [`/${HASH}.narinfo`, `/upload${NAME}`, '/nar/..', '/nar/%', '/nar/', '/'])
    assert.equal(nars.askedBy(target), undefined, target);
});

test('what is longer than clients ask is not remembered: nobody fills the memory with it', () => {
  const nars = new HotNars({ readyNar: () => undefined });
  assert.equal(nars.askedBy(`${NAME}?hash=${HASH}&x=${'x'.repeat(8000)}`), undefined);
});
