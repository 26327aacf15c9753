// compose.yaml is accepted by docker-compose and says what README.md promises. No engine is needed for that.

import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../../fixtures/defer.ts';
import { projectRoot } from '../../fixtures/project.ts';
import { output } from '../../fixtures/run.ts';
import { need } from '../fixtures/need.ts';

test('compose.yaml is valid', { skip: need('docker-compose') }, async () => {
  const resolved = await output('docker-compose', ['--file', 'compose.yaml', 'config'], { cwd: projectRoot });
  assert.match(resolved, /^ {4}read_only: true$/m);
  assert.match(resolved, /^ {4}restart: unless-stopped$/m);
  assert.match(resolved, /^volumes:\n {2}data:/m);
});

test('so is what is commented out in it', { skip: need('docker-compose') }, async (t) => {
  const text = await readFile(join(projectRoot, 'compose.yaml'), 'utf8');
  const all = text.replace(/^( +)# (- \.\/|environment:| {2}CI_TOKEN:)/gm, '$1$2');
  const folder = await temporaryFolder(t);
  await writeFile(join(folder, 'compose.yaml'), all);
  const env = { ...process.env, CI_TOKEN: 'of-the-test' };
  const resolved = await output('docker-compose', ['--file', 'compose.yaml', 'config'], { cwd: folder, env });
  assert.match(resolved, /^ {6}CI_TOKEN: of-the-test$/m);
  assert.match(resolved, /\/cache\.toml:\/etc\/nix-binary-cache\/cache\.toml:ro$/m);
  assert.match(resolved, /\.secret:\/etc\/nix-binary-cache\/cache\.example\.org-1\.secret:ro$/m);
});
