// Import from a web server's folder: what a path has besides its narinfo and NAR comes, too.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertHas, LISTING, LOG, pushed, TRACE, tool } from '../../fixtures/besides.ts';
import { commandsOn } from '../../fixtures/command.ts';
import { temporaryFolder } from '../../fixtures/defer.ts';
import { startService } from '../../fixtures/service.ts';
import { need } from '../fixtures/need.ts';
import { serveFolder } from '../fixtures/nginx.ts';

test('over HTTP comes what can be asked for by its name', { skip: need('nginx') }, async (t) => {
  const from = await pushed(t);
  const stick = join(await temporaryFolder(t), 'stick');
  assert.equal((await (await commandsOn(t, from.dir)).run('export', stick)).code, 0);
  const { url } = await serveFolder(t, stick);
  for (const source of [url, from.url]) {
    const to = await startService(t);
    const { code, stderr, stdout } = await (await commandsOn(t, to.dir)).run(
      'import',
      source,
      tool.storePath,
    );
    assert.deepEqual([code, stderr], [0, '']);
    assert.match(stdout, /; 3 listings, logs and the like\n$/);
    await assertHas(to, [LISTING, LOG, TRACE]);
  }
});
