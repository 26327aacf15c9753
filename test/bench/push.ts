// A push of many small paths by the newest real Nix: what the service costs it, beside what this program cost at an earlier commit.
// The client's own work, which is the same, is measured by a copy to a folder and taken off.
import { writeFile } from 'node:fs/promises';
import { startService } from '../fixtures/service.ts';
import { clients, type Machine } from '../system/clients/client.ts';
import { BEFORE, programAt } from './baseline.ts';
import { atLeast, type Bench, type Figure, median, seconds } from './figure.ts';

const LEVELS = 20;
const WIDTH = 50;
const ROUNDS = 5;
const GOAL = 2;

/** Levels of text files, each of which names three of the level before; nothing is built. The text goes into every one of them. */
const DAG = `
  { round }: let
    mod = a: b: a - b * (a / b);
    level = n: builtins.genList (i: let
      before = level' (n - 1);
      pick = k: builtins.elemAt before (mod k ${WIDTH});
      names = if n == 0 then "" else "\${pick i} \${pick (i * 7 + 3)} \${pick (i + 11)}";
    in builtins.toFile "p-\${toString n}-\${toString i}" "\${round} \${toString i} \${names}") ${WIDTH};
    levels = builtins.genList level ${LEVELS};
    level' = builtins.elemAt levels;
  in builtins.toFile "top" (builtins.concatStringsSep "\\n" (level' ${LEVELS - 1}))
`;

export async function push(t: Bench): Promise<Figure[]> {
  const client = clients.at(-1);
  if (client === undefined || client.skip !== false) throw new Error(`no real Nix: ${client?.skip}`);
  const machine = await client.machine(t);
  const version = (await machine.output('nix', '--version')).replace(/^nix \(Nix\) /, '');
  await writeFile(machine.path('/root/dag.nix'), DAG);
  const now = await startService(t);
  const before = await startService(t, { program: await programAt(t, BEFORE) });
  const times = { plain: [] as number[], now: [] as number[], before: [] as number[] };
  for (let round = 0; round < (t.short ? 1 : ROUNDS); round++) {
    const top = await makePaths(machine, `round ${round}`);
    const copy = (to: string) => timeOf(machine, to, top);
    times.plain.push(await copy(`file:///root/plain-${round}`));
    // The disk's state must not favour one of them.
    const [one, other] = round % 2 === 0 ? ([now, before] as const) : ([before, now] as const);
    const [first, second] = [await copy(one.url), await copy(other.url)];
    times.now.push(round % 2 === 0 ? first : second);
    times.before.push(round % 2 === 0 ? second : first);
  }
  const plain = median(times.plain);
  const [ours, theirs] = [median(times.now) - plain, median(times.before) - plain];
  return [
    {
      what: `push of ${LEVELS * WIDTH + 1} small paths, Nix ${version}, less the client's own ${seconds(plain)}`,
      measured: seconds(ours),
      beside: `at ${BEFORE} ${seconds(theirs)}`,
      ...atLeast(theirs / ours, GOAL),
    },
  ];
}

async function makePaths(machine: Machine, round: string): Promise<string> {
  const said = await machine.output(
    ...['nix-instantiate', '--eval', '--read-write-mode', '--json', '--argstr', 'round', round],
    '/root/dag.nix',
  );
  return JSON.parse(said);
}

async function timeOf(machine: Machine, to: string, top: string): Promise<number> {
  const began = performance.now();
  await machine.output('nix', 'copy', '--to', to, top);
  return performance.now() - began;
}
