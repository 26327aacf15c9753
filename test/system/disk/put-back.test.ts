import { test } from 'node:test';
import { assertPutsBack } from '../../fixtures/puts-back.ts';
import { exfatDisk, needExfat } from '../fixtures/exfat-disk.ts';

test('what was moved aside goes back also where there are no hard links', {
  skip: needExfat(),
}, async (t) => {
  await assertPutsBack(await exfatDisk(t));
});
