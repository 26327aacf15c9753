import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isErrno } from '../../lib/errors.ts';
import { lookUp } from '../../lib/wire/lookups.ts';

test('a name of /etc/hosts is found without any name server', async () => {
  assert.ok((await lookUp('localhost')).some(({ address }) => address === '127.0.0.1' || address === '::1'));
});

test('a name that nobody knows is one that is not found, or that no name server is there to ask for', async () => {
  // RFC 6761: nobody ever has it.
  await assert.rejects(lookUp('nobody.invalid'), (error) =>
    isErrno(error, 'ENOTFOUND', 'EAI_AGAIN', 'ECONNREFUSED', 'ETIMEOUT', 'ESERVFAIL', 'EREFUSED'),
  );
});
