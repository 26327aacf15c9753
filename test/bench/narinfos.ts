// Many narinfos that are not here yet, asked for at once over a long line, beside the same without the service: by 100 clients,
// and by one that does as nix-index does.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { encodeNix32 } from '../../lib/nix/nix32.ts';
import { temporaryFolder } from '../fixtures/defer.ts';
import { deadPort } from '../fixtures/origin.ts';
import { startService } from '../fixtures/service.ts';
import { makeAuthority } from '../fixtures/tls.ts';
import { startNginx } from '../system/fixtures/nginx.ts';
import { Child } from './child.ts';
import { versionOf } from './closure.ts';
import { atMost, type Bench, type Benchmark, type Figure, median, seconds } from './figure.ts';
import { startLine } from './line.ts';
import type { Question, Taken } from './narinfo-client.ts';

interface Trial {
  readonly what: string;
  readonly roundTripMs: number;
  readonly count: number;
  /** What is asked for of each path, in this order. */
  readonly endings: readonly string[];
  readonly patienceMs?: number;
}

const AT_ONCE = 100;
const ROUNDS = 5;
const TRIALS: readonly Trial[] = [
  { what: '600 cold narinfos, 100 clients', roundTripMs: 200, count: 600, endings: ['narinfo'] },
  {
    ...{ what: 'as nix-index, 355 paths, 100 at once, 1 s for each request', patienceMs: 1000 },
    ...{ roundTripMs: 250, count: 355, endings: ['narinfo', 'ls'] },
  },
];

export const narinfos: Benchmark = async (t) => {
  const folder = await temporaryFolder(t, 'narinfos');
  const www = join(folder, 'www');
  await mkdir(www);
  const hashes = Array.from({ length: 600 }, (_, index) => hashOf(index));
  await Promise.all(hashes.map((hash) => makePath(www, hash)));
  const authority = makeAuthority();
  const { cert, key } = authority.issue('IP:127.0.0.1');
  const caFile = join(folder, 'ca.pem');
  const [certFile, keyFile] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  await Promise.all([writeFile(caFile, authority.ca), writeFile(certFile, cert), writeFile(keyFile, key)]);
  const port = await deadPort();
  const tls = `ssl_certificate ${certFile}; ssl_certificate_key ${keyFile};`;
  await startNginx(t, www, `127.0.0.1:${port} ssl http2`, tls);
  const figures: Figure[] = [];
  for (const trial of TRIALS) figures.push(await measure(t, trial, { hashes, port, caFile }));
  return figures;
};

interface Served {
  readonly hashes: readonly string[];
  readonly port: number;
  readonly caFile: string;
}

async function measure(t: Bench, trial: Trial, { caFile, hashes, port }: Served): Promise<Figure> {
  const { count, endings, patienceMs, roundTripMs, what } = trial;
  const upstream = `https://127.0.0.1:${await startLine(t, port, { roundTripMs })}`;
  const client = new Child(t, 'narinfo-client');
  const series = hashes.slice(0, count).map((hash) => endings.map((ending) => `${hash}.${ending}`));
  const ask = (url: string): Promise<Taken> => {
    const question: Question = { url, caFile, series, atOnce: AT_ONCE, ...(patienceMs && { patienceMs }) };
    return client.ask(question) as Promise<Taken>;
  };
  const [direct, through]: [Taken[], Taken[]] = [[], []];
  const config = `[[upstreams]]\nurl = "${upstream}"\nca_file = "${caFile}"\n`;
  for (let round = 0; round < (t.short ? 1 : ROUNDS); round++) {
    direct.push(await ask(upstream));
    const service = await startService(t, { config });
    through.push(await ask(service.url));
    await service.stop();
  }
  const ms = (all: readonly Taken[]) => median(all.map((one) => one.ms));
  const givenUp = through.reduce((sum, one) => sum + one.givenUp, 0);
  const late = patienceMs === undefined ? '' : `, ${givenUp} given up`;
  const { ratio, goal } = atMost(ms(through) / ms(direct), 1.1);
  return {
    what: `${what}, ${roundTripMs} ms`,
    measured: `median ${seconds(ms(through))}${late}`,
    beside: `direct from ${await versionOf('nginx', '-v')}, one connection of node:http2, ${seconds(ms(direct))}`,
    ...(ratio === undefined ? {} : { ratio }),
    goal: { text: `${goal?.text}${late && ', none given up'}`, share: givenUp > 0 ? 0 : (goal?.share ?? 0) },
  };
}

function hashOf(index: number): string {
  const bytes = Buffer.alloc(20, 7);
  bytes.writeUInt32BE(index, 0);
  return encodeNix32(bytes);
}

async function makePath(folder: string, hash: string): Promise<void> {
  const text = (hash.repeat(2) + hash).slice(0, 52);
  const narInfo = `StorePath: /nix/store/${hash}-path-${hash.slice(0, 4)}
URL: nar/${text}.nar.xz
Compression: xz
FileHash: sha256:${text}
FileSize: 1000
NarHash: sha256:${text}
NarSize: 5000
References: 
`;
  await writeFile(join(folder, `${hash}.narinfo`), narInfo);
  const listing = {
    version: 1,
    root: { type: 'directory', entries: { a: { type: 'regular', size: 1000 } } },
  };
  await writeFile(join(folder, `${hash}.ls`), JSON.stringify(listing));
}
