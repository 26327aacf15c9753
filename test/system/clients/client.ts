// Real Nix clients of three releases behind one interface. Each runs in a root folder of its own: /usr is
// bound to that of the release, everything else (/nix, /root, /etc, /tmp) is the test's, so that its store and
// its caches start empty and nothing of the machine is touched. Mounts live in the namespaces of one command
// and vanish with it.

import { createHash } from 'node:crypto';
import { lstatSync, readFileSync } from 'node:fs';
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Owner, temporaryFolder } from '../../fixtures/defer.ts';
import { projectRoot } from '../../fixtures/project.ts';
import { type Outcome, output, type RunOptions, run } from '../../fixtures/run.ts';
import { needRoot } from '../fixtures/need-root.ts';

const makeRoot = join(projectRoot, 'test/outside/nix-clients/make-root.sh');

/** A release of Nix. */
export interface Client {
  readonly name: string;
  /** For `{ skip }`. */
  readonly skip: string | false;
  /** A computer with this release, an empty store and empty caches, which goes with the test. */
  machine(t: Owner): Promise<Machine>;
}

/** This machine's own release, then those of newer Debians. */
export const clients: readonly Client[] = [
  client("this machine's nix", needRoot('unshare', 'nix'), async () => '/usr'),
  ...['trixie', 'forky'].map((suite) =>
    client(`${suite}'s nix`, needRoot('unshare', 'flock', 'mmdebstrap'), async () =>
      join(await release(suite), 'usr'),
    ),
  ),
];

function client(name: string, skip: string | false, usr: () => Promise<string>): Client {
  return { name, skip, machine: async (t) => Machine.make(t, await usr()) };
}

/**
 * The root folder of another Debian release with its Nix, made once for this machine and the script as it is.
 * The lock is the kernel's: it goes with its holder, and a half-made root is made anew by the script.
 */
async function release(suite: string): Promise<string> {
  const cache = join(tmpdir(), 'nix-binary-cache-clients');
  await mkdir(cache, { recursive: true, mode: 0o700 });
  // Anyone may make a folder of this name in /tmp; what is in it will be run as root.
  const { uid, mode } = lstatSync(cache);
  if (uid !== process.getuid?.() || (mode & 0o170022) !== 0o040000) throw new Error(`${cache} is not ours`);
  const version = createHash('sha256').update(readFileSync(makeRoot)).digest('hex').slice(0, 8);
  const root = join(cache, `${suite}-${version}`);
  await output('flock', [cache, 'bash', makeRoot, suite, root]);
  return root;
}

// $1 the release's /usr, $2 the machine's root, then the command.
const enter = `
  usr=$1 root=$2; shift 2
  mount --bind "$usr" "$root/usr" && mount -o remount,bind,ro "$root/usr" &&
  mount --rbind /dev "$root/dev" && mount -t proc proc "$root/proc" &&
  exec chroot "$root" /usr/bin/env -i HOME=/root PATH=/usr/bin:/bin "$@"`;

const nixConf = `sandbox = false
build-users-group =
experimental-features = nix-command
substituters =
fsync-metadata = false
`;

export class Machine {
  /** The folder that is / to the client. */
  readonly root: string;
  readonly #usr: string;

  private constructor(root: string, usr: string) {
    this.root = root;
    this.#usr = usr;
  }

  /** An empty machine whose /usr is that folder. */
  static async make(t: Owner, usr: string): Promise<Machine> {
    const root = await temporaryFolder(t, 'machine');
    for (const folder of ['usr', 'nix', 'root', 'tmp', 'proc', 'dev', 'etc/nix'])
      await mkdir(join(root, folder), { recursive: true });
    for (const link of ['bin', 'lib', 'lib64']) await symlink(`usr/${link}`, join(root, link));
    await writeFile(join(root, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\n');
    await writeFile(join(root, 'etc/group'), 'root:x:0:\n');
    await writeFile(join(root, 'etc/nix/nix.conf'), nixConf);
    return new Machine(root, usr);
  }

  /** Runs a command to its end, whatever that is. */
  run(command: readonly string[], options?: RunOptions): Promise<Outcome> {
    return run('unshare', this.#unshare(command), options);
  }

  /** Runs a command that must succeed; its standard output. */
  async output(...command: string[]): Promise<string> {
    return (await output('unshare', this.#unshare(command))).trim();
  }

  /** A file of the machine, as this process sees it. */
  path(inside: string): string {
    return join(this.root, inside);
  }

  /** Whether the store has this path; what a failed substitution left on disk does not count. */
  async has(storePath: string): Promise<boolean> {
    return (await this.run(['nix-store', '--check-validity', storePath])).code === 0;
  }

  /** Deletes everything in the store; what the client remembers of binary caches stays. */
  async collectGarbage(): Promise<void> {
    await this.output('nix-collect-garbage', '--quiet');
  }

  /** Makes the client forget what it knows of binary caches, as days and weeks would. */
  async forget(): Promise<void> {
    await rm(this.path('/root/.cache'), { recursive: true, force: true });
  }

  // Killing unshare takes everything in the process namespace along.
  #unshare(command: readonly string[]): string[] {
    const namespaces = ['--mount', '--pid', '--fork', '--kill-child'];
    return [...namespaces, 'sh', '-c', enter, 'sh', this.#usr, this.root, ...command];
  }
}
