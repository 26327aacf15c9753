import assert from 'node:assert/strict';
import { test } from 'node:test';
import { substitute } from '../../lib/config/environment.ts';
import { Report } from '../../lib/config/report.ts';

const ENV = { A: 'x', _b2: 'y', EMPTY: '', NESTED: '${A}', '9': 'nine', toml: '$' };

function put(value: unknown): { found: unknown; said: string; conceals: boolean } {
  const report = new Report('f', 'a = 1');
  const found = substitute(value, ENV, report, ['a']);
  const told = (check: () => void) => {
    try {
      check();
    } catch (error) {
      return (error as Error).message;
    }
    return '';
  };
  const said = told(() => report.throwIfAny());
  report.add(['a'], 'expected nothing, found all of it');
  return { found, said, conceals: !told(() => report.throwIfAny()).includes('all of it') };
}

test('references are replaced, once, wherever they stand in a string', () => {
  for (const [text, expected] of [
    ['${A}', 'x'],
    ['${A}${_b2}-${A}', 'xy-x'],
    ['a${EMPTY}b', 'ab'],
    ['${NESTED}', '${A}'],
    ['${toml}{A}', '${A}'],
  ]) {
    assert.deepEqual(put(text), { found: expected, said: '', conceals: true }, text);
  }
});

test('a doubled dollar stands for itself before a brace, and a single one before anything else', () => {
  for (const [text, expected] of [
    ['$${A}', '${A}'],
    ['$${', '${'],
    ['$$${A}', '$${A}'],
    ['$A $$ {A} $', '$A $$ {A} $'],
  ])
    assert.equal(put(text).found, expected, text);
  assert.equal(put('$A $$').conceals, false, 'nothing of the environment is in it');
});

test('what is no name, or not set, is told by its name alone, and nothing comes of the string', () => {
  for (const [text, name] of [
    ['secret${MISSING}secret', 'MISSING'],
    ['${A} ${MISSING}', 'MISSING'],
    ['${9}', '9'],
    ['${', ''],
    ['${}', ''],
    ['${A', 'A'],
    ['${A-b}', 'A'],
  ]) {
    const { found, said } = put(text);
    assert.equal(found, undefined, text);
    assert.equal(said, `f:1: a: found \${${name}}, expected the name of an environment variable that is set`);
  }
});

test('strings in tables and arrays are replaced, each mistake at its place; what is no string stays', () => {
  const date = new Date(0);
  const { found, said } = put({ one: ['${A}', 5n, { two: '${A}', three: true }], date, none: null });
  assert.deepEqual(found, { one: ['x', 5n, { two: 'x', three: true }], date, none: null });
  assert.equal(said, '');
  assert.match(
    put({ one: ['${A}', '${NO}'], two: { three: '${NO}' } }).said,
    /: a\.one\[1\]: .*\n.*: a\.two\.three: /,
  );
});

test('what lies deeper than any key is left as it is, however deep that is', () => {
  const deep = (levels: number): unknown => (levels === 0 ? '${A}' : [deep(levels - 1)]);
  assert.deepEqual(put(deep(7)).found, JSON.parse(JSON.stringify(deep(7)).replace('${A}', 'x')));
  assert.deepEqual(put(deep(8)).found, deep(8));
  let abyss: unknown = '${A}';
  for (let level = 0; level < 100_000; level++) abyss = [abyss];
  put(abyss);
});
