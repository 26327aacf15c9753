// The first of three upstreams takes connections and never answers: what a narinfo that is not here costs once that is
// known, beside the same with three that work.
import { Agent, request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { get } from '../fixtures/client.ts';
import { defer, type Owner } from '../fixtures/defer.ts';
import { startService } from '../fixtures/service.ts';
import { atMost, type Figure, median, milliseconds } from './figure.ts';
import { configOf, startUpstream, type Upstream } from './upstream.ts';

const COUNT = 400;
const WARM_UP = 100;
const KNOWN_WITHIN_MS = 20_000;

export async function lookup(t: Owner): Promise<Figure[]> {
  const agent = new Agent({ keepAlive: true });
  defer(t, () => agent.destroy());
  const silent = await startUpstream(t, { silent: true });
  const working = [await startUpstream(t), await startUpstream(t), await startUpstream(t)] as const;
  const [first, ...others] = working;
  // Only how soon it is known that it is dead depends on this.
  const keys = ['first_byte_timeout = "1s"'];
  const healthy = await startService(t, { config: configOf([first, ...others], ...keys) });
  const ailing = await startService(t, { config: configOf([silent, ...others], ...keys) });
  /** Milliseconds of a lookup of a narinfo that all have. */
  const time = async (base: string, name: string): Promise<number> => {
    const path = await makeEverywhere(working, name);
    const started = performance.now();
    await fetchWhole(agent, `${base}${path}`);
    return performance.now() - started;
  };

  const started = Date.now();
  for (let i = 0; !ailing.log().includes('believed dead'); i++) {
    await get(ailing.url, await makeEverywhere(working, `unknown-${i}`));
    if (Date.now() - started > KNOWN_WITHIN_MS) throw new Error(`not believed dead:\n${ailing.log()}`);
    await delay(100);
  }
  const good: number[] = [];
  const bad: number[] = [];
  for (let i = 0; i < WARM_UP + COUNT; i++) {
    good.push(await time(healthy.url, `good-${i}`));
    bad.push(await time(ailing.url, `bad-${i}`));
  }
  await Promise.all([healthy.stop(), ailing.stop()]);
  const [withDead, without] = [median(bad.slice(WARM_UP)), median(good.slice(WARM_UP))];
  return [
    {
      what: `narinfo lookup, first of three upstreams silent, ${COUNT} lookups`,
      measured: `median ${milliseconds(withDead)}`,
      beside: `all three healthy ${milliseconds(without)}`,
      ...atMost(withDead / without, 1.2),
    },
  ];
}

async function makeEverywhere(upstreams: readonly Upstream[], name: string): Promise<string> {
  const made = await Promise.all(upstreams.map((upstream) => upstream.make(name, 1000)));
  return made[0]?.narInfoPath ?? '';
}

function fetchWhole(agent: Agent, url: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { agent }, (message) => {
      message.resume().once('error', reject);
      message.once('end', () => {
        if (message.statusCode === 200) resolve();
        else reject(new Error(`GET ${url}: ${message.statusCode}`));
      });
    });
    outgoing.once('error', reject).end();
  });
}
