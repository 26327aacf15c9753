import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConfig } from '../../lib/config/config.ts';
import { FILE, mistakes } from '../fixtures/config-text.ts';

const signing = (lines: string) => parseConfig(`[signing]\n${lines}`, { file: FILE }).signing;

test('key_file and key_files name the keys that sign, from the folder of the file, each once', () => {
  const sign = 'pushed';
  assert.deepEqual(signing('key_file = "a"'), { keyFiles: ['/etc/nix-cache/a'], sign });
  assert.deepEqual(signing('key_files = ["old", "/run/new"]\nsign = "all"'), {
    keyFiles: ['/etc/nix-cache/old', '/run/new'],
    sign: 'all',
  });
  assert.deepEqual(signing('key_file = "a"\nkey_files = ["b", "a", "../nix-cache/b"]'), {
    keyFiles: ['/etc/nix-cache/a', '/etc/nix-cache/b'],
    sign,
  });
});

test('what can not be a key file is said, with what was expected', () => {
  const WRONG: Record<string, RegExp> = {
    '': /signing.*found no key, expected key_file or key_files/,
    'sign = "all"': /found no key, expected key_file or key_files/,
    'key_files = []': /found no key/,
    'key_files = "old"': /signing\.key_files.*found "old", expected an array of files/,
    'key_files = ["a", 1]': /signing\.key_files\[1\].*expected a/,
    'key_files = [["a"]]': /signing\.key_files\[0\].*found an array/,
    'key_file = ["a"]': /signing\.key_file.*found an array/,
    'key_fils = ["a"]': /key_fils.*key_files/s,
  };
  for (const [lines, said] of Object.entries(WRONG))
    assert.match(mistakes(`[signing]\n${lines}\n`), said, lines);
});
