// compose.yaml is accepted by docker-compose and says what the README promises. No engine is needed for that.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { need } from '../fixtures/need.ts';
import { projectRoot } from '../fixtures/project.ts';
import { output } from '../fixtures/run.ts';

test('compose.yaml is valid', { skip: need('docker-compose') }, async () => {
  const resolved = await output('docker-compose', ['--file', 'compose.yaml', 'config'], { cwd: projectRoot });
  assert.match(resolved, /^ {4}read_only: true$/m);
  assert.match(resolved, /^ {4}restart: unless-stopped$/m);
  assert.match(resolved, /^volumes:\n {2}data:/m);
});
