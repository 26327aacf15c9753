// Files of the cache folder that somebody has changed: no real client takes what is in them, they are set aside, and what an
// upstream has, or somebody pushes again, takes their place.
import assert from 'node:assert/strict';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { Owner } from '../../fixtures/defer.ts';
import { idOf } from '../../fixtures/holdings.ts';
import { type Service, startService } from '../../fixtures/service.ts';
import { need } from '../fixtures/need.ts';
import { type Client, clients } from './client.ts';
import { assertHolds, buildClosure, hashPart } from './closure.ts';
import {
  assertGetsNothing,
  assertSubstitutes,
  keygen,
  pushed,
  realise,
  serveSigned,
  teamMachine,
  urlOf,
} from './trust.ts';

describe('a stored file that was changed', { concurrency: availableParallelism() }, () => {
  for (const client of clients) {
    const { name, skip } = client;
    const skipUpstream = skip || need('nginx');

    for (const [where, at] of [
      ['first', 0],
      ['last', -1],
    ] as const) {
      test(`${name} never takes a NAR whose ${where} byte was changed; it is fetched anew`, {
        skip: skipUpstream,
      }, async (t) => {
        const { closure, config, requests, service, trust } = await startFetched(t, client);
        const nar = await narOf(service, closure.noise);
        const changed = await changeAndRestart(t, service, config, nar, (body) => {
          const i = at < 0 ? body.length + at : at;
          body.writeUInt8(body.readUInt8(i) ^ 1, i);
          return body;
        });
        const before = requests.length;
        const machine = await teamMachine(t, client, `extra-substituters = ${urlOf(changed)}`, trust);
        const { code, stderr } = await realise(machine, closure);
        // Whoever has seen wrong bytes is cut off, and Nix takes its next attempt for the rest of the same.
        if (code === 0) await assertHolds(machine, closure);
        else assert.ok(at === 0 && !(await machine.has(closure.noise)), stderr);
        await assertQuarantined(changed, nar);

        await assertSubstitutes(t, client, urlOf(changed), closure, trust);
        const fetched = requests.slice(before);
        assert.equal(fetched.filter((request) => request.startsWith('GET /nar/')).length, 1);
      });
    }

    test(`${name} never takes a narinfo that was changed; it is fetched anew`, {
      skip: skipUpstream,
    }, async (t) => {
      const { closure, config, requests, service, trust } = await startFetched(t, client);
      const narInfo = `/${hashPart(closure.top)}.narinfo`;
      const changed = await changeAndRestart(t, service, config, narInfo, withoutReferences);
      const before = requests.length;
      await assertSubstitutes(t, client, urlOf(changed), closure, trust);
      await assertQuarantined(changed, narInfo);
      assert.deepEqual(requests.slice(before), [`GET ${narInfo}`]);
    });

    test(`${name} never takes a changed NAR that was pushed; pushing it to /upload again makes it good`, {
      skip,
    }, async (t) => {
      const { builder, closure, config, service, trust } = await startPushed(t, client);
      const nar = await narOf(service, closure.noise);
      const changed = await changeAndRestart(t, service, config, nar, (body) => body.reverse());
      const machine = await teamMachine(t, client, `extra-substituters = ${urlOf(changed)}`, trust);
      await realise(machine, closure);
      assert.ok(!(await machine.has(closure.noise)));
      await assertQuarantined(changed, nar);

      await pushed(builder, `${urlOf(changed)}/upload`, closure);
      await assertSubstitutes(t, client, urlOf(changed), closure, trust);
    });

    test(`${name} never takes a changed narinfo that was pushed, and the cache does not sign it; pushing makes it good`, {
      skip,
    }, async (t) => {
      const { builder, closure, config, service, trust } = await startPushed(t, client);
      const narInfo = `/${hashPart(closure.top)}.narinfo`;
      const changed = await changeAndRestart(t, service, config, narInfo, withoutReferences);
      const machine = await teamMachine(t, client, `extra-substituters = ${urlOf(changed)}`, trust);
      await assertGetsNothing(machine, closure);
      await assertQuarantined(changed, narInfo);

      await builder.forget();
      await pushed(builder, urlOf(changed), closure);
      await assertSubstitutes(t, client, urlOf(changed), closure, trust);
    });
  }
});

/** A service that has fetched a signed closure from its upstream. */
async function startFetched(t: Owner, client: Client) {
  const builder = await teamMachine(t, client);
  const closure = await buildClosure(builder, 1);
  const { upstream, key } = await serveSigned(t, builder, 'theirs-1', closure, '&compression=none');
  const { trust } = key;
  const { requests, url } = upstream;
  const config = `[[upstreams]]\nurl = "${url}"\n`;
  const service = await startService(t, { config });
  await assertSubstitutes(t, client, urlOf(service), closure, trust);
  return { closure, config, requests, service, trust };
}

/** A service without upstreams that signs, and to which a closure was pushed. */
async function startPushed(t: Owner, client: Client) {
  const builder = await teamMachine(t, client);
  const { table, trust } = await keygen(t);
  const closure = await buildClosure(builder, 1);
  const config = `upstreams = []\n${table}`;
  const service = await startService(t, { config });
  await pushed(builder, `${urlOf(service)}?compression=none`, closure);
  return { builder, closure, config, service, trust };
}

/** The path of the store path's NAR. */
async function narOf({ url }: Service, storePath: string): Promise<string> {
  const narInfo = await (await fetch(`${url}/${hashPart(storePath)}.narinfo`)).text();
  return `/nar/${/^URL: nar\/(?:[0-9a-z]{32}-)?(.+)/m.exec(narInfo)?.[1]}`;
}

/** Another service over the same folder, in which an object's body has been changed. */
async function changeAndRestart(
  t: Owner,
  service: Service,
  config: string,
  path: string,
  change: (body: Buffer) => Buffer,
): Promise<Service> {
  assert.equal(await service.stop(), 0);
  const name = idOf(path);
  const file = join(service.dir, name.slice(0, 2), name);
  const bytes = await readFile(file);
  const bodyAt = bytes.indexOf('\n') + 1;
  const changed = change(Buffer.from(bytes.subarray(bodyAt)));
  // As long as it was, so that only the hash can tell.
  assert.equal(changed.length, bytes.length - bodyAt);
  await writeFile(file, Buffer.concat([bytes.subarray(0, bodyAt), changed]));
  return startService(t, { config, dir: service.dir });
}

function withoutReferences(narInfo: Buffer): Buffer {
  const text = narInfo.toString();
  const changed = text.replace(/^References: (.+)$/m, (_, names: string) => `Renounced:  ${names}`);
  assert.notEqual(changed, text);
  return Buffer.from(changed);
}

/** Fails unless this object, and nothing else, was set aside. */
async function assertQuarantined({ dir }: Service, path: string): Promise<void> {
  const names = (await readdir(join(dir, 'quarantine'))).filter((one) => !one.endsWith('.reason'));
  assert.deepEqual(
    names.map((one) => one.replace(/-\d+$/, '')),
    [idOf(path)],
  );
}
