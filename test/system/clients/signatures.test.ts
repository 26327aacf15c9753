// Signatures on their way through the service, as real clients make and demand them: those of upstreams, those that are added
// to what was pushed, and those without which nothing may be pushed.
import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { describe, test } from 'node:test';
import type { Owner } from '../../fixtures/defer.ts';
import type { Relay } from '../../fixtures/relay.ts';
import { type Service, startService } from '../../fixtures/service.ts';
import { storedFiles } from '../../fixtures/stored-files.ts';
import { need } from '../fixtures/need.ts';
import { serveFolder } from '../fixtures/nginx.ts';
import { type Client, clients } from './client.ts';
import { buildClosure, type Closure, hashPart } from './closure.ts';
import {
  assertGetsNothing,
  assertSubstitutes,
  assertUnknown,
  keygen,
  keyOfNix,
  publicKeyIn,
  push,
  pushed,
  type SigningKey,
  serveSigned,
  teamMachine,
  urlOf,
} from './trust.ts';

describe('signatures', { concurrency: availableParallelism() }, () => {
  for (const client of clients) {
    const { name, skip } = client;
    const skipUpstream = skip || need('nginx');

    test(`${name} gets nothing from an upstream that signs with another key than its public_keys`, {
      skip: skipUpstream,
    }, async (t) => {
      const { upstream, closure, key } = await startUpstream(t, client, 'theirs-1');
      const [other, namesake] = [await keygen(t, 'other-1'), await keygen(t, 'theirs-1')];
      const service = await startService(t, { config: upstreams([upstream, other]) });
      const lines = [`extra-substituters = ${urlOf(service)}`, key.trust];
      await assertGetsNothing(await teamMachine(t, client, ...lines), closure);
      await service.logged(/expected a signature of other-1 that verifies, found theirs-1/);
      await assertNothingStored(service);

      await service.reload(upstreams([upstream, namesake]));
      await assertGetsNothing(await teamMachine(t, client, ...lines), closure);
      await service.logged(/expected a signature of theirs-1 that verifies, found theirs-1/);
      await assertNothingStored(service);

      await service.reload(upstreams([upstream, key]));
      await assertSubstitutes(t, client, urlOf(service), closure, key.trust);
    });

    test(`${name} does not notice an upstream with a wrong key before one with the right one`, {
      skip: skipUpstream,
    }, async (t) => {
      const { upstream, folder, closure, key } = await startUpstream(t, client, 'theirs-1');
      const right = await serveFolder(t, folder);
      const config = upstreams([upstream, await keygen(t, 'other-1')], [right, key]);
      const service = await startService(t, { config });
      await assertSubstitutes(t, client, urlOf(service), closure, key.trust);
      assert.deepEqual(
        upstream.requests.filter((request) => request.includes('/nar/')),
        [],
      );
    });

    test(`${name} signs in the cache, and copies signatures there and back, the cache's own like the others`, {
      skip,
    }, async (t) => {
      const own = await keygen(t);
      const service = await startService(t, { config: `upstreams = []\n${own.table}` });
      const url = urlOf(service);
      const [builder, another] = [await teamMachine(t, client), await teamMachine(t, client)];
      const one = await keyOfNix(builder, 'one-1');
      const two = await keyOfNix(another, 'two-1');
      const three = await keyOfNix(builder, 'three-1');
      const closure = await buildClosure(builder, 1);
      await pushed(builder, url, closure);
      // From then on it believes to know what the cache has: its upload will lack the signature of the first.
      await another.output('nix', 'path-info', '--recursive', '--store', url, closure.top);
      const sign = ['nix', 'store', 'sign', '--recursive', '--key-file'];
      await builder.output(...sign, '/root/one-1.secret', '--store', url, closure.top);
      assert.deepEqual(await signersStored(service, closure), ['one-1']);
      await another.output(...sign, '/root/two-1.secret', '--store', url, closure.top);
      assert.deepEqual(await signersStored(service, closure), ['cache.example.org-1', 'one-1', 'two-1']);

      // Into the cache from another one that knows a signature more.
      await builder.output(...sign, '/root/three-1.secret', closure.top);
      await builder.output('nix', 'copy', '--to', 'file:///srv', closure.top);
      const copySigs = ['nix', 'store', 'copy-sigs', '--recursive', '--substituter'];
      await builder.output(...copySigs, 'file:///srv', '--store', url, closure.top);
      assert.deepEqual(await signersStored(service, closure), [
        'cache.example.org-1',
        'one-1',
        'three-1',
        'two-1',
      ]);
      for (const { trust } of [own, one, two, three]) await assertSubstitutes(t, client, url, closure, trust);

      // And out of it, into a store that has the paths with one.
      await builder.forget();
      await builder.output(...copySigs, url, closure.top);
      const info = await builder.output('nix', 'path-info', '--sigs', closure.top);
      for (const signer of ['one-1', 'two-1', 'three-1', 'cache.example.org-1'])
        assert.ok(info.includes(`${signer}:`), info);

      // A push from a store that has the cache's own signature brings it along, and so it outlives the key.
      const fresh = await startService(t, { config: 'upstreams = []\n' });
      await pushed(builder, urlOf(fresh), closure);
      assert.deepEqual(await signersStored(fresh, closure), [
        'cache.example.org-1',
        'one-1',
        'three-1',
        'two-1',
      ]);
      await assertSubstitutes(t, client, urlOf(fresh), closure, own.trust);
    });

    test(`${name} is refused what none of trusted_keys has signed, and pushes it when one has`, {
      skip,
    }, async (t) => {
      const builder = await teamMachine(t, client);
      const [key, other] = [await keyOfNix(builder, 'builder-1'), await keyOfNix(builder, 'other-1')];
      const config = `upstreams = []\n[push]\ntrusted_keys = ["${publicKeyIn(key)}"]\n`;
      const service = await startService(t, { config });
      const closure = await buildClosure(builder, 1);
      const refused = async (found: string) => {
        const { code, stderr } = await push(builder, urlOf(service), closure);
        assert.notEqual(code, 0);
        assert.match(stderr, /HTTP error 400/);
        assert.ok(stderr.includes(`expected a signature of builder-1 that verifies, found ${found}`), stderr);
        await assertUnknown(service, closure);
      };
      await refused('none');
      const sign = ['nix', 'store', 'sign', '--recursive', '--key-file'];
      await builder.output(...sign, '/root/other-1.secret', closure.top);
      await refused('other-1');
      await builder.output(...sign, '/root/builder-1.secret', closure.top);
      await pushed(builder, urlOf(service), closure);
      for (const { trust } of [key, other])
        await assertSubstitutes(t, client, urlOf(service), closure, trust);
    });
  }
});

/** A binary cache folder served by nginx, with a closure signed by a new key of that name. */
async function startUpstream(t: Owner, client: Client, keyName: string) {
  const builder = await teamMachine(t, client);
  const closure = await buildClosure(builder, 1);
  return { closure, ...(await serveSigned(t, builder, keyName, closure)) };
}

/** The configuration with these upstreams and the key that each is believed by. */
function upstreams(...list: (readonly [Relay, SigningKey])[]): string {
  return list
    .map(([{ url }, key]) => `[[upstreams]]\nurl = "${url}"\npublic_keys = ["${publicKeyIn(key)}"]\n`)
    .join('');
}

async function assertNothingStored({ dir }: Service): Promise<void> {
  assert.deepEqual([...(await storedFiles(dir, true)).keys()], []);
}

/** The names of the keys whose signatures are on disk, the same for every path of the closure. */
async function signersStored({ dir }: Service, closure: Closure): Promise<string[]> {
  const stored = await storedFiles(dir, true);
  const [first = [], ...others] = [...closure.paths.keys()].map((path) => {
    const text = stored.get(`/${hashPart(path)}.narinfo`)?.toString() ?? '';
    return [...text.matchAll(/^Sig: ([^:]+):/gm)].map(([, signer]) => signer as string).sort();
  });
  for (const other of others) assert.deepEqual(other, first);
  return first;
}
