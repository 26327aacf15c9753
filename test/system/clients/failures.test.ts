// What a real client meets when an upstream is slow, dies, cuts, corrupts or is away: an error or the right
// bytes, nothing wrong kept, and the next attempt works.

import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { defer, type Owner } from '../../fixtures/defer.ts';
import { startService } from '../../fixtures/service.ts';
import { type Client, clients } from './client.ts';
import {
  assertHolds,
  buildClosure,
  type Closure,
  hashPart,
  instantiateClosure,
  permitBuilding,
  realiseClosure,
} from './closure.ts';

const megabytes = 4;

// Most of the time goes into waiting for the clients' own retries.
describe('an upstream that fails', { concurrency: 4 }, () => {
  for (const client of clients) {
    const { name, skip } = client;

    test(`${name} waits for an upstream of 1 MB/s`, { skip }, async (t) => {
      const { upstream, closure } = await startUpstream(t, client);
      upstream.answerNar = async (response, body) => {
        response.setHeader('content-length', body.length);
        for (let at = 0; at < body.length; at += 50_000) {
          response.write(body.subarray(at, at + 50_000));
          await delay(50);
        }
        response.end();
      };
      const { url } = await startService(t, { config: upstream.config });
      const machine = await client.machine(t);
      await machine.output(...realise(closure, url));
      await assertHolds(machine, closure);
    });

    const failures: [string, Answer][] = [
      [
        'dies half-way',
        (response, body) => {
          response.setHeader('content-length', body.length);
          response.write(body.subarray(0, body.length / 2), () => response.destroy());
        },
      ],
      [
        'ends half-way as if that were all',
        (response, body) => {
          response.write(body.subarray(0, body.length / 2), () => response.end());
        },
      ],
      [
        'changes a byte',
        (response, body) => {
          const wrong = Buffer.from(body);
          wrong[body.length / 2] = ~(wrong[body.length / 2] ?? 0);
          response.setHeader('content-length', body.length).end(wrong);
        },
      ],
    ];
    for (const [how, answer] of failures) {
      test(`${name} gets an error from an upstream that ${how}, and all of it the next time`, {
        skip,
      }, async (t) => {
        const { upstream, closure } = await startUpstream(t, client);
        upstream.answerNar = answer;
        const { url } = await startService(t, { config: upstream.config });
        const machine = await client.machine(t);

        const { code, stderr } = await machine.run(realise(closure, url));
        assert.notEqual(code, 0);
        assert.match(stderr, /error/);
        assert.ok(!(await machine.has(closure.noise)));
        const narinfo = await (await fetch(`${url}/${hashPart(closure.noise)}.narinfo`)).text();
        // By that address HEAD tells what the narinfo says; by a name alone, what is here.
        const nar = /^URL: nar\/[0-9a-z]{32}-(.+)$/m.exec(narinfo)?.[1];
        assert.ok(nar, narinfo);
        assert.equal((await fetch(`${url}/nar/${nar}`, { method: 'HEAD' })).status, 404);

        upstream.answerNar = whole;
        await machine.output(...realise(closure, url));
        await assertHolds(machine, closure);
      });
    }

    test(`${name} does not notice that the upstream dies half-way and comes back`, { skip }, async (t) => {
      const { upstream, closure } = await startUpstream(t, client);
      let deaths = 0;
      upstream.answerNar = (response, body) => {
        if (deaths === 1 || body.length < 100_000) return whole(response, body);
        deaths++;
        response.setHeader('content-length', body.length);
        return response.write(body.subarray(0, body.length / 2), () => response.destroy());
      };
      const { url } = await startService(t, { config: upstream.config });
      const machine = await client.machine(t);
      const { code, stderr } = await machine.run(realise(closure, url));
      assert.equal(code, 0, stderr);
      assert.doesNotMatch(stderr, /error|warning: .*(retry|unable)/);
      assert.equal(deaths, 1);
      await assertHolds(machine, closure);
    });

    for (const fallback of ['false', 'true']) {
      test(`${name} builds one damaged path and has the rest from the cache, fallback ${fallback}`, {
        skip,
      }, async (t) => {
        const { upstream, closure } = await startUpstream(t, client);
        upstream.answerNar = (response, body) => {
          const wrong = Buffer.from(body);
          wrong[body.length / 2] = ~(wrong[body.length / 2] ?? 0);
          response.setHeader('content-length', body.length).end(wrong);
        };
        const { url } = await startService(t, { config: upstream.config });
        const machine = await client.machine(t);
        await instantiateClosure(machine, megabytes);
        await permitBuilding(machine);
        const options = ['--option', 'substituters', url, '--option', 'require-sigs', 'false'];
        const { code, stderr } = await machine.run(
          realiseClosure(...options, '--option', 'fallback', fallback),
        );
        assert.equal(code, 0, stderr);
        assert.match(stderr, /^making noise/m);
        // Newer clients build what refers to it as well, as they do with any cache that lacks it.
        assert.doesNotMatch(stderr, /^making (?:zeros|file)/m);
        assert.ok(await machine.has(closure.top));
      });
    }

    for (const fallback of ['false', 'true']) {
      test(`${name} builds what has a damaged narinfo and has the rest from the cache, fallback ${fallback}`, {
        skip,
      }, async (t) => {
        const { upstream, closure } = await startUpstream(t, client);
        upstream.damaged = `/${hashPart(closure.noise)}.narinfo`;
        const { url } = await startService(t, { config: upstream.config });
        const machine = await client.machine(t);
        await instantiateClosure(machine, megabytes);
        await permitBuilding(machine);
        const options = ['--option', 'substituters', url, '--option', 'require-sigs', 'false'];
        const { code, stderr } = await machine.run(
          realiseClosure(...options, '--option', 'fallback', fallback),
        );
        assert.equal(code, 0, stderr);
        assert.match(stderr, /^making noise/m);
        assert.doesNotMatch(stderr, /^making (?:zeros|file)/m);
        assert.ok(await machine.has(closure.top));
      });
    }

    test(`${name} does not take an outage for a miss`, { skip }, async (t) => {
      const { upstream, closure } = await startUpstream(t, client);
      const { url } = await startService(t, { config: upstream.config });
      const machine = await client.machine(t);
      upstream.away = true;
      const { code } = await machine.run(realise(closure, url));
      assert.notEqual(code, 0);
      upstream.away = false;
      await machine.output(...realise(closure, url));
      await assertHolds(machine, closure);
    });

    test(`${name} leaves half-way, and the download it began serves the next`, { skip }, async (t) => {
      const { upstream, closure } = await startUpstream(t, client);
      const events = new EventEmitter();
      const half = once(events, 'half');
      const open = once(events, 'open');
      upstream.answerNar = async (response, body) => {
        response.setHeader('content-length', body.length);
        response.write(body.subarray(0, body.length / 2), () => events.emit('half'));
        await open;
        response.end(body.subarray(body.length / 2));
      };
      const { url } = await startService(t, { config: upstream.config });
      const leaver = await client.machine(t);
      const leave = new AbortController();
      const left = leaver.run(realise(closure, url), { signal: leave.signal });
      await half;
      leave.abort();
      assert.equal((await left).code, null);
      events.emit('open');

      upstream.answerNar = (response) => response.destroy();
      const machine = await client.machine(t);
      await machine.output(...realise(closure, url));
      await assertHolds(machine, closure);
    });
  }
});

type Answer = (response: ServerResponse, body: Buffer) => unknown;

const whole: Answer = (response, body) => response.setHeader('content-length', body.length).end(body);

interface Upstream {
  /** The configuration of a service with this upstream. */
  readonly config: string;
  /** How the big NAR is answered. */
  answerNar: Answer;
  /** The path of a narinfo of which it gives the beginning only. */
  damaged: string | undefined;
  /** Whether it hangs up on everything. */
  away: boolean;
}

/** A binary cache of one closure that misbehaves as told. */
async function startUpstream(t: Owner, client: Client): Promise<{ upstream: Upstream; closure: Closure }> {
  const builder = await client.machine(t);
  const closure = await buildClosure(builder, megabytes);
  await builder.output('nix', 'copy', '--to', 'file:///srv?compression=none', closure.top);

  const server = createServer(async (request, response) => {
    if (upstream.away) return request.socket.destroy();
    const body = await readFile(join(builder.path('/srv'), request.url ?? '/')).catch(() => undefined);
    if (!body) return response.writeHead(404).end();
    if (request.url === upstream.damaged) return whole(response, body.subarray(0, body.length >> 1));
    const big = body.length > megabytes * 1_000_000 && body.length < megabytes * 1_500_000;
    return big ? upstream.answerNar(response, body) : whole(response, body);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  defer(t, async () => {
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
  });
  const config = `[[upstreams]]\nurl = "http://127.0.0.1:${(server.address() as AddressInfo).port}"\n`;
  const upstream: Upstream = { config, answerNar: whole, damaged: undefined, away: false };
  return { upstream, closure };
}

/** The command that makes the closure's top from that cache. */
function realise({ top }: Closure, url: string): string[] {
  const options = ['--option', 'substituters', url, '--option', 'require-sigs', 'false'];
  return ['nix-store', '--realise', top, ...options];
}
