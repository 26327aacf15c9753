// What the line carries of NARs that are not packed, from an upstream that codes them in transfer for whoever accepts that: through
// the service, beside a client that asks the same of that upstream itself.
import { connect } from 'node:net';
import { temporaryFolder } from '../fixtures/defer.ts';
import { prose } from '../fixtures/encoder.ts';
import { field, makePackage, type Package } from '../fixtures/nar.ts';
import { deadPort } from '../fixtures/origin.ts';
import { type Relay, startRelay } from '../fixtures/relay.ts';
import { output } from '../fixtures/run.ts';
import { startService } from '../fixtures/service.ts';
import { writeCache } from '../fixtures/static-cache.ts';
import { startNginx } from '../system/fixtures/nginx.ts';
import { versionOf } from './closure.ts';
import { atMost, type Bench, type Figure, median, seconds } from './figure.ts';
import { type Line, startLine } from './line.ts';

const BYTES = 20e6;
const SMALL = 10;
const ROUNDS = 3;
/** On which coding saves more than several connections bring. */
const NARROW: Line = { roundTripMs: 40, mbitPerSecond: 40 };
/** nginx codes for a proxy, as which the service shows itself, only where it is told to. */
const GZIP = 'gzip on; gzip_types *; gzip_proxied any; keepalive_requests 1000000;';

interface Fetched {
  readonly bytes: number;
  readonly ms: number;
}

export async function coding(t: Bench): Promise<Figure[]> {
  const small = Array.from({ length: SMALL }, (_, i) =>
    makePackage(`small-${i}`, { contents: prose(BYTES / SMALL, `small ${i}`) }),
  );
  const large = makePackage('large', { contents: prose(BYTES, 'large') });
  const folder = await temporaryFolder(t, 'coding');
  await writeCache(folder, [...small, large]);
  const port = await deadPort();
  await startNginx(t, folder, `127.0.0.1:${port}`, GZIP);
  const near = await startLine(t, port, NARROW);
  const relay = await startRelay(t, () => connect({ port: near, host: '127.0.0.1', allowHalfOpen: true }));
  const direct: Record<'small' | 'large', Fetched[]> = { small: [], large: [] };
  const ours: Record<'small' | 'large', Fetched[]> = { small: [], large: [] };
  for (let round = 0; round < (t.short ? 1 : ROUNDS); round++) {
    const service = await startService(t, { config: `[[upstreams]]\nurl = "${relay.url}"\n` });
    for (const [kind, packages] of [
      ['small', small],
      ['large', [large]],
    ] as const) {
      direct[kind].push(await fetched(relay, relay.url, packages));
      ours[kind].push(await fetched(relay, service.url, packages));
    }
    await service.stop();
  }
  const peer = `direct from ${await versionOf('nginx', '-v')} with gzip by ${await versionOf('curl', '--version')} --compressed`;
  const line = `a line of ${NARROW.mbitPerSecond} Mbit/s and ${NARROW.roundTripMs} ms`;
  const figure = (kind: 'small' | 'large', what: string): Figure => {
    const [here, there] = [middle(ours[kind]), middle(direct[kind])];
    return {
      what: `${what}, over ${line}: what it carries`,
      measured: told(here),
      beside: `${peer} ${told(there)}`,
      ...atMost(here.bytes / there.bytes, 1.1),
    };
  };
  return [
    figure('small', `20 MB of text in ${SMALL} plain NARs`),
    figure('large', 'after those, 20 MB of text in one plain NAR'),
  ];
}

/** By a client that accepts codings, from the cache at `url`; what came of that over the line. */
async function fetched(relay: Relay, url: string, packages: readonly Package[]): Promise<Fetched> {
  const nars: string[] = [];
  for (const { narInfoPath } of packages)
    nars.push(`${url}/${field(await output('curl', ['-sf', `${url}${narInfoPath}`]), 'URL')}`);
  const before = relay.answered;
  const started = performance.now();
  for (const [i, nar] of nars.entries()) {
    const args = ['-sf', '--compressed', '-o', '/dev/null', '-w', '%{size_download}', nar];
    const size = Number(await output('curl', args));
    // Through the service it comes as it is.
    if (size === 0 || (!url.startsWith(relay.url) && size !== packages[i]?.file.length))
      throw new Error(`${nar}: ${size} bytes`);
  }
  return { bytes: relay.answered - before, ms: performance.now() - started };
}

function middle(all: readonly Fetched[]): Fetched {
  return { bytes: median(all.map(({ bytes }) => bytes)), ms: median(all.map(({ ms }) => ms)) };
}

function told({ bytes, ms }: Fetched): string {
  return `${(bytes / 1e6).toFixed(2)} MB in ${seconds(ms)}`;
}
