import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../fixtures/defer.ts';
import { program, projectRoot } from '../fixtures/project.ts';
import { type Outcome, run } from '../fixtures/run.ts';

function cli(cwd: string, ...args: string[]): Promise<Outcome> {
  return run(process.execPath, [program, ...args], { cwd });
}

test('--help and --version answer everywhere, on standard output', async (t) => {
  const cwd = await temporaryFolder(t);
  const { version } = JSON.parse(await readFile(join(projectRoot, 'package.json'), 'utf8'));
  for (const command of [[], ['serve'], ['list']]) {
    const help = await cli(cwd, ...command, '--help');
    assert.equal(help.code, 0);
    for (const word of ['usage', '--config', '--listen', '--cache-dir', 'list'])
      assert.ok(help.stdout.includes(word), word);
    assert.deepEqual(await cli(cwd, ...command, '--version'), {
      code: 0,
      stdout: `${version}\n`,
      stderr: '',
    });
  }
});

test('what is not understood ends with 2 and says where help is', async (t) => {
  const cwd = await temporaryFolder(t);
  for (const args of [
    ['--nope'],
    ['serve', 'list'],
    ['sevre'],
    ['--json'],
    ['--config'],
    ['list', '--listen=:8080'],
    ['list', '--x'],
  ]) {
    const { code, stdout, stderr } = await cli(cwd, ...args);
    assert.equal(code, 2, args.join(' '));
    assert.equal(stdout, '');
    assert.match(stderr, /^nix-binary-cache: .*--help\n$/, args.join(' '));
  }
});

test('every mistake of a configuration is told at once, and ends with 2', async (t) => {
  const cwd = await temporaryFolder(t);
  await writeFile(join(cwd, 'cache.toml'), 'listen = 1\npriorty = 2\n[[upstreams]]\nurl = "ftp://x"\n');
  const { code, stderr } = await cli(cwd, '--listen', 'nowhere');
  assert.equal(code, 2);
  for (const problem of ['cache.toml:1', 'cache.toml:2', 'cache.toml:4', '--listen'])
    assert.ok(stderr.includes(problem), stderr);
  assert.doesNotMatch(stderr, /\n\s+at /, 'no stack trace');
});

test('a configuration that was asked for must be there', async (t) => {
  const cwd = await temporaryFolder(t);
  const { code, stderr } = await cli(cwd, '--config', 'missing.toml');
  assert.equal(code, 2);
  assert.match(stderr, /missing\.toml/);
});

test('what is written about names from elsewhere has no control characters but its line ends', async (t) => {
  const cwd = await temporaryFolder(t);
  const { code, stderr } = await cli(cwd, '--config', 'a\x1b[2Jb\x9b\u202e.toml');
  assert.equal(code, 2);
  assert.match(stderr, /a\\x1b\[2Jb\\x9b\\u\{202e\}\.toml/);
  assert.match(stderr, /^[^\p{Cc}\p{Cf}]*\n$/u);
});
