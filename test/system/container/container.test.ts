// The Dockerfile is built for real, on a base image made here, and the image's own command is run as its own
// user, in a network of its own so that port 8080 is free and nothing outside can be reached.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { chown, mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { defer, type Owner, temporaryFolder } from '../../fixtures/defer.ts';
import { projectRoot } from '../../fixtures/project.ts';
import { output, run } from '../../fixtures/run.ts';
import { makeAuthority } from '../../fixtures/tls.ts';
import { needRoot } from '../fixtures/need-root.ts';

const makeBaseImage = join(projectRoot, 'test/outside/container/make-base-image.sh');
const tag = `localhost/nix-binary-cache-test-${process.pid}`;
const isolation = ['--isolation', 'chroot'];
const skip = needRoot('buildah', 'mmdebstrap', 'flock', 'unshare', 'nsenter', 'ip');

/** Where the image looks for its configuration. */
const HOME = '/etc/nix-binary-cache';

/** What this test reads of the image's configuration. */
interface ImageConfig {
  readonly User: string;
  readonly Env: readonly string[];
  readonly Entrypoint: readonly string[];
  readonly Cmd: readonly string[];
  readonly WorkingDir: string;
  readonly StopSignal: string;
  readonly Volumes: object;
  readonly ExposedPorts: object;
  readonly Healthcheck: { readonly Test: readonly [string, ...string[]] };
}

test('the container image', { skip }, async (t) => {
  const config = await buildImage(t);

  await t.test('runs as a user without rights, on one port, with one volume and a health check', () => {
    assert.equal(config.User, 'node');
    assert.deepEqual(config.Volumes, { '/data': {} });
    assert.deepEqual(config.ExposedPorts, { '8080/tcp': {} });
    assert.equal(config.StopSignal, 'SIGTERM');
    assert.equal(config.Healthcheck.Test[0], 'CMD');
  });

  await t.test(
    'holds the program and its one dependency, and nothing that the service could change',
    async (t) => {
      const container = await createContainer(t);
      const inside = (...command: string[]) =>
        output('buildah', ['run', ...isolation, container, '--', ...command]);
      assert.equal(await inside('ls', '/opt/nix-binary-cache/node_modules'), 'smol-toml\n');
      assert.equal(await inside('ls', '/opt/nix-binary-cache/dist'), 'bin\n');
      assert.equal(await inside('find', '/opt', '/etc/nix-binary-cache', '-writable', '!', '-type', 'l'), '');
      assert.equal(await inside('stat', '--format', '%u:%g', '/data'), '1000:1000\n');
      assert.match(await inside(...config.Entrypoint, '--version'), /^\d+\.\d+\.\d+/);
    },
  );

  await t.test(
    'answers and takes uploads with no configuration, and keeps them over a restart',
    async (t) => {
      const data = await dataFolder(t);
      const name = '/log/00000000000000000000000000000000-hello.drv';

      const first = await startContainer(t, config, { data });
      assert.equal(first.uid, 1000);
      const { status, body } = await first.request('GET', '/nix-cache-info');
      assert.equal(status, 200);
      assert.match(body, /^StoreDir: \/nix\/store$/m);
      assert.equal((await first.request('PUT', name, 'a build log')).status, 401);
      const token = await pushToken(data);
      assert.match(String((await first.request('PUT', name, 'a build log', token)).status), /^20[014]$/);
      assert.deepEqual(await first.request('GET', name), { status: 200, body: 'a build log' });
      assert.equal(await first.stop(), 0);

      const second = await startContainer(t, config, { data });
      assert.equal(await pushToken(data), token);
      assert.deepEqual(await second.request('GET', name), { status: 200, body: 'a build log' });
      assert.equal(await second.stop(), 0);
    },
  );

  await t.test('is healthy while it serves, and not once it is down', async (t) => {
    const service = await startContainer(t, config, { data: await dataFolder(t) });
    assert.equal(await service.health(), 0);
    await service.stop();
    const { code } = await run('unshare', ['--net', ...healthCommand(config, await createContainer(t))]);
    assert.equal(code, 1);
  });

  await t.test('uses a cache.toml that is mounted', async (t) => {
    const data = await dataFolder(t);
    const file = join(await temporaryFolder(t, 'config'), 'cache.toml');
    await writeFile(file, 'priority = 17\nupstreams = []\n');
    const service = await startContainer(t, config, { data, mounts: [`${file}:${HOME}/cache.toml:ro`] });
    const { body } = await service.request('GET', '/nix-cache-info');
    assert.match(body, /^Priority: 17$/m);
    assert.equal(await service.stop(), 0);
  });

  await t.test('is healthy behind TLS too, also when clients need a certificate', async (t) => {
    const folder = await temporaryFolder(t, 'tls');
    const authority = makeAuthority();
    const files = { ...authority.issue('IP:127.0.0.1'), ca: authority.ca };
    for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
    const toml = 'upstreams = []\n[tls]\ncert_file = "cert"\nkey_file = "key"\nclient_ca_file = "ca"\n';
    await writeFile(join(folder, 'cache.toml'), toml);
    const mounts = ['cache.toml', ...Object.keys(files)].map(
      (name) => `${folder}/${name}:${HOME}/${name}:ro`,
    );
    const service = await startContainer(t, config, { data: await dataFolder(t), mounts });
    assert.equal(await service.health(), 0);
    assert.equal(await service.stop(), 0);
  });

  await t.test(
    'makes a key as docs/push.md says, which the service reads once it belongs to it',
    async (t) => {
      const text = readFileSync(join(projectRoot, 'docs/push.md'), 'utf8');
      const command = /^docker run --rm (.*) nix-binary-cache keygen (\S+)\nsudo chown 1000 (\S+)/m.exec(
        text,
      );
      const [, options, name = '', file = ''] = command ?? [];
      assert.equal(options, '-u "$(id -u):$(id -g)" -v "$PWD:/keys" -w /keys');
      // The same in buildah's words, for somebody whom the image does not know.
      const folder = await temporaryFolder(t, 'keys');
      await chown(folder, 4321, 4321);
      const run = [
        'run',
        ...isolation,
        '--user',
        '4321:4321',
        '--volume',
        `${folder}:/keys`,
        '--workingdir',
        '/keys',
      ];
      const container = await createContainer(t);
      const printed = await output('buildah', [
        ...run,
        container,
        '--',
        ...config.Entrypoint,
        'keygen',
        name,
      ]);
      assert.match(printed, new RegExp(`^#   key_file = "${file}"$`, 'm'));
      const { mode, uid } = await stat(join(folder, file));
      assert.deepEqual([mode & 0o777, uid], [0o600, 4321]);

      await writeFile(join(folder, 'cache.toml'), `upstreams = []\n[signing]\nkey_file = "${file}"\n`);
      const mounts = ['cache.toml', file].map((one) => `${folder}/${one}:${HOME}/${one}:ro`);
      const data = await dataFolder(t);
      await assert.rejects(startContainer(t, config, { data, mounts }), /signing\.key_file, .*EACCES/);
      await chown(join(folder, file), 1000, 4321);
      const service = await startContainer(t, config, { data, mounts });
      assert.equal(await service.stop(), 0);
    },
  );

  await t.test('runs and stops as process 1 of a read-only root', async (t) => {
    const data = await dataFolder(t);
    const service = await startAsInit(t, config, data);
    assert.equal((await service.request('GET', '/nix-cache-info')).status, 200);
    assert.match(await pushToken(data), /^\w{48}$/);
    assert.equal(await service.stop(), 0);
  });
});

/** Builds the image, on a base image that is made if this machine has none; both images' names are local. */
async function buildImage(t: Owner): Promise<ImageConfig> {
  const base = /^FROM (node:(\d+)-slim)/m.exec(readFileSync(join(projectRoot, 'Dockerfile'), 'utf8'));
  assert.ok(base?.[1] && base[2]);
  const images = await run('buildah', ['images', '--quiet', `docker.io/library/${base[1]}`]);
  if (images.code !== 0) await output('flock', [makeBaseImage, 'bash', makeBaseImage, base[2]]);
  // The stand-in for the registry's image is taken as it is; npm reaches its registry from within.
  const options = [...isolation, '--pull-never', '--format', 'docker', '--quiet', '--tag', tag];
  await output('buildah', ['bud', ...options, projectRoot]);
  defer(t, () => output('buildah', ['rmi', tag]));
  return JSON.parse(await output('buildah', ['inspect', '--type', 'image', tag])).Docker.config;
}

async function createContainer(t: Owner): Promise<string> {
  const name = (await output('buildah', ['from', '--pull-never', tag])).trim();
  defer(t, () => output('buildah', ['rm', name]));
  return name;
}

/** What an engine makes of a new volume: a folder that belongs to the image's user. */
async function dataFolder(t: Owner): Promise<string> {
  const folder = join(await temporaryFolder(t, 'container'), 'data');
  await mkdir(folder);
  await chown(folder, 1000, 1000);
  return folder;
}

/** The token in the push.netrc that the service made, which nobody but its user and root may read. */
async function pushToken(data: string): Promise<string> {
  const file = join(data, 'push.netrc');
  const { mode, uid } = await stat(file);
  assert.deepEqual([mode & 0o7777, uid], [0o600, 1000]);
  return /^machine localhost login push password (\w+)$/m.exec(readFileSync(file, 'utf8'))?.[1] ?? '';
}

function healthCommand({ Healthcheck: { Test } }: ImageConfig, container: string): string[] {
  const [, ...command] = Test;
  return ['buildah', 'run', ...isolation, container, '--', ...command];
}

interface Service {
  /** The user that the process has in fact. */
  readonly uid: number;
  /** With the token as a Bearer if there is one. */
  request(
    method: string,
    path: string,
    body?: string,
    token?: string,
  ): Promise<{ status: number; body: string }>;
  /** The exit code of the image's health check. */
  health(): Promise<number | null>;
  /** SIGTERM to the service; its exit code. */
  stop(): Promise<number | null>;
}

/** Runs the image's command in a container of its own. */
async function startContainer(
  t: Owner,
  config: ImageConfig,
  { data, mounts = [] }: { data: string; mounts?: readonly string[] },
): Promise<Service> {
  const container = await createContainer(t);
  // buildah mounts an anonymous volume of the image over the one it was given; engines do the reverse.
  await output('buildah', ['config', '--volume', '/data-', container]);
  const volumes = [`${data}:/data`, ...mounts].flatMap((one) => ['--volume', one]);
  const command = ['buildah', 'run', ...isolation, ...volumes, container, '--', ...config.Entrypoint];
  return startInNetwork(
    t,
    [...command, ...config.Cmd],
    async (pid) =>
      (
        await run('nsenter', [
          '--net',
          '--target',
          String(pid),
          ...healthCommand(config, await createContainer(t)),
        ])
      ).code,
  );
}

/** Runs the image's command as an engine with `read_only` would: as process 1, with only /data to write to. */
async function startAsInit(t: Owner, config: ImageConfig, data: string): Promise<Service> {
  const container = await createContainer(t);
  const root = (await output('buildah', ['mount', container])).trim();
  const script = `
    root=$1 data=$2; shift 2
    mount --bind "$root" "$root" && mount -o remount,bind,ro "$root" && mount --bind "$data" "$root/data" &&
    mount -t proc proc "$root/proc" && mount --rbind /dev "$root/dev" &&
    exec chroot --userspec=1000:1000 "$root" /usr/bin/env -i "$@"`;
  const command = [`--chdir=${config.WorkingDir}`, ...config.Env, ...config.Entrypoint, ...config.Cmd];
  return startInNetwork(t, ['sh', '-c', script, 'sh', root, data, ...command], async () => null);
}

/** Runs a command in namespaces of its own, which take along everything in them, and waits until it listens. */
async function startInNetwork(
  t: Owner,
  command: readonly string[],
  health: (pid: number) => Promise<number | null>,
): Promise<Service> {
  const namespaces = ['--net', '--pid', '--mount', '--mount-proc', '--fork', '--kill-child'];
  const child = spawn(
    'unshare',
    [...namespaces, 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh', ...command],
    {
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  );
  const ended = once(child, 'close');
  const kill = async () => {
    child.kill('SIGKILL');
    await ended;
  };
  defer(t, kill);
  await listening(child, ended);
  const pid = await findNode(child.pid as number);
  return {
    uid: Number(/^Uid:\t(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]),
    request: (method, path, body, token) => request(pid, method, path, body, token),
    health: () => health(pid),
    stop: async () => {
      process.kill(pid, 'SIGTERM');
      await ended;
      return child.exitCode;
    },
  };
}

function listening(child: ChildProcess, ended: Promise<unknown>): Promise<void> {
  return new Promise((resolve, reject) => {
    let log = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      log += text;
      if (/listening on https?:\/\/\S+:8080/.test(log)) resolve();
    });
    ended.then(() => reject(new Error(`the container ended with ${child.exitCode}: ${log}`)), reject);
  });
}

/** The Node process among the descendants of `pid`, as this process numbers it. */
async function findNode(pid: number): Promise<number> {
  for (const thread of await readdir(`/proc/${pid}/task`)) {
    const children = readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8')
      .trim()
      .split(' ')
      .filter(Boolean);
    for (const child of children.map(Number)) {
      const [program = ''] = readFileSync(`/proc/${child}/cmdline`, 'utf8').split('\0');
      if (basename(program) === 'node') return child;
      const found = await findNode(child).catch(() => undefined);
      if (found !== undefined) return found;
    }
  }
  throw new Error(`no node under ${pid}`);
}

const requester = `
  const [method, path, body, token] = process.argv.slice(1);
  const url = 'http://127.0.0.1:8080' + path;
  const headers = token ? { authorization: 'Bearer ' + token } : {};
  fetch(url, body ? { method, headers, body } : { method, headers })
    .then(async (answer) => console.log(JSON.stringify({ status: answer.status, body: await answer.text() })));
`;

/** A request from within the network of that process. */
async function request(pid: number, method: string, path: string, body = '', token = '') {
  const node = [process.execPath, '-e', requester, method, path, body, token];
  return JSON.parse(await output('nsenter', ['--net', '--target', String(pid), ...node]));
}
