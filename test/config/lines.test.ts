import assert from 'node:assert/strict';
import test from 'node:test';
import { parse } from 'smol-toml';
import { type KeyPath, keyLines } from '../../lib/config/lines.ts';
import { pick, randomSource } from '../fixtures/random.ts';

type Expected = readonly [KeyPath, number | undefined];

// Each text is also given to smol-toml, so that no line is promised for what isn't TOML.
const cases: readonly [name: string, text: string[], ...Expected[]][] = [
  ['a plain key', ['a = 1', 'b = 2'], [['a'], 1], [['b'], 2], [['c'], undefined], [[], undefined]],
  ['comments and blank lines', ['# a = 1', '', '  # b', ' a = 1 # b = 2', 'b = 3'], [['a'], 4], [['b'], 5]],
  ['a byte order mark', ['\ufeffa = 1', 'b = 2'], [['a'], 1], [['b'], 2]],
  [
    'a table',
    ['[t]', 'a = 1', '[u]', 'a = 2'],
    [['t'], 1],
    [['t', 'a'], 2],
    [['u', 'a'], 4],
    [['a'], undefined],
  ],
  ['nested tables', ['[t.u]', 'a = 1', '[t]', 'b = 2'], [['t'], 1], [['t', 'u', 'a'], 2], [['t', 'b'], 4]],
  [
    'arrays of tables',
    ['[[t]]', 'a = 1', '[[t]]', '', 'a = 2', '[[t]]', '[u]', 'a = 3', '[[t]]', 'b = 4'],
    [['t'], 1],
    [['t', 0, 'a'], 2],
    [['t', 1], 3],
    [['t', 1, 'a'], 5],
    [['t', 2], 6],
    [['t', 2, 'a'], 6],
    [['u', 'a'], 8],
    [['t', 3, 'b'], 10],
    [['t', 4], 1],
  ],
  [
    'tables below arrays of tables',
    ['[[t]]', '[t.u]', 'a = 1', '[[t.v]]', 'b = 2', '[[t.v]]', 'b = 3', '[[t]]', '[t.u]', 'a = 4'],
    [['t', 0, 'u', 'a'], 3],
    [['t', 0, 'v', 0, 'b'], 5],
    [['t', 0, 'v', 1, 'b'], 7],
    [['t', 1, 'u'], 9],
    [['t', 1, 'u', 'a'], 10],
    [['t', 1, 'v'], 8],
  ],
  [
    'dotted and quoted keys',
    [
      'a.b = 1',
      'a . "c d" = 2',
      "'e=f'.g = 3",
      '"#".x = 4',
      '"u\\u0072l" = 5',
      '"" = 6',
      '[ "x" . y ]',
      'z=7',
    ],
    [['a'], 1],
    [['a', 'b'], 1],
    [['a', 'c d'], 2],
    [['e=f', 'g'], 3],
    [['#', 'x'], 4],
    [['url'], 5],
    [[''], 6],
    [['x', 'y', 'z'], 8],
  ],
  [
    'an inline array of inline tables',
    [
      't = [ # first',
      '  { a = 1, b = { c = 2 } },',
      '  # { a = 0 },',
      '  { a = 3,',
      '    b.c = 4 },',
      '  5, [',
      '  6 ],',
      ']',
      'u = 7',
    ],
    [['t'], 1],
    [['t', 0], 2],
    [['t', 0, 'b', 'c'], 2],
    [['t', 1], 4],
    [['t', 1, 'b', 'c'], 5],
    [['t', 2], 6],
    [['t', 3, 0], 7],
    [['u'], 9],
  ],
  [
    'strings over several lines, which hold what looks like keys',
    [
      'a = """',
      'x = 1',
      '[t]',
      '"" \\""" # no',
      'y = 2"""""',
      "b = '''",
      "x = '' 3 \\'''",
      'c = "x = \\" # 4"',
      'd = 5',
    ],
    [['x'], undefined],
    [['t'], undefined],
    [['b'], 6],
    [['c'], 8],
    [['d'], 9],
  ],
  [
    'arrays over several lines, which hold what looks like keys',
    ['a = [', '"b = 1",', "'[c]', # ]", '[ "]" ]', ']', 'b = 2', 'c = [ ]', 'd = {}'],
    [['a', 1], 3],
    [['b'], 6],
    [['c'], 7],
    [['d'], 8],
  ],
  [
    'other values',
    [
      'a = 1979-05-27 07:32:00 # b',
      'b = [ 1.5e3, true,-inf, 07:32:00 ]',
      'c = { d = 1, e = false }',
      'f = 0x1F',
    ],
    [['b', 3], 2],
    [['c', 'e'], 3],
    [['f'], 4],
  ],
  [
    'a key of the prototype',
    ['__proto__ = 1', '[constructor]', 'a = 2'],
    [['__proto__'], 1],
    [['constructor', 'a'], 3],
  ],
];

for (const [name, lines, ...expected] of cases) {
  for (const [ending, newline] of [
    ['LF', '\n'],
    ['CRLF', '\r\n'],
  ] as const) {
    test(`finds the lines of ${name} (${ending})`, () => {
      const text = lines.join(newline);
      parse(text);
      const lineOf = keyLines(text);
      for (const [path, line] of expected) assert.equal(lineOf(path), line, JSON.stringify(path));
    });
  }
}

test('gives no line rather than a wrong one after what it cannot read', () => {
  const lineOf = keyLines('a = 1\n= 2\nb = 3');
  assert.equal(lineOf(['a']), 1);
  assert.equal(lineOf(['b']), undefined);
});

test('takes time that grows with the text and no more', () => {
  const deep = `${'a.'.repeat(50_000)}a = 1\n`;
  const long = `b = "${'x'.repeat(1_000_000)}"\n${'# comment\n'.repeat(100_000)}c = 1`;
  assert.equal(keyLines(deep + long)(['c']), 100_003);
});

test('finds every key of random texts on the line where it is written (seeded)', () => {
  for (let seed = 0; seed < 2000; seed++) {
    const text = randomToml(seed);
    const lines = text.split('\n');
    const lineOf = keyLines(text);
    const walk = (value: unknown, path: KeyPath) => {
      if (typeof value !== 'object' || value === null || value instanceof Date) return;
      for (const [key, item] of Object.entries(value)) {
        const at = [...path, Array.isArray(value) ? Number(key) : key];
        const line = lineOf(at) ?? 0;
        // An element of an array has no name; it must at least not stand before its array.
        const right = Array.isArray(value)
          ? line >= (lineOf(path) ?? 0)
          : new RegExp(`\\b${key}\\b`).test(lines[line - 1] ?? '');
        assert.ok(right, `seed ${seed}: ${at.join('.')} is not on line ${line} of\n${text}`);
        walk(item, at);
      }
    };
    walk(parse(text), []);
  }
});

const SCALARS = [
  '1',
  '-1.5e3',
  'true',
  '1979-05-27 07:32:00',
  '"a # \\" = [b]\\\\"',
  "'''\nx = 1\n[y]\n'''",
  '"""\n\\""" [[z]]\n"""""',
];

/** A valid text in which every key has a name of its own, and the strings hold what looks like TOML. */
function randomToml(seed: number): string {
  const random = randomSource(seed);
  let names = 0;
  const name = () => `k${names++}`;
  const key = () =>
    Array.from({ length: pick(random, [1, 1, 1, 2, 3]) }, () => {
      const quote = pick(random, ['', '', '"', "'"]);
      return quote + name() + quote;
    }).join(pick(random, ['.', ' . ']));
  const gap = () => pick(random, ['', ' ', '\n', '\r\n  ', ' # [x] = "\n']);
  const value = (depth: number): string => {
    const items = (item: () => string) =>
      Array.from({ length: pick(random, [0, 1, 2, 3]) }, () => gap() + item() + gap()).join(',');
    const kind = depth > 3 ? 'scalar' : pick(random, ['scalar', 'scalar', 'array', 'table']);
    if (kind === 'array') return `[${items(() => value(depth + 1))}]`;
    if (kind === 'table') return `{${items(() => `${key()} = ${value(depth + 1)}`)}}`;
    return pick(random, SCALARS);
  };
  const arrays: string[] = [];
  const header = () => {
    const parent = arrays.length > 0 && random() < 0.6 ? pick(random, arrays) : undefined;
    if (parent !== undefined && random() < 0.5) return `[[${parent}]]`;
    const path = parent === undefined ? name() : `${parent}.${name()}`;
    if (random() < 0.5) return `[${path}]`;
    arrays.push(path);
    return `[[ ${path} ]]`;
  };
  const statements = [
    header,
    () => `${key()}=${value(0)}`,
    () => ` ${key()} = ${value(0)} # x`,
    () => '# y = 1',
  ];
  const newline = pick(random, ['\n', '\r\n', '\n\n']);
  return Array.from({ length: 12 }, () => pick(random, statements)()).join(newline);
}
