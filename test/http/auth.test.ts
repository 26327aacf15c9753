import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { test } from 'node:test';
import { isCacheError } from '../../lib/errors.ts';
import { checkMayUpload } from '../../lib/http/auth.ts';

function from(remoteAddress: string | undefined, headers = {}): IncomingMessage {
  return { socket: { remoteAddress }, headers } as unknown as IncomingMessage;
}

for (const address of ['127.0.0.1', '127.1.2.3', '::1', '::ffff:127.0.0.1']) {
  test(`${address} is this machine, and may upload`, () => {
    checkMayUpload(from(address));
  });

  for (const header of ['x-forwarded-for', 'forwarded', 'via', 'origin']) {
    test(`${address} with ${header} speaks for another`, () => {
      const request = from(address, { [header]: '' });
      assert.throws(
        () => checkMayUpload(request),
        (error) => isCacheError(error, 'forbidden'),
      );
    });
  }
}

for (const address of [
  '192.0.2.1',
  '10.0.0.1',
  '126.255.255.255',
  '128.0.0.1',
  '0.0.0.0',
  '::',
  '::2',
  'fe80::1%eth0',
  '2001:db8::7f00:1',
  '::ffff:192.0.2.1',
  '::ffff:128.0.0.1',
  '::127.0.0.1',
  // The client has gone already.
  undefined,
  '',
]) {
  test(`${address} is another machine, and may not upload`, () => {
    assert.throws(
      () => checkMayUpload(from(address)),
      (error) => isCacheError(error, 'forbidden'),
    );
  });
}
