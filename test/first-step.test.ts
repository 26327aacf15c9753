// `npm test` is for everybody: what it runs needs neither root nor a program beside Node, and skips nothing.
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';
import { projectRoot } from './fixtures/project.ts';

/** What a shell script could start anywhere. */
const PROGRAMS: readonly string[] = ['mkfifo'];

/** The tests of the first step, and all of test/ that they import: each with its text and who has it run. */
async function firstStep(): Promise<Map<string, { text: string; from: string }>> {
  const names = await readdir(join(projectRoot, 'test'), { recursive: true });
  const tests = names.filter((name) => name.endsWith('.test.ts') && !name.startsWith('system/'));
  assert.ok(tests.length > 100, 'the tests were found');
  const found = new Map<string, { text: string; from: string }>();
  const left = tests.map((name) => ({ file: join('test', name), from: 'npm test' }));
  for (let one = left.pop(); one !== undefined; one = left.pop()) {
    const { file, from } = one;
    if (found.has(file) || !file.startsWith('test/')) continue;
    const text = await readFile(join(projectRoot, file), 'utf8');
    found.set(file, { text, from });
    for (const [, target = ''] of text.matchAll(/(?:from|import\() ?'(\.[^']+)'/g))
      left.push({ file: normalize(join(dirname(file), target)), from: file });
  }
  return found;
}

test('no test of the first step imports what needs root or other programs', async () => {
  for (const [file, { from }] of await firstStep())
    assert.ok(!file.startsWith('test/system/'), `${from} imports ${file}: it belongs to test/system/`);
});

test('none starts another program, or skips', async () => {
  for (const [file, { text }] of await firstStep()) {
    for (const [call, program = ''] of text.matchAll(
      /\b(?:spawn|exec|execFile|output)(?:Sync)?\(\s*'([^']+)'/g,
    ))
      assert.ok(PROGRAMS.includes(program), `${file}: ${call}… belongs to test/system/`);
    if (file.endsWith('.test.ts'))
      assert.doesNotMatch(
        text,
        /\bskip: |\.skip\(|\bskip \}/,
        `${file}: what can't run everywhere belongs to test/system/`,
      );
  }
});
