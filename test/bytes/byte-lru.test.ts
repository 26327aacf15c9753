import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ByteLru } from '../../lib/bytes/byte-lru.ts';

test('the least recently used values go when the bytes are too many', () => {
  const lru = new ByteLru<string>(10);
  lru.set('a', 'A', 4);
  lru.set('b', 'B', 4);
  assert.equal(lru.get('a'), 'A');
  lru.set('c', 'C', 4);
  assert.equal(lru.get('b'), undefined);
  assert.equal(lru.get('a'), 'A');
  assert.equal(lru.get('c'), 'C');
  assert.equal(lru.bytes, 8);
});

test('a value set again counts once, and one larger than everything is not kept', () => {
  const lru = new ByteLru<string>(10);
  lru.set('a', 'A', 4);
  lru.set('a', 'A2', 6);
  assert.equal(lru.bytes, 6);
  lru.set('b', 'B', 11);
  assert.equal(lru.get('b'), undefined);
  assert.equal(lru.get('a'), 'A2');
  lru.set('a', 'A3', 11);
  assert.equal(lru.get('a'), undefined);
  lru.delete('a');
  assert.equal(lru.bytes, 0);
});
