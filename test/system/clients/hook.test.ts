// The post-build hook of docs/push.md, as it stands there, run by real clients: only the URL is another, and it waits less for a cache that
// hangs.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { defer, type Owner } from '../../fixtures/defer.ts';
import { deadPort } from '../../fixtures/origin.ts';
import { projectRoot } from '../../fixtures/project.ts';
import type { Outcome } from '../../fixtures/run.ts';
import { type Service, startService } from '../../fixtures/service.ts';
import { type Client, clients, type Machine } from './client.ts';
import { buildClosure, type Closure, hashPart } from './closure.ts';
import { TOKENS, teamMachine, tokenTable, urlOf, writeNetrc } from './trust.ts';

const HOOK = '/root/hook.sh';
const LATER = '/nix/var/nix/push-later';
const CONFIG = `upstreams = []\n${tokenTable('push')}`;

/** Puts the hook on the machine, pushing to `url`. */
async function installHook(machine: Machine, url: string): Promise<void> {
  const text = await readFile(join(projectRoot, 'docs/push.md'), 'utf8');
  let script = /```sh\n(#!\/bin\/sh\n[^`]*OUT_PATHS[^`]*)```/.exec(text)?.[1] ?? '';
  for (const [from, to] of [
    ['cache=http://cache.example.org:8080', `cache=${url}`],
    ['stalled-download-timeout 60', 'stalled-download-timeout 2'],
  ] as const) {
    assert.ok(script.includes(from), `docs/push.md has the hook with ${from}`);
    script = script.replace(from, to);
  }
  await writeFile(machine.path(HOOK), script, { mode: 0o755 });
}

/** Runs the hook as Nix does after it has built the path. It never fails. */
async function runHook(machine: Machine, path: string): Promise<Outcome> {
  const drv = await machine.output('nix-store', '--query', '--deriver', path);
  const given = (await isNix28(machine)) ? [] : [`OUT_PATHS=${path}`];
  const outcome = await machine.run(['env', `DRV_PATH=${drv}`, ...given, HOOK]);
  assert.equal(outcome.code, 0, outcome.stderr);
  return outcome;
}

async function isNix28(machine: Machine): Promise<boolean> {
  return (await machine.output('nix', '--version')).endsWith(' 2.8.0');
}

/** What is noted, but for the mark of a failure. */
function noted(machine: Machine): string[] {
  return readdirSync(machine.path(LATER)).filter((name) => !name.startsWith('.'));
}

const isPushed = async ({ url }: Service, path: string) =>
  (await fetch(`${url}/upload/${hashPart(path)}.narinfo`)).status === 200;

/** Ten minutes and more have gone by since the failure. */
async function later(machine: Machine): Promise<void> {
  const file = machine.path(`${LATER}/.failed`);
  await writeFile(file, `${Number(await readFile(file, 'utf8')) - 11 * 60}\n`);
}

async function builder(t: Owner, client: Client): Promise<{ machine: Machine; closure: Closure }> {
  const machine = await teamMachine(t, client);
  await writeNetrc(machine, TOKENS.push);
  return { machine, closure: await buildClosure(machine, 1) };
}

function named({ paths }: Closure, name: string): string {
  return [...paths.keys()].find((path) => path.endsWith(`-${name}`)) ?? assert.fail(name);
}

for (const client of clients) {
  const { name, skip } = client;

  test(`${name} pushes with the hook of docs/push.md and a token in /etc/nix/netrc whatever it builds`, {
    skip,
  }, async (t) => {
    const machine = await teamMachine(t, client);
    const service = await startService(t, { config: CONFIG });
    await writeNetrc(machine, TOKENS.push);
    await installHook(machine, urlOf(service));
    // Nix 2.8 leaves a chroot, which the machine is, before it runs a hook: there it is run by hand.
    const byNix = !(await isNix28(machine));
    const closure = await buildClosure(machine, 1, ...(byNix ? ['--option', 'post-build-hook', HOOK] : []));
    if (!byNix) for (const path of closure.paths.keys()) await runHook(machine, path);
    for (const path of closure.paths.keys()) assert.ok(await isPushed(service, path), path);
    assert.deepEqual(noted(machine), []);
  });

  test(`${name}: what the hook can't push is noted, and pushed when the cache is back`, {
    skip,
  }, async (t) => {
    const { machine, closure } = await builder(t, client);
    const down = await startService(t, { config: CONFIG });
    await down.stop();
    await installHook(machine, urlOf(down));
    const [tool, file] = [named(closure, 'tool+g++_1.0'), named(closure, 'file.txt')];
    assert.match((await runHook(machine, closure.noise)).stderr, /not pushed to the binary cache, but noted/);
    const service = await startService(t, { config: CONFIG, dir: down.dir });
    await installHook(machine, urlOf(service));
    assert.equal((await runHook(machine, tool)).stderr, '', 'nothing is tried for ten minutes');
    assert.ok(!(await isPushed(service, tool)));
    // One that is gone by then, and one that is no path at all.
    await writeFile(machine.path(`${LATER}/00000000000000000000000000000000-collected`), '');
    await writeFile(machine.path(`${LATER}/nonsense`), '');
    assert.equal(noted(machine).length, 4);
    await later(machine);
    await runHook(machine, file);
    for (const path of [closure.noise, tool, file]) assert.ok(await isPushed(service, path), path);
    assert.deepEqual(noted(machine), []);
    assert.ok(!readdirSync(machine.path(LATER)).includes('.failed'));
  });

  test(`${name}: with a dead upstream the hook pushes to /upload; a cache that hangs costs little, once`, {
    skip,
  }, async (t) => {
    const { machine, closure } = await builder(t, client);
    const upstream = `[[upstreams]]\nurl = "http://127.0.0.1:${await deadPort()}"\n`;
    const service = await startService(t, { config: `${tokenTable('push')}${upstream}` });
    await installHook(machine, urlOf(service));
    assert.equal((await runHook(machine, closure.noise)).stderr, '');
    assert.ok(await isPushed(service, closure.noise));

    const hanging = await startHanging(t);
    await installHook(machine, hanging.url);
    const began = performance.now();
    assert.match((await runHook(machine, closure.top)).stderr, /not pushed .*top/s);
    assert.ok(performance.now() - began < 40_000, 'of 300 s');
    const asked = hanging.connections();
    assert.ok(asked > 0);
    await runHook(machine, named(closure, 'file.txt'));
    assert.equal(hanging.connections(), asked, 'once only');
    assert.equal(noted(machine).length, 2);
  });
}

test('hooks that run at once lose nothing', { skip: clients[0]?.skip }, async (t) => {
  const { machine, closure } = await builder(t, clients[0] as Client);
  const paths = [...closure.paths.keys()];
  const service = await startService(t, { config: CONFIG });
  await service.stop();
  await installHook(machine, urlOf(service));
  await Promise.all([...paths, ...paths].map((path) => runHook(machine, path)));
  assert.deepEqual(noted(machine).sort(), paths.map((path) => path.slice('/nix/store/'.length)).sort());
  const back = await startService(t, { config: CONFIG, dir: service.dir });
  await installHook(machine, urlOf(back));
  await later(machine);
  await Promise.all([...paths, ...paths].map((path) => runHook(machine, path)));
  for (const path of paths) assert.ok(await isPushed(back, path), path);
  assert.deepEqual(noted(machine), []);
});

/** A cache that takes connections and says nothing. */
async function startHanging(t: Owner): Promise<{ url: string; connections: () => number }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => sockets.add(socket.on('error', () => {})));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  defer(t, async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, connections: () => sockets.size };
}
