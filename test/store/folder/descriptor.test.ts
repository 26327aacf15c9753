import assert from 'node:assert/strict';
import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { Descriptor } from '../../../lib/store/folder/descriptor.ts';
import { type Owner, temporaryFolder } from '../../fixtures/defer.ts';

const TEXT = 'what is in the file';

async function opened(t: Owner) {
  const file = join(await temporaryFolder(t), 'file');
  await writeFile(file, TEXT);
  const handle = await open(file);
  return { descriptor: new Descriptor(handle), isClosed: () => handle.fd < 0 };
}

test('a file is closed when the last who has it is done, and not before', async (t) => {
  const { descriptor, isClosed } = await opened(t);
  assert.equal(descriptor.share(), descriptor);
  await descriptor.done();
  assert.equal(isClosed(), false);
  const buffer = Buffer.alloc(50, ' ');
  assert.equal(await descriptor.read(buffer, 2, 6, 8), 6);
  assert.equal(buffer.toString('latin1', 0, 10), `  ${TEXT.slice(8, 14)}  `);
  assert.equal(await descriptor.read(buffer, 0, 50, 8), TEXT.length - 8);
  await descriptor.done();
  assert.equal(isClosed(), true);
});

test('what is under way comes to its end before the file is closed', async (t) => {
  const { descriptor, isClosed } = await opened(t);
  const buffer = Buffer.alloc(TEXT.length);
  const reading = descriptor.read(buffer, 0, buffer.length, 0);
  const noting = descriptor.utimes(1, 1);
  await descriptor.done();
  assert.equal(isClosed(), false);
  assert.equal(await reading, TEXT.length);
  await noting;
  assert.equal(buffer.toString(), TEXT);
});

test('what the disk does not give is said', async (t) => {
  const descriptor = new Descriptor(await open(await temporaryFolder(t)));
  await assert.rejects(descriptor.read(Buffer.alloc(1), 0, 1, 0), { code: 'EISDIR' });
  await descriptor.done();
});
