// A folder served by nginx with one worker, which is what one Node process compares with.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { defer, type Owner, temporaryFolder } from '../test/fixtures/defer.ts';
import { locate } from '../test/fixtures/need.ts';

/** Its URL; it ends with its owner. */
export async function startNginx(t: Owner, folder: string): Promise<string> {
  const home = await temporaryFolder(t, 'nginx');
  const port = await freePort();
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  const user = process.getuid?.() === 0 ? 'user root;' : '';
  await writeFile(
    join(home, 'nginx.conf'),
    `daemon off; master_process off; ${user} pid pid; error_log stderr notice;
events { }
http {
  ${temporary.map((name) => `${name}_temp_path ${name};`).join(' ')}
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;
  server { listen 127.0.0.1:${port}; root ${folder}; }
}
`,
  );
  const child = spawn(locate('nginx') ?? 'nginx', ['-p', home, '-c', 'nginx.conf', '-e', 'stderr'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const ended = once(child, 'close');
  defer(t, async () => {
    child.kill('SIGKILL');
    await ended;
  });
  let log = '';
  await new Promise<void>((resolve, reject) => {
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      log += text;
      if (/using the "\w+" event method/.test(log)) resolve();
    });
    ended.then(() => reject(new Error(`nginx ended: ${log}`)), reject);
  });
  return `http://127.0.0.1:${port}`;
}

/** nginx can't choose one itself and say which. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
