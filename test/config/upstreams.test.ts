import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConfig } from '../../lib/config/config.ts';
import { FILE, NIXOS_KEY } from '../fixtures/config-text.ts';

test('public keys are those of cache.nixos.org for what holds its paths, and as written for others', () => {
  const keysOf = (...lines: string[]) =>
    parseConfig(`[[upstreams]]\n${lines.join('\n')}`, { file: FILE }).upstreams[0]?.publicKeys;
  for (const [url, keys] of [
    ['http://cache.nixos.org/', [NIXOS_KEY]],
    ['https://Mirrors.ustc.edu.cn/nix-channels/store/', [NIXOS_KEY]],
    ['https://mirrors.ustc.edu.cn/other', []],
    ['https://mirrors.tuna.tsinghua.edu.cn/nix-channels/store', [NIXOS_KEY]],
    ['https://cache.nixos.org.example.org', []],
    ['https://cache.example.org', []],
  ] as const) {
    assert.deepEqual(keysOf(`url = "${url}"`), keys, url);
  }
  assert.deepEqual(keysOf('url = "https://cache.nixos.org"', 'public_keys = []'), []);
  const own = `own-1:${'A'.repeat(43)}=`;
  assert.deepEqual(keysOf('url = "https://cache.nixos.org"', `public_keys = ["${own}"]`), [own]);
});
