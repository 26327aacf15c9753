// nginx, as one Node process compares with it: one worker, reached without anything in between.

import type { Owner } from '../fixtures/defer.ts';
import { deadPort } from '../fixtures/origin.ts';
import * as fixture from '../system/fixtures/nginx.ts';

/** Serves `folder` until its owner ends; answers with the URL. */
export async function startNginx(t: Owner, folder: string): Promise<string> {
  return (await startFileServer(t, folder)).url;
}

/** The same, with its process; `settings` are directives of its `http` block. */
export async function startFileServer(
  t: Owner,
  folder: string,
  settings = '',
): Promise<{ readonly url: string; readonly pid: number }> {
  // nginx can't choose one itself and say which.
  const address = `127.0.0.1:${await deadPort()}`;
  const usual = 'sendfile on; tcp_nopush on; keepalive_requests 1000000;';
  const { pid } = await fixture.startNginx(t, folder, address, `${usual} ${settings}`);
  return { url: `http://${address}`, pid };
}
