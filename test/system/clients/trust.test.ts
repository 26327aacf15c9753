// Who may push and pull, as real clients meet it: tokens in a netrc or a URL, what a refusal looks like, TLS, and signatures
// that the cache makes, so that nobody turns anything off.
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { type Owner, temporaryFolder } from '../../fixtures/defer.ts';
import { startService } from '../../fixtures/service.ts';
import { storedFiles } from '../../fixtures/stored-files.ts';
import { makeAuthority } from '../../fixtures/tls.ts';
import { clients } from './client.ts';
import { assertHolds, buildClosure } from './closure.ts';
import {
  assertGetsNothing,
  assertSubstitutes,
  assertUnknown,
  HOST,
  keygen,
  keyOfNix,
  push,
  pushed,
  realise,
  TOKENS,
  teamMachine,
  tokenTable,
  urlOf,
  writeNetrc,
} from './trust.ts';

describe('who may push and pull', { concurrency: availableParallelism() }, () => {
  for (const client of clients) {
    const { name, skip } = client;

    test(`${name} pushes with a token in its netrc; another store needs the line that keygen printed`, {
      skip,
    }, async (t) => {
      const key = await keygen(t);
      const service = await startService(t, { config: `upstreams = []\n${tokenTable('push')}${key.table}` });
      const builder = await teamMachine(t, client);
      const closure = await buildClosure(builder, 1);
      await writeNetrc(builder, TOKENS.push);
      await pushed(builder, urlOf(service), closure);

      await assertSubstitutes(t, client, urlOf(service), closure, key.trust);
      const stranger = await teamMachine(t, client, `extra-substituters = ${urlOf(service)}`);
      assert.match(await assertGetsNothing(stranger, closure), /not signed|lacks a (valid )?signature/);
    });

    test(`${name} pushes with a token in the URL; the cache signs with a key that Nix made`, {
      skip,
    }, async (t) => {
      const builder = await teamMachine(t, client);
      const key = await keyOfNix(builder, 'ours-1');
      const service = await startService(t, { config: `upstreams = []\n${tokenTable('push')}${key.table}` });
      const closure = await buildClosure(builder, 1);
      await pushed(builder, urlOf(service, `ci:${TOKENS.push}@`), closure);
      await assertSubstitutes(t, client, urlOf(service), closure, key.trust);
      assert.doesNotMatch(await service.wholeLog(), new RegExp(TOKENS.push));
    });

    for (const [what, token, status, said] of [
      ['no token', undefined, 401, /expected a token that may push, found none in the request from 127/],
      ['a wrong token', TOKENS.other, 401, /the token in the request from 127\.0\.0\.1 is none of ours/],
      [
        'a token that may only pull',
        TOKENS.pull,
        403,
        /the token puller may pull, expected one that may push/,
      ],
    ] as const) {
      test(`${name} with ${what} is told so when it pushes, and nothing is visible`, { skip }, async (t) => {
        const config = `upstreams = []\n${tokenTable('pull')}${tokenTable('push')}`;
        const service = await startService(t, { config });
        const builder = await teamMachine(t, client);
        const closure = await buildClosure(builder, 1);
        if (token !== undefined) await writeNetrc(builder, token);
        const { code, stderr } = await push(builder, urlOf(service), closure);
        assert.notEqual(code, 0);
        assert.match(stderr, said);
        assert.match(stderr, new RegExp(`HTTP error ${status}`));
        await service.logged(said);
        assert.equal((await storedFiles(service.dir, true)).size, 0);
        await assertUnknown(service, closure);

        await writeNetrc(builder, TOKENS.push);
        await pushed(builder, urlOf(service), closure);
      });
    }

    test(`${name} reads with a token where reading needs one, and gets nothing without`, {
      skip,
    }, async (t) => {
      const key = await keygen(t);
      const tokens = tokenTable('pull') + tokenTable('push');
      const config = `upstreams = []\nread = "token"\n${tokens}${key.table}`;
      const service = await startService(t, { config });
      const builder = await teamMachine(t, client);
      const closure = await buildClosure(builder, 1);
      await writeNetrc(builder, TOKENS.push);
      await pushed(builder, urlOf(service), closure);

      const lines = [`extra-substituters = ${urlOf(service)}`, key.trust];
      const reader = await teamMachine(t, client, ...lines);
      await assertGetsNothing(reader, closure);
      await service.logged(/expected a token that may pull, found none/);
      await writeNetrc(reader, TOKENS.other);
      await reader.forget();
      await assertGetsNothing(reader, closure);
      await writeNetrc(reader, TOKENS.pull);
      await reader.forget();
      const { code, stderr } = await realise(reader, closure);
      assert.equal(code, 0, stderr);
    });

    test(`${name} pushes with the token that SIGHUP brought, and no more with the one before`, {
      skip,
    }, async (t) => {
      const config = (token: string) => `upstreams = []\n${tokenTable('push', token)}`;
      const service = await startService(t, { config: config(TOKENS.push) });
      const builder = await teamMachine(t, client);
      const [first, second] = [await buildClosure(builder, 1), await buildClosure(builder, 2)];
      await writeNetrc(builder, TOKENS.push);
      await pushed(builder, urlOf(service), first);

      assert.match(await service.reload(`${config(TOKENS.other)}[signing]\n`), /stays as it was: .*key_file/);
      assert.match(await service.reload(config(TOKENS.other)), /were read again/);
      const { code, stderr } = await push(builder, urlOf(service), second);
      assert.notEqual(code, 0);
      assert.match(stderr, /is none of ours/);
      await assertUnknown(service, second);
      await writeNetrc(builder, TOKENS.other);
      await pushed(builder, urlOf(service), second);
    });

    test(`${name} pushes and substitutes over TLS, if it knows the authority`, {
      skip,
    }, async (t) => {
      const { ca, table } = await certify(t);
      const key = await keygen(t);
      const config = `upstreams = []\nread = "token"\n${tokenTable('push')}${key.table}${table}`;
      const service = await startService(t, { config });
      assert.match(urlOf(service), /^https:/);
      const builder = await teamMachine(t, client);
      const closure = await buildClosure(builder, 1);
      await writeNetrc(builder, TOKENS.push);
      const reader = await teamMachine(t, client, `extra-substituters = ${urlOf(service)}`, key.trust);
      await writeNetrc(reader, TOKENS.push);
      for (const machine of [builder, reader]) await writeFile(machine.path('/root/ca.pem'), ca);
      await writeFile(builder.path('/root/other.pem'), makeAuthority().ca);
      const copy = ['nix', 'copy', '--to', urlOf(service), closure.top];
      const stranger = await builder.run(['env', 'NIX_SSL_CERT_FILE=/root/other.pem', ...copy]);
      assert.notEqual(stranger.code, 0);
      assert.match(stranger.stderr, /certificate/);
      const trusting = ['env', 'NIX_SSL_CERT_FILE=/root/ca.pem'];
      await builder.output(...trusting, ...copy);
      await reader.output(...trusting, 'nix-store', '--realise', closure.top);
      await assertHolds(reader, closure);
    });
  }
});

/** A certificate for the service, and the authority that it is from. */
async function certify(t: Owner): Promise<{ ca: string; table: string }> {
  const authority = makeAuthority();
  const { cert, key } = authority.issue(`DNS:${HOST}`);
  const folder = await temporaryFolder(t, 'tls');
  await writeFile(join(folder, 'cert.pem'), cert);
  await writeFile(join(folder, 'key.pem'), key, { mode: 0o600 });
  return {
    ca: authority.ca,
    table: `[tls]\ncert_file = "${folder}/cert.pem"\nkey_file = "${folder}/key.pem"\n`,
  };
}
