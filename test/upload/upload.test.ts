import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FolderStore } from '../../lib/store/folder/folder-store.ts';
import { push, put } from '../fixtures/client.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { makePackage } from '../fixtures/nar.ts';

test('before a narinfo is taken its NAR is made to survive a power loss, whoever stored that and when', async (t) => {
  const one = makePackage('one');
  const same = makePackage('same', { seed: 'one' });
  const service = await startTestService(t);
  const deeds: string[] = [];
  const { sync, put: store } = FolderStore.prototype;
  t.mock.method(FolderStore.prototype, 'sync', function (this: FolderStore, path: string) {
    deeds.push(`sync ${path}`);
    return sync.call(this, path);
  });
  t.mock.method(
    FolderStore.prototype,
    'put',
    function (this: FolderStore, ...args: Parameters<typeof store>) {
      deeds.push(`put ${args[1].path}${args[2].durable ? ', durable' : ''}`);
      return store.apply(this, args);
    },
  );
  await push(service.url, one);
  assert.equal((await put(service.url, same.narInfoPath, same.narInfo)).status, 200);
  const taken = ({ narInfoPath }: typeof one) => [`sync ${one.narPath}`, `put ${narInfoPath}, durable`];
  assert.deepEqual(deeds, [`put ${one.narPath}, durable`, ...taken(one), ...taken(same)]);
});
