// nginx, as one Node process compares with it: one worker, reached without anything in between.

import type { Owner } from '../fixtures/defer.ts';
import { deadPort } from '../fixtures/origin.ts';
import * as fixture from '../system/fixtures/nginx.ts';

/** Serves `folder` until its owner ends; answers with the URL. */
export async function startNginx(t: Owner, folder: string): Promise<string> {
  // nginx can't choose one itself and say which.
  const address = `127.0.0.1:${await deadPort()}`;
  await fixture.startNginx(t, folder, address, 'sendfile on; tcp_nopush on; keepalive_requests 1000000;');
  return `http://${address}`;
}
