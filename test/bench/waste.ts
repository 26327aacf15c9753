// What is fetched ahead and nobody asks for, of what a real client does in a row: a build, an update, a push, a dry run, and a build that
// is ended at half of its NARs.
import { writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { parseConfig } from '../../lib/config/config.ts';
import { openStorage } from '../../lib/engine.ts';
import { type Service, startService } from '../fixtures/service.ts';
import { nix, serveClosure } from './closure.ts';
import { atMost, type Benchmark, type Figure } from './figure.ts';
import { startLine } from './line.ts';

const SHAPE = { levels: 10, width: 30, bytes: 20_000 };
/** An update of the upper two levels; one that another client built elsewhere; one that is only looked at; one that is left half-way. */
const VARIANTS = [
  { name: 'update', from: 8 },
  { name: 'elsewhere', from: 0 },
  { name: 'looked-at', from: 0 },
  { name: 'left', from: 0 },
];
/** Until what is on its way has come, or was given up. */
const SETTLED_MS = 6000;

export const waste: Benchmark = async (t) => {
  const source = await serveClosure(t, SHAPE, VARIANTS);
  const [update = '', elsewhere = '', lookedAt = '', left = ''] = source.others;
  const upstream = `https://127.0.0.1:${await startLine(t, source.port, { roundTripMs: 100 })}`;
  const direct = `https://127.0.0.1:${source.port}`;
  const service = await startService(t, {
    config: `[[upstreams]]\nurl = "${upstream}"\nca_file = "${source.caFile}"\n[push]\nfrom = ["127.0.0.1"]\n`,
  });
  const machine = await nix('2.34').machine(t);
  await writeFile(machine.path('/root/ca.pem'), source.ca);
  await writeFile(machine.path('/root/own.txt'), 'made here\n');
  const options = ['--option', 'ssl-cert-file', '/root/ca.pem', '--option', 'require-sigs', 'false'];
  const through = ['--option', 'substituters', service.url, ...options];

  await machine.output('nix', 'build', '--no-link', ...through, source.top);
  await machine.output('nix', 'build', '--no-link', ...through, update);
  await machine.output('nix', 'copy', '--no-check-sigs', ...options, '--from', direct, elsewhere);
  const own = await machine.output('nix-store', '--add', '/root/own.txt');
  await machine.output('nix', 'copy', ...options, '--to', service.url, own, update, elsewhere);
  await machine.output('nix', 'build', '--no-link', '--dry-run', ...through, lookedAt);
  await delay(SETTLED_MS);
  const whole = await unasked(service);

  const ending = new AbortController();
  const before = narsAsked(service.log()).size;
  const half = (SHAPE.levels * SHAPE.width) / 2;
  const ended = machine.run(['nix', 'build', '--no-link', ...through, left], { signal: ending.signal });
  while (narsAsked(service.log()).size < before + half) await delay(5);
  ending.abort();
  await ended;
  await delay(SETTLED_MS);
  return [
    figure('build, update, push, dry run', whole, 0.05),
    figure('the same, and a build that is ended at half of its NARs', await unasked(service), 0.25),
  ];
};

interface Fetched {
  readonly bytes: number;
  readonly unaskedBytes: number;
}

/** Of all that came from the upstream, what no client has asked for. */
async function unasked(service: Service): Promise<Fetched> {
  const config = parseConfig(`cache_dir = "${service.dir}"`, { file: '/cache.toml' });
  const storage = await openStorage(config, () => {});
  const log = await service.wholeLog();
  const infos = new Set(
    [...log.matchAll(/ (?:GET|HEAD) (\/\w{32}\.narinfo) 200 /g)].map(([, path = '']) => path),
  );
  const nars = narsAsked(log);
  let [bytes, unaskedBytes] = [0, 0];
  for await (const { origin, path, size } of storage.store.list()) {
    if (origin === 'push') continue;
    bytes += size;
    if (!(infos.has(path ?? '') || nars.has(path ?? ''))) unaskedBytes += size;
  }
  return { bytes, unaskedBytes };
}

/** The paths under which those are stored that clients have asked for. */
function narsAsked(log: string): Set<string> {
  const all = log.matchAll(/ GET \/nar\/\w{32}-(\S+) 200 /g);
  return new Set([...all].map(([, name]) => `/nar/${name}`));
}

function figure(what: string, { bytes, unaskedBytes }: Fetched, most: number): Figure {
  const kilobytes = (count: number) => `${Math.round(count / 1000)} kB`;
  return {
    what: `fetched ahead and never asked for, Nix 2.34: ${what}`,
    measured: kilobytes(unaskedBytes),
    beside: `of ${kilobytes(bytes)} in all`,
    ...atMost(unaskedBytes / bytes, most),
  };
}
