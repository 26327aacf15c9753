// A small closure that a test builds without network: five paths that refer to one another, one of them big
// and incompressible, one big and empty. Its builders fail unless the machine permits building, so that a
// store path that appears without permission was substituted.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import type { Machine } from './client.ts';

const expression = '/root/closure.nix';
const permission = '/root/may-build';

export interface Closure {
  /** The path that refers to all others. */
  readonly top: string;
  /** The big incompressible path. */
  readonly noise: string;
  /** All paths, with the hash of their contents. */
  readonly paths: ReadonlyMap<string, string>;
}

/** Makes the closure's derivations known to the machine, as another's with that size has them. */
export async function instantiateClosure(machine: Machine, megabytes: number): Promise<void> {
  await writeFile(
    machine.path(expression),
    `let
  make = name: script: inputs: derivation (inputs // {
    inherit name;
    system = builtins.currentSystem;
    builder = "/bin/sh";
    args = [ "-c" "[ -e ${permission} ] || exit 9; PATH=/usr/bin; echo making $name; \${script}" ];
  });
  noise = make "noise" "mkdir $out; head -c ${megabytes * 1_000_000} /dev/urandom > $out/noise" { };
  zeros = make "zeros" "mkdir $out; head -c ${megabytes * 2_000_000} /dev/zero > $out/zeros" { };
  tool = make "tool+g++_1.0" ''
    mkdir -p $out/bin $out/lib/debug/.build-id/ab "$out/a dir/ü"
    echo "echo $noise" > $out/bin/tool; chmod +x $out/bin/tool
    ln -s bin/tool $out/link; ln -s $out $out/self; : > $out/empty
    echo symbols > $out/lib/debug/.build-id/ab/cdef0123456789abcdef0123456789abcdef01.debug
  '' { inherit noise; };
  file = make "file.txt" "echo $zeros > $out" { inherit zeros; };
in make "top" "echo $noise $zeros $tool $file > $out" { inherit noise zeros tool file; }
`,
  );
  await machine.output('nix-instantiate', '--quiet', expression);
}

/** Builds the closure on the machine, with an incompressible part of so many megabytes. */
export async function buildClosure(
  machine: Machine,
  megabytes: number,
  ...options: string[]
): Promise<Closure> {
  await instantiateClosure(machine, megabytes);
  await permitBuilding(machine);
  const top = await machine.output('nix-build', '--no-out-link', expression, ...options);
  await rm(machine.path(permission));
  const paths = (await machine.output('nix-store', '--query', '--requisites', top)).split('\n');
  const noise = paths.find((path) => path.endsWith('-noise'));
  assert.equal(paths.length, 5);
  assert.ok(noise);
  return { top, noise, paths: await contents(machine, paths) };
}

/** From now on the builders do not refuse. */
export async function permitBuilding(machine: Machine): Promise<void> {
  await writeFile(machine.path(permission), '');
}

/** The command that makes the closure's top, which the builders refuse: so only a substituter can. */
export function realiseClosure(...options: string[]): string[] {
  return ['nix-build', '--no-out-link', expression, ...options];
}

/** The hash of each path's contents, read from disk. */
export async function contents(machine: Machine, paths: Iterable<string>): Promise<Map<string, string>> {
  const list = [...paths];
  const hashes = (await machine.output('nix', 'hash', 'path', ...list)).split('\n');
  return new Map(list.map((path, i) => [path, hashes[i] ?? '']));
}

/** Fails unless the machine's store holds the whole closure with the contents that were built. */
export async function assertHolds(machine: Machine, closure: Closure): Promise<void> {
  for (const path of closure.paths.keys()) assert.ok(await machine.has(path), `${path} is missing`);
  assert.deepEqual(await contents(machine, closure.paths.keys()), closure.paths);
}

/** Fails if anything of the closure is in the machine's store, or left on its disk. */
export async function assertLacks(machine: Machine, closure: Closure): Promise<void> {
  for (const path of closure.paths.keys()) {
    assert.ok(!(await machine.has(path)), `${path} is still valid`);
    assert.ok(!existsSync(machine.path(path)), `${path} is still on disk`);
  }
}

/** The hash in a store path, by which caches name its narinfo. */
export function hashPart(storePath: string): string {
  return storePath.slice('/nix/store/'.length).slice(0, 32);
}

/** Two derivations, of which one refers to the other, whose outputs are named by their contents; they build as the closure does. */
export const contentAddressed = `let
  make = name: script: inputs: derivation (inputs // {
    inherit name;
    system = builtins.currentSystem;
    builder = "/bin/sh";
    args = [ "-c" "[ -e /root/may-build ] || exit 9; echo making $name; \${script}" ];
    __contentAddressed = true;
    outputHashMode = "recursive";
    outputHashAlgo = "sha256";
  });
  base = make "base" "echo base > $out" { };
in make "dependent" "echo $base > $out" { inherit base; }
`;
