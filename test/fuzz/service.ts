// The service as a process of its own, attacked from both sides. What must hold is checked after every batch of
// connections: it answers, it fails nobody without cause, it stays within its memory and its folder, and its log is clean.
import { readdir, readFile, readlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { get, push } from '../fixtures/client.ts';
import { type Owner, temporaryFolder } from '../fixtures/defer.ts';
import { makePackage } from '../fixtures/nar.ts';
import { randomSource } from '../fixtures/random.ts';
import { type Service, startService } from '../fixtures/service.ts';
import { type Known, type Plan, plan } from './requests.ts';
import { secretOf, startFuzzUpstream } from './upstream.ts';

const CONNECTIONS = 60;
/** How long a connection may take that nobody ends: a batch is not worth more. */
const PATIENCE_MS = 800;
const MAX_RSS_MIB = 700;
const TOKEN = secretOf('token');
const SECRETS = [
  TOKEN,
  secretOf('upstream'),
  Buffer.from(`alice:${secretOf('upstream')}`).toString('base64'),
];

const known = makePackage('known', { size: 200_000 });
const cold = ['a', 'b', 'c'].map((name) =>
  makePackage(name, { size: 50_000, compression: name === 'a' ? 'none' : 'gzip' }),
);
const fresh = ['d', 'e'].map((name) =>
  makePackage(name, { size: 20_000, compression: name === 'd' ? 'none' : 'br' }),
);

interface FuzzedService {
  /** One batch of random connections; throws when something does not hold. */
  batch(seed: number): Promise<void>;
  /** How often it has answered with which status. */
  readonly answers: ReadonlyMap<string, number>;
  /** Stops it, and looks at what it leaves behind. */
  finish(): Promise<void>;
}

export async function startFuzzedService(t: Owner, seed: number): Promise<FuzzedService> {
  const root = await temporaryFolder(t, 'fuzz');
  const files = new Map(
    [...cold, known].flatMap(
      (one) =>
        [
          [one.narInfoPath, Buffer.from(one.narInfo)],
          [one.narPath, one.file],
        ] as const,
    ),
  );
  const upstream = await startFuzzUpstream(t, files, seed);
  const service = await startService(t, {
    config: configOf(upstream),
    dir: join(root, 'cache'),
    env: { HOME: root, TMPDIR: root, FUZZ_TOKEN: TOKEN },
  });
  await push(service.url, known);
  const cwd = await readlink(`/proc/${service.pid}/cwd`);
  const outside = async () =>
    [...(await readdir(root)), ...(await readdir(cwd, { recursive: true }))].join(' ');
  const before = await outside();
  const paths = [known, ...cold].flatMap((one) => [
    one.narInfoPath,
    one.narPath,
    one.narPath.replace('/nar/', `/nar/${one.hash}-`),
    `/log/${one.base}.drv`,
  ]);
  // What is checked after every batch is not among them: whoever may push may add to a narinfo what no signature covers.
  const uploads = fresh.flatMap(
    (one) =>
      [
        [one.narPath, one.file],
        [one.narInfoPath, Buffer.from(one.narInfo)],
      ] as const,
  );
  const world: Known = { paths, uploads, token: TOKEN };
  const answers = new Map<string, number>();
  let read = 0;
  const check = async () => {
    await assertGood(service);
    const log = service.log();
    assertCleanLog(log.slice(read, log.lastIndexOf('\n') + 1));
    read = log.lastIndexOf('\n') + 1;
    if ((await outside()) !== before)
      throw new Error(`files outside of the cache folder: ${await outside()}`);
  };
  return {
    answers,
    batch: async (seed) => {
      const random = randomSource(seed);
      const plans = Array.from({ length: CONNECTIONS }, () => plan(random, world));
      await Promise.all(plans.map((one) => play(service.port, one, answers)));
      await check();
    },
    finish: async () => {
      await check();
      const code = await service.stop();
      if (code !== 0) throw new Error(`the service ended with ${code}`);
      const left = await readdir(join(service.dir, 'tmp'));
      if (left.length > 0) throw new Error(`left in tmp/: ${left.join(' ')}`);
      const entries = await readdir(service.dir, { recursive: true });
      const odd = entries.filter(
        (entry) => !/^(?:[0-9a-f]{2}(?:\/[0-9a-f]{64})?|(?:tmp|partial|quarantine)(?:\/.*)?)$/.test(entry),
      );
      if (odd.length > 0) throw new Error(`not expected in the cache folder: ${odd.join(' ')}`);
    },
  };
}

function configOf(upstream: string): string {
  return `
first_byte_timeout = "400ms"
stall_timeout = "600ms"
connect_timeout = "400ms"
negative_ttl = "0s"
max_upload_size = "32 MiB"
trusted_proxies = ["127.0.0.9"]
[push]
from = ["127.0.0.0/8"]
[[tokens]]
name = "fuzz"
token = "\${FUZZ_TOKEN}"
allow = ["push"]
[[upstreams]]
url = "${upstream}"
[[upstreams]]
url = "http://127.0.0.1:9"
`;
}

/** Plays one connection and counts its answers; throws if it is answered with a failure that is nobody else's. */
async function play(port: number, { end, pieces }: Plan, answers: Map<string, number>): Promise<void> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  const parts: Buffer[] = [];
  socket.on('error', () => {}).on('data', (part: Buffer) => parts.push(part));
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  for (const piece of pieces) {
    if (socket.destroyed) break;
    socket.write(piece);
    await new Promise(setImmediate);
  }
  const timer = setTimeout(() => socket.destroy(), PATIENCE_MS);
  if (end === 'end') socket.end();
  if (end === 'reset') socket.resetAndDestroy();
  await closed;
  clearTimeout(timer);
  const answer = Buffer.concat(parts).toString('latin1');
  for (const [, status = ''] of answer.matchAll(/(?:^|\n)HTTP\/1\.1 (\d{3}) /g)) {
    answers.set(status, (answers.get(status) ?? 0) + 1);
  }
  const failure = /HTTP\/1\.1 5(?!0[24])\d\d [^\n]*/.exec(answer);
  if (failure !== null) {
    const sent = Buffer.concat(pieces).toString('latin1').slice(0, 2000);
    throw new Error(`answered ${failure[0]} to ${JSON.stringify(sent)}`);
  }
}

async function assertGood(service: Service): Promise<void> {
  for (const [path, body] of [
    [known.narInfoPath, Buffer.from(known.narInfo)],
    [known.narPath, known.file],
  ] as const) {
    const reply = await get(service.url, path).catch((error) => {
      throw new Error(
        `no answer to GET ${path}: ${error}; the end of the log:\n${service.log().slice(-3000)}`,
      );
    });
    if (reply.status !== 200 || !reply.complete || !reply.body.equals(body)) {
      throw new Error(`GET ${path}: ${reply.status} ${reply.text.slice(0, 300)}`);
    }
  }
  const status = await readFile(`/proc/${service.pid}/status`, 'utf8');
  const rss = Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
  if (!(rss < MAX_RSS_MIB)) throw new Error(`the service takes ${rss.toFixed(0)} MiB`);
}

function assertCleanLog(log: string): void {
  for (const line of log.split('\n')) {
    if (/[\p{Cc}\u2028\u2029]/u.test(line))
      throw new Error(`control characters in the log: ${JSON.stringify(line)}`);
    if (line !== '' && !/^\d{4}-\d\d-\d\dT[\d:.]+Z (?:info|warn) /.test(line))
      throw new Error(`in the log: ${line}`);
    if (/ 5(?!0[24])\d\d \S+ \d+ ms$/.test(line)) throw new Error(`in the log: ${line}`);
    const secret = SECRETS.find((one) => line.includes(one));
    if (secret !== undefined) throw new Error(`a secret in the log: ${line}`);
  }
}
