import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Report } from '../../lib/config/report.ts';

const TEXT = 'first = 1\nsecond = 2\n[third]\nx = 3\n';

const told = (note: (report: Report) => void): string | undefined => {
  const report = new Report('cache.toml', TEXT);
  note(report);
  try {
    report.throwIfAny();
  } catch (error) {
    assert.equal((error as { code: string }).code, 'config');
    return (error as Error).message;
  }
  return undefined;
};

test('nothing is thrown where nothing was noted', () => {
  assert.equal(
    told(() => {}),
    undefined,
  );
});

test('mistakes stand in the order of the file, each with its line; first what stands on none', () => {
  const message = told((report) => {
    report.add(['third', 'x'], 'c');
    report.add(['first'], 'a');
    report.add(['fourth'], 'z');
    report.add(['second'], 'b');
    report.add(['first'], 'a again');
  });
  assert.deepEqual(message?.split('\n'), [
    'cache.toml: fourth: z',
    'cache.toml:1: first: a',
    'cache.toml:1: first: a again',
    'cache.toml:2: second: b',
    'cache.toml:4: third.x: c',
  ]);
});

test('a mistake is one line, whatever is in it', () => {
  assert.equal(
    told((report) => report.add(['first'], 'found a\nb')),
    'cache.toml:1: first: found a\\x0ab',
  );
});

test('of a value that is concealed nothing is quoted, only what is expected of it', () => {
  for (const [sentence, expected] of [
    ['found "hunter2", expected a URL', 'a URL'],
    ['expected a URL, found "hunter2"', 'a URL'],
    ['expected a URL, found "hun\nter2"', 'a URL'],
    ['found "expected hunter2", expected a URL', 'a URL'],
    ['found "hunter2\nexpected 2", expected one of a or b', 'one of a or b'],
    ['hunter2 is wrong', 'something else'],
  ] as const) {
    const message = told((report) => {
      report.conceal(['third', 'x']);
      report.add(['third', 'x'], sentence);
      report.add(['first'], 'found 1');
    });
    assert.equal(
      message,
      'cache.toml:1: first: found 1\n' +
        `cache.toml:4: third.x: found something with a value of the environment in it, expected ${expected}`,
    );
  }
});
