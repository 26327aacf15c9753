// Real clients and a cache without configuration, but for trusted_proxies, with each reverse proxy between them as the documents
// recommend it: they push with the token that the first start made, pull, and go on where a NAR was cut.
import assert from 'node:assert/strict';
import { copyFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { startRelay } from '../../fixtures/relay.ts';
import { startService } from '../../fixtures/service.ts';
import { need } from '../fixtures/need.ts';
import { reverseProxies, startReverseProxy } from '../fixtures/reverse-proxy.ts';
import { clients } from './client.ts';
import { assertHolds, assertLacks, buildClosure, hashPart } from './closure.ts';

const MIB = 2 ** 20;
const CONFIG = 'upstreams = []\ntrusted_proxies = ["127.0.0.1"]\n';
const unsigned = ['--option', 'require-sigs', 'false'];

for (const { name, skip, machine: makeMachine } of clients) {
  const lacks = skip || need(...reverseProxies.map(({ program }) => program));
  test(`${name} pushes, pulls and resumes through reverse proxies`, { skip: lacks }, async (t) => {
    const machine = await makeMachine(t);
    const closure = await buildClosure(machine, 6);
    for (const proxy of reverseProxies) {
      await t.test(proxy.name, async (t) => {
        const service = await startService(t, { config: CONFIG, closed: true });
        await copyFile(join(service.dir, 'push.netrc'), machine.path('/root/push.netrc'));
        const link = await startRelay(t, () => connect({ port: service.port, allowHalfOpen: true }));
        const url = await startReverseProxy(t, proxy, Number(new URL(link.url).port), 'recommended');
        const copy = ['nix', 'copy', '--to', `${url}/push?compression=none`, closure.top];
        const refused = await machine.run(copy);
        assert.notEqual(refused.code, 0, 'without the token');
        await machine.output(...copy, '--option', 'netrc-file', '/root/push.netrc');
        for (const path of closure.paths.keys())
          assert.equal((await fetch(`${service.url}/upload/${hashPart(path)}.narinfo`)).status, 200, path);

        await machine.collectGarbage();
        await assertLacks(machine, closure);
        const cut = link.cutAfter(3 * MIB);
        const realise = ['nix-store', '--realise', closure.top, '--option', 'substituters', url];
        await machine.output(...realise, ...unsigned);
        await cut;
        await assertHolds(machine, closure);
        await service.logged(/ GET \/nar\/\S+ 206 /);
      });
    }
  });
}
