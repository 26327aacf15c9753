// The folder and the store in memory keep the same promises, and the service runs on either.
import assert from 'node:assert/strict';
import { readFile, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { logSink } from '../../lib/event-log.ts';
import { fileOf } from '../../lib/store/folder/files.ts';
import { openFolder } from '../../lib/store/folder/folder.ts';
import { idOf } from '../../lib/store/object-id.ts';
import { get, push } from '../fixtures/client.ts';
import { temporaryFolder } from '../fixtures/defer.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { Memory } from '../fixtures/memory-storage.ts';
import { field, makePackage } from '../fixtures/nar.ts';
import { startUpstream, whole } from '../fixtures/upstream.ts';
import { storeContract } from './contract.ts';

const SILENT = () => {};

storeContract('folder', async (t) => {
  const dir = join(await temporaryFolder(t, 'contract'), 'cache');
  const again = async () => {
    const storage = openFolder(dir, SILENT, { many: 0 });
    await storage.scratch.prepare(true);
    return storage;
  };
  return {
    storage: await again(),
    again,
    spoil: async (path) => {
      const file = fileOf(dir, idOf(path));
      const bytes = await readFile(file);
      bytes.writeUInt8(bytes.readUInt8(bytes.length - 1) ^ 1, bytes.length - 1);
      await writeFile(file, bytes);
    },
    age: async (path, ms) => {
      const then = new Date(Date.now() - ms);
      await utimes(fileOf(dir, idOf(path)), then, then);
    },
  };
});

storeContract('memory', async () => {
  const memory = new Memory();
  return {
    storage: memory.open(SILENT),
    again: async () => memory.open(SILENT),
    spoil: async (path) => {
      const { body } = memory.objects.get(idOf(path)) ?? {};
      body?.writeUInt8(body.readUInt8(body.length - 1) ^ 1, body.length - 1);
    },
    age: async (path, ms) => {
      const kept = memory.objects.get(idOf(path));
      if (kept !== undefined) kept.usedMs = Date.now() - ms;
    },
  };
});

test('the whole service runs on a store in memory: pulls, pushes, and all of it again after a restart', async (t) => {
  const upstream = await startUpstream(t);
  const [pulled, pushed] = [makePackage('pulled', { compression: 'gzip' }), makePackage('pushed')];
  upstream.on(pulled.narInfoPath, whole(pulled.narInfo));
  upstream.on(pulled.narPath, whole(pulled.file));
  const memory = new Memory();
  const service = await startTestService(t, {
    upstreams: [upstream.url],
    storage: (_, log) => memory.open(logSink(log)),
  });
  await push(service.url, pushed);
  const check = async () => {
    for (const one of [pulled, pushed]) {
      const { text } = await get(service.url, one.narInfoPath);
      const reply = await get(service.url, `/${field(text, 'URL')}`);
      assert.ok(reply.complete && reply.body.equals(one.file), one.storePath);
    }
  };
  await check();
  await service.restart();
  await upstream.down();
  await check();
  assert.equal(memory.objects.size, 4);
});
