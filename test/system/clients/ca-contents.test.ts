// Paths that are named by their contents, in every way that Nix has, as real clients push them without a signature; and that a client refuses
// one with other contents, which is why the service takes none where it can look inside.
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { describe, test } from 'node:test';
import { put } from '../../fixtures/client.ts';
import { compress, field, nar, narInfoOf, pathFor, sha256 } from '../../fixtures/nar.ts';
import { startService } from '../../fixtures/service.ts';
import { clients } from './client.ts';
import { keygen, publicKeyIn, teamMachine } from './trust.ts';

describe('named by contents', { concurrency: availableParallelism() }, () => {
  for (const client of clients) {
    const { name, skip } = client;
    test(`76: ${name} pushes what is named by its contents in each way, and gets it back, all without a signature`, {
      skip,
    }, async (t) => {
      const builder = await teamMachine(t, client);
      await writeFile(builder.path('/root/a.txt'), 'a file\n');
      await mkdir(builder.path('/root/d'));
      await writeFile(builder.path('/root/d/f'), 'in a folder\n');
      const paths: string[] = [];
      for (const algorithm of ['md5', 'sha1', 'sha256', 'sha512']) {
        paths.push(await builder.output('nix-store', '--add-fixed', algorithm, '/root/a.txt'));
        paths.push(await builder.output('nix-store', '--add-fixed', '--recursive', algorithm, '/root/d'));
      }
      const toFile = await builder.output(
        'nix-instantiate',
        '--eval',
        '--read-write-mode',
        '-E',
        'builtins.toFile "t" "text"',
      );
      paths.push(JSON.parse(toFile));
      const selfish =
        'derivation { name = "selfish"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" "echo $out and $out > $out" ]; }';
      await writeFile(builder.path('/root/selfish.nix'), selfish);
      const built = await builder.output('nix-build', '--no-out-link', '/root/selfish.nix');
      const rewritten = await builder.output('nix', 'store', 'make-content-addressed', '--json', built);
      paths.push((JSON.parse(rewritten) as { rewrites: Record<string, string> }).rewrites[built] as string);

      for (const compression of ['none', 'gzip']) {
        const config = `upstreams = []\n[push]\ntrusted_keys = ["${publicKeyIn(await keygen(t))}"]\n`;
        const service = await startService(t, { config });
        await builder.output('nix', 'copy', '--to', `${service.url}?compression=${compression}`, ...paths);
        const reader = await teamMachine(t, client);
        await reader.output('nix', 'copy', '--from', service.url, ...paths);
        for (const path of paths) assert.ok(await reader.has(path), `${path} in ${compression}`);
      }
    });

    test(`${name} refuses a path that is named by other contents than it has`, { skip }, async (t) => {
      const bytes = nar({ type: 'regular', contents: Buffer.from('what it says not\n') });
      const flat = sha256('what it says\n');
      const base = pathFor('text', flat, 'lie');
      const packed = compress(bytes, 'xz');
      const text = narInfoOf(base, bytes, {
        file: packed,
        compression: 'xz',
        ca: `text:sha256:${flat.toString('hex')}`,
      });
      const service = await startService(t);
      for (const [path, body] of [
        [`/${field(text, 'URL')}`, packed],
        [`/${base.slice(0, 32)}.narinfo`, text],
      ] as const)
        assert.equal((await put(service.url, path, body)).status, 200);
      const reader = await teamMachine(t, client, `substituters = ${service.url}`);
      const { code, stderr } = await reader.run(['nix-store', '--realise', `/nix/store/${base}`]);
      assert.notEqual(code, 0);
      assert.match(stderr, /hash mismatch importing path/);
      assert.ok(!(await reader.has(`/nix/store/${base}`)));
    });
  }
});
