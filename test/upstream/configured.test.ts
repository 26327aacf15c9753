import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { isCacheError } from '../../lib/errors.ts';
import { createUpstream } from '../../lib/upstream/configured.ts';
import { temporaryFolder } from '../fixtures/defer.ts';
import { makeAuthority } from '../fixtures/tls.ts';
import { upstreamConfig } from '../fixtures/upstream-config.ts';
import { createWorld, SOON } from '../fixtures/upstreams.ts';

test('every certificate of a ca_file must be one, and the file must be there', async (t) => {
  const folder = await temporaryFolder(t);
  const { breakers } = createWorld(t);
  const { ca } = makeAuthority();
  const broken = ca.replace(/\n[A-Za-z0-9+/]{20}/, '\n');
  const create = async (text: string | undefined) => {
    const caFile = join(folder, 'ca.pem');
    if (text !== undefined) await writeFile(caFile, text);
    (
      await createUpstream(upstreamConfig('https://a.test', { caFile }), {
        ...{ deadlines: SOON, breakers, emit: () => {} },
      })
    ).close();
  };
  const refused = (error: unknown) =>
    isCacheError(error, 'config') &&
    /^ca_file .*ca\.pem: expected certificates in PEM form: /.test(error.message);
  await assert.rejects(create(undefined), refused);
  for (const text of ['', 'nonsense', broken, ca + broken]) await assert.rejects(create(text), refused, text);
  await create(ca);
  await create(ca + ca);
});
