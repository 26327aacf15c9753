// What a team sets up to push and to substitute, with signatures demanded throughout: the service's name, its signing key,
// tokens in a netrc, and clients whose nix.conf is that of docs/push.md.
import assert from 'node:assert/strict';
import { appendFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Owner, temporaryFolder } from '../../fixtures/defer.ts';
import { program } from '../../fixtures/project.ts';
import type { Relay } from '../../fixtures/relay.ts';
import { type Outcome, output } from '../../fixtures/run.ts';
import type { Service } from '../../fixtures/service.ts';
import { storedFiles } from '../../fixtures/stored-files.ts';
import { serveFolder } from '../fixtures/nginx.ts';
import type { Client, Machine } from './client.ts';
import { assertHolds, type Closure, hashPart } from './closure.ts';

/** What clients call the service. */
export const HOST = 'cache.example.org';

/** Tokens by what they may do; `other` is none of the service's. */
export const TOKENS = {
  push: 'c19f0e1d4b6a4f6fbd7e',
  pull: 'a3b7d5e0f2944c1c8e6d',
  other: '77e0c2d94ab14b0f93a1',
} as const;

/** The configuration of the token that may do that, at the end of the others. */
export function tokenTable(right: 'push' | 'pull', secret: string = TOKENS[right]): string {
  return `[[tokens]]\nname = "${right}er"\ntoken = "${secret}"\nallow = ["${right}"]\n`;
}

export interface SigningKey {
  /** The secret key's file. */
  readonly file: string;
  /** The line in a client's nix.conf that trusts it. */
  readonly trust: string;
  /** The configuration of a service that signs with it. */
  readonly table: string;
}

/** A key made by our own `keygen`, with the line it prints. */
export async function keygen(t: Owner, name = 'cache.example.org-1'): Promise<SigningKey> {
  const cwd = await temporaryFolder(t, 'key');
  const printed = await output(process.execPath, [program, 'keygen', name], { cwd });
  const trust = printed.split('\n').find((line) => line.startsWith('extra-trusted-public-keys = '));
  assert.ok(trust, printed);
  return signingKey(join(cwd, `${name}.secret`), trust);
}

/** A key made by the client's own Nix, at `/root/NAME.secret` on the machine. */
export async function keyOfNix(machine: Machine, name: string): Promise<SigningKey> {
  const [secret, open] = [`/root/${name}.secret`, `/root/${name}.public`];
  await machine.output('nix-store', '--generate-binary-cache-key', name, secret, open);
  const publicKey = await machine.output('cat', open);
  return signingKey(machine.path(secret), `extra-trusted-public-keys = ${publicKey}`);
}

/** A binary cache folder on the machine, served by nginx, with the closure as Nix signs it with a new key of that name. */
export async function serveSigned(
  t: Owner,
  machine: Machine,
  keyName: string,
  { top }: Pick<Closure, 'top'>,
  settings = '',
): Promise<{ upstream: Relay; folder: string; key: SigningKey }> {
  const key = await keyOfNix(machine, keyName);
  await machine.output(
    'nix',
    'copy',
    '--to',
    `file:///srv?secret-key=/root/${keyName}.secret${settings}`,
    top,
  );
  const folder = machine.path('/srv');
  return { upstream: await serveFolder(t, folder), folder, key };
}

function signingKey(file: string, trust: string): SigningKey {
  return { file, trust, table: `[signing]\nkey_file = "${file}"\n` };
}

/** The public key of a line that trusts it. */
export function publicKeyIn({ trust }: SigningKey): string {
  return trust.replace(/^.* = /, '');
}

/** A machine that demands signatures, knows the service by name, and has these lines in its nix.conf. */
export async function teamMachine(t: Owner, client: Client, ...lines: string[]): Promise<Machine> {
  const machine = await client.machine(t);
  await writeFile(machine.path('/etc/hosts'), `127.0.0.1 ${HOST}\n`);
  await writeFile(machine.path('/etc/nsswitch.conf'), 'hosts: files\n');
  await appendFile(machine.path('/etc/nix/nix.conf'), `require-sigs = true\n${lines.join('\n')}\n`);
  return machine;
}

/** The service's URL by its name; what stands before the name is a user and password. */
export function urlOf({ url }: Service, before = ''): string {
  return url.replace('127.0.0.1', `${before}${HOST}`);
}

/** Gives the machine the token for the service, where Nix looks for it without being told. */
export function writeNetrc(machine: Machine, token: string): Promise<void> {
  const line = `machine ${HOST} login ci password ${token}\n`;
  return writeFile(machine.path('/etc/nix/netrc'), line, { mode: 0o600 });
}

/** Pushes the closure, or so much of it as the cache lacks. */
export function push(machine: Machine, url: string, { top }: Closure): Promise<Outcome> {
  return machine.run(['nix', 'copy', '--to', url, top]);
}

/** Pushes the closure, which must work. */
export async function pushed(machine: Machine, url: string, closure: Closure): Promise<void> {
  const { code, stderr } = await push(machine, url, closure);
  assert.equal(code, 0, stderr);
}

/** Has the machine substitute the closure with what its nix.conf says, whatever comes of it. */
export function realise(machine: Machine, { top }: Closure): Promise<Outcome> {
  // Without a root Nix 2.8 warns.
  return machine.run(['nix-store', '--realise', top, '--add-root', '/root/result']);
}

/** A new machine with these lines in its nix.conf substitutes the whole closure from the cache, without a word. */
export async function assertSubstitutes(
  t: Owner,
  client: Client,
  url: string,
  closure: Closure,
  ...lines: string[]
): Promise<void> {
  const machine = await teamMachine(t, client, `extra-substituters = ${url}`, ...lines);
  const { code, stderr } = await realise(machine, closure);
  assert.equal(code, 0, stderr);
  assert.doesNotMatch(stderr, /error|warning/);
  await assertHolds(machine, closure);
}

/** Fails unless the machine gets nothing of the closure; what it says. */
export async function assertGetsNothing(machine: Machine, closure: Closure): Promise<string> {
  const { code, stderr } = await realise(machine, closure);
  assert.notEqual(code, 0);
  for (const path of closure.paths.keys()) assert.ok(!(await machine.has(path)), `${path} is valid`);
  return stderr;
}

/** Fails if the service holds, or says that it has, any path of the closure. */
export async function assertUnknown({ url, dir }: Service, closure: Closure): Promise<void> {
  const stored = await storedFiles(dir, true);
  for (const path of closure.paths.keys()) {
    const name = `/${hashPart(path)}.narinfo`;
    assert.ok(!stored.has(name), `${path} is stored`);
    assert.equal((await fetch(url + name)).status, 404, `${path} is visible`);
  }
}
