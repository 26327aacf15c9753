// The README's post-build hook, as it stands there, run by real clients.
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { projectRoot } from '../fixtures/project.ts';
import { startService } from '../fixtures/service.ts';
import { clients, type Machine } from './client.ts';
import { buildClosure, hashPart } from './closure.ts';
import { TOKENS, teamMachine, tokenTable, urlOf, writeNetrc } from './trust.ts';

/** Puts the hook on the machine, pushing to `url`. */
async function installHook(machine: Machine, url: string): Promise<string> {
  const readme = await readFile(join(projectRoot, 'README.md'), 'utf8');
  const script = /```sh\n(#!\/bin\/sh\n[^`]*OUT_PATHS[^`]*)```/.exec(readme)?.[1] ?? '';
  assert.ok(script.includes('http://cache.example.org:8080'), 'the README has the hook');
  const hook = '/root/hook.sh';
  await writeFile(machine.path(hook), script.replace('http://cache.example.org:8080', url), { mode: 0o755 });
  return hook;
}

for (const client of clients) {
  const { name, skip, machine: makeMachine } = client;

  test(`${name} pushes with the README's hook and a token in /etc/nix/netrc whatever it builds`, {
    skip,
  }, async (t) => {
    const machine = await teamMachine(t, client);
    const service = await startService(t, { config: `upstreams = []\n${tokenTable('push')}` });
    await writeNetrc(machine, TOKENS.push);
    const hook = await installHook(machine, urlOf(service));
    // Nix 2.8 leaves a chroot, which the machine is, before it runs a hook: there it is run by hand.
    const byNix = !(await machine.output('nix', '--version')).endsWith(' 2.8.0');
    const options = byNix ? ['--option', 'post-build-hook', hook] : [];
    const closure = await buildClosure(machine, 1, ...options);
    if (!byNix) await machine.output('env', `OUT_PATHS=${[...closure.paths.keys()].join(' ')}`, hook);
    for (const path of closure.paths.keys()) {
      assert.equal((await fetch(`${service.url}/${hashPart(path)}.narinfo`)).status, 200, path);
    }
  });

  test(`${name} builds all the same when the hook finds no cache`, { skip }, async (t) => {
    const machine = await makeMachine(t);
    const service = await startService(t);
    await service.stop();
    const hook = await installHook(machine, service.url);
    const closure = await buildClosure(machine, 1);
    const { code, stderr } = await machine.run(['env', `OUT_PATHS=${closure.top}`, hook]);
    assert.equal(code, 0);
    assert.match(stderr, /not pushed to the binary cache/);
  });
}
