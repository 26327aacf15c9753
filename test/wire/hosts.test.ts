import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { addressesIn, inHosts } from '../../lib/wire/hosts.ts';
import { temporaryFolder } from '../fixtures/defer.ts';

const TEXT = `# the machine's own
127.0.0.1\tlocalhost
::1 localhost ip6-localhost # and others: cache.test
  10.0.0.1   cache.test  Mirror.Test
10.0.0.2 cache.test
fd00::1 mirror.test.
nonsense cache.test
10.0.0.3 xcache.test cache.test.example
10.0.0.4
`;

for (const [name, expected] of [
  ['localhost', ['127.0.0.1', '::1']],
  ['cache.test', ['10.0.0.1', '10.0.0.2']],
  ['CACHE.test.', ['10.0.0.1', '10.0.0.2']],
  ['mirror.test', ['10.0.0.1', 'fd00::1']],
  ['test', []],
  ['10.0.0.4', []],
] as const) {
  test(`${name} in a hosts file → ${expected.join(', ') || 'nothing'}`, () => {
    const found = addressesIn(TEXT, name);
    assert.deepEqual(
      found.map(({ address }) => address),
      expected,
    );
    for (const { address, family } of found) assert.equal(family, address.includes(':') ? 6 : 4);
  });
}

test('lines may end as on Windows, and the file may be missing', async (t) => {
  const folder = await temporaryFolder(t, 'hosts');
  await writeFile(join(folder, 'hosts'), '10.0.0.1 cache.test\r\n10.0.0.2 cache.test\r\n');
  const found = await inHosts('cache.test', join(folder, 'hosts'));
  assert.deepEqual(found, [
    { address: '10.0.0.1', family: 4 },
    { address: '10.0.0.2', family: 4 },
  ]);
  assert.deepEqual(await inHosts('cache.test', join(folder, 'none')), []);
});
