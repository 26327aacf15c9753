// Names that a disk does not take.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DEBUG, filesIn, LED, pushed, tool } from '../../fixtures/besides.ts';
import { commandsOn } from '../../fixtures/command.ts';
import { exfatDisk, needExfat } from '../fixtures/exfat-disk.ts';

test('a stick that takes no such name is told of', { skip: needExfat() }, async (t) => {
  const from = await pushed(t);
  const stick = await exfatDisk(t);
  const { code, stderr } = await (await commandsOn(t, from.dir)).run('export', stick, tool.storePath);
  assert.equal(code, 3);
  assert.ok(stderr.startsWith(`${LED.path}: the disk takes no file of this name: `), stderr);
  assert.ok((await filesIn(stick)).includes(DEBUG.path));
});
