// Why the documents push to /push: a client believes for 30 days what it pushed to an URL, its own unsigned narinfo, and not what
// the cache serves there by now, signed. By another spelling of the URL it is another cache to the client.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startService } from '../../fixtures/service.ts';
import { clients } from './client.ts';
import { assertHolds, buildClosure } from './closure.ts';
import { keygen, realise, TOKENS, teamMachine, tokenTable, urlOf, writeNetrc } from './trust.ts';

for (const client of clients) {
  const { name, skip } = client;
  test(`${name} gets its own paths back, signed, by another spelling of the URL it pushed to`, {
    skip,
  }, async (t) => {
    const key = await keygen(t);
    const service = await startService(t, {
      config: `upstreams = []\n${tokenTable('push')}${key.table}`,
    });
    const machine = await teamMachine(t, client, key.trust);
    await writeNetrc(machine, TOKENS.push);
    const closure = await buildClosure(machine, 1);
    await machine.output('nix', 'copy', '--to', `${urlOf(service)}/push`, closure.top);
    await machine.collectGarbage();
    const from = (url: string) =>
      machine.run(['nix-store', '--realise', closure.top, '--option', 'substituters', url]);
    assert.notEqual((await from(`${urlOf(service)}/push`)).code, 0, 'as it pushed it: unsigned');
    const { code, stderr } = await from(urlOf(service));
    assert.equal(code, 0, stderr);
    await assertHolds(machine, closure);
    assert.equal((await realise(machine, closure)).code, 0);
  });
}
