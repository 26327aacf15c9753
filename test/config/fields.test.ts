import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mistakes } from '../fixtures/config-text.ts';

test('wrong types are named as they were found', () => {
  const line = (text: string) => mistakes(text).split(', expected')[0];
  assert.equal(line('listen = 8080'), '1: listen: found 8080');
  assert.equal(line('cache_dir = ["a"]'), '1: cache_dir: found an array');
  assert.equal(line('[cache_dir]'), '1: cache_dir: found a table');
  assert.equal(line('store_dir = 1979-05-27'), '1: store_dir: found the date 1979-05-27');
  assert.equal(line('priority = "30"'), '1: priority: found "30"');
  assert.equal(line('priority = 30.0'), '1: priority: found 30.0');
  assert.equal(line('priority = nan'), '1: priority: found NaN');
  assert.equal(line('priority = 2147483648'), '1: priority: found 2147483648');
  assert.equal(line('priority = 99999999999999999999'), '1: priority: found 99999999999999999999');
  assert.equal(line('want_mass_query = 1'), '1: want_mass_query: found 1');
  assert.equal(line('upstreams = "https://a"'), '1: upstreams: found "https://a"');
  assert.equal(line('[upstreams]\nurl = "https://a"'), '1: upstreams: found a table');
  assert.equal(line('upstreams = [[]]'), '1: upstreams[0]: found an array');
});

test('mistakes in inline tables have their lines too', () => {
  const found = mistakes(
    'upstreams = [ # two',
    '  { url = "https://a" },',
    '  { url = "https://b", proxy = true },',
    '  7,',
    ']',
  );
  assert.deepEqual(
    found.split('\n').map((line) => line.split(', expected')[0]),
    ['3: upstreams[1].proxy: found true', '4: upstreams[2]: found 7'],
  );
});

test('choices and small numbers have their limits', () => {
  assert.equal(
    mistakes('on_upstream_error = "ignore"'),
    '1: on_upstream_error: found "ignore", expected "error" or "miss"',
  );
  for (const bad of ['0', '17', '"4"']) {
    assert.match(mistakes(`connections = ${bad}`), /expected an integer from 1 to 16$/);
  }
});

test('the closest known key is suggested, and only if it is close', () => {
  for (const [written, meant] of [
    ['cachedir', 'cache_dir'],
    ['Cache-Dir', 'cache_dir'],
    ['listn', 'listen'],
    ['prioritys', 'priority'],
    ['upstream', 'upstreams'],
    ['x', undefined],
    ['constructor', undefined],
    ['__proto__', undefined],
    ['x'.repeat(5000), undefined],
  ] as const) {
    const found = mistakes(`${written} = 1`);
    assert.equal(/did you mean (\w+)/.exec(found)?.[1], meant);
    assert.ok(found.length < 400);
  }
});
