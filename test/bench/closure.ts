// A closure of small paths at a real nginx with TLS and HTTP/2, and real Nix clients that fetch it.
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Owner, temporaryFolder } from '../fixtures/defer.ts';
import { deadPort } from '../fixtures/origin.ts';
import { output } from '../fixtures/run.ts';
import { makeAuthority } from '../fixtures/tls.ts';
import { type Client, clients, type Machine } from '../system/clients/client.ts';
import { locate } from '../system/fixtures/need.ts';
import { startNginx } from '../system/fixtures/nginx.ts';

/** How many levels of how many paths; each names three of the level before. `bytes`: of each path beside the names. */
export interface Shape {
  readonly levels: number;
  readonly width: number;
  readonly bytes: number;
}

/** That of `test/outside/bench/dag.nix`: 601 paths. */
export const USUAL: Shape = { levels: 12, width: 50, bytes: 0 };

/** Another closure, whose levels from that one on are others: from 0 on it shares nothing. */
export interface Variant {
  readonly name: string;
  readonly from: number;
}

export interface Source {
  /** The one path that leads to all others. */
  readonly top: string;
  /** Those of the variants. */
  readonly others: readonly string[];
  /** How many paths there are. */
  readonly count: number;
  /** What its NARs take as they are sent, in bytes. */
  readonly narBytes: number;
  /** The port at which nginx serves it, with TLS and HTTP/2. */
  readonly port: number;
  /** PEM, of nginx's certificate. */
  readonly ca: string;
  /** The same in a file. */
  readonly caFile: string;
  readonly nginx: string;
}

/** Makes the closure and serves it until its owner ends. Files are packed with xz, as `nix copy` does. */
export async function serveClosure(
  t: Owner,
  shape: Shape,
  variants: readonly Variant[] = [],
): Promise<Source> {
  const machine = await nix('2.34').machine(t);
  const tops: string[] = [];
  for (const variant of [{ name: '', from: shape.levels }, ...variants]) {
    await writeFile(machine.path('/root/dag.nix'), expression(shape, variant));
    const evaluate = ['nix-instantiate', '--eval', '--read-write-mode', '--json', '/root/dag.nix'];
    tops.push(JSON.parse(await machine.output(...evaluate)));
  }
  const [top = '', ...others] = tops;
  await machine.output('nix', 'copy', '--no-check-sigs', '--to', 'file:///up?compression=xz', ...tops);
  const folder = machine.path('/up');
  const narInfos = (await readdir(folder)).filter((name) => name.endsWith('.narinfo'));
  const sizes = narInfos.map(async (name) =>
    Number(/^FileSize: (\d+)$/m.exec(await readFile(join(folder, name), 'utf8'))?.[1]),
  );
  const narBytes = (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);

  const authority = makeAuthority();
  const { cert, key } = authority.issue('IP:127.0.0.1', 'DNS:localhost');
  const home = await temporaryFolder(t, 'tls');
  const file = async (name: string, text: string) => {
    await writeFile(join(home, name), text);
    return join(home, name);
  };
  const port = await deadPort();
  const tls = `ssl_certificate ${await file('cert.pem', cert)}; ssl_certificate_key ${await file('key.pem', key)};`;
  await startNginx(t, folder, `127.0.0.1:${port} ssl http2`, tls);
  const caFile = await file('ca.pem', authority.ca);
  return {
    ...{ top, others, count: narInfos.length, narBytes, port, ca: authority.ca, caFile },
    nginx: await versionOf('nginx', '-v'),
  };
}

function expression({ levels, width, bytes }: Shape, { from, name }: Variant): string {
  return `let
  w = ${width};
  mod' = a: b: a - b * (a / b);
  # Text that packs by half.
  filler = s: builtins.concatStringsSep "" (builtins.genList (i: builtins.hashString "sha256" "\${s} \${toString i}") ${Math.ceil(bytes / 64)});
  # What makes a level another one.
  of = n: if n < ${from} then "" else "${name}";
  lv = n: if n == 0 then builtins.genList (i: builtins.toFile "p-0-\${toString i}" "leaf \${toString i} \${filler "0 \${toString i}"}\${of 0}") w
    else let prev = lv (n - 1); in builtins.genList (i: builtins.toFile "p-\${toString n}-\${toString i}"
      "\${builtins.elemAt prev i} \${builtins.elemAt prev (mod' (i * 7 + 3) w)} \${builtins.elemAt prev (mod' (i + 11) w)} \${filler "\${toString n} \${toString i}"}\${of n}") w;
in builtins.toFile "top${name}" (builtins.concatStringsSep "\\n" (lv ${levels - 1}))
`;
}

/** The client with that release of Nix. */
export function nix(version: '2.8' | '2.26' | '2.34'): Client {
  const client = clients[['2.8', '2.26', '2.34'].indexOf(version)];
  if (client === undefined || client.skip) throw new Error(`Nix ${version}: ${client?.skip}`);
  return client;
}

/** `build`: as `nix build` does, narinfos first and NARs then. `copy`: `nix copy --from`. */
export type Way = 'build' | 'copy';

/** Milliseconds until a machine with an empty store and empty caches has the closure from the cache at `url`. */
export async function fetchClosure(
  t: Owner,
  version: '2.8' | '2.34',
  way: Way,
  url: string,
  source: Source,
): Promise<number> {
  const machine = await nix(version).machine(t);
  await writeFile(machine.path('/root/ca.pem'), source.ca);
  const command = [
    'nix',
    ...(way === 'build' ? ['build', '--no-link'] : ['copy', '--from', url, '--no-check-sigs']),
    ...['--option', 'ssl-cert-file', '/root/ca.pem', '--option', 'require-sigs', 'false'],
    ...(way === 'build' ? ['--option', 'substituters', url] : []),
    source.top,
  ];
  const started = performance.now();
  const { code, stderr } = await machine.run(command);
  const ms = performance.now() - started;
  if (code !== 0) throw new Error(`${command.join(' ')}: exit ${code}\n${stderr}`);
  await assertWhole(machine, source);
  return ms;
}

async function assertWhole(machine: Machine, { count, top }: Source): Promise<void> {
  const paths = await machine.output('nix-store', '--query', '--requisites', top);
  const found = paths.split('\n').length;
  if (found !== count) throw new Error(`expected ${count} paths, found ${found}`);
}

/** The first number with dots of what the program says of itself. */
export async function versionOf(program: string, argument: string): Promise<string> {
  const file = locate(program);
  if (file === undefined) throw new Error(`${program} is not installed`);
  // nginx writes it to standard error.
  const text = await output('sh', ['-c', '"$0" "$1" 2>&1', file, argument]);
  return `${program} ${/\d+(?:\.\d+)+/.exec(text)?.[0] ?? text.trim()}`;
}
