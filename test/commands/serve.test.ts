import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { defer, temporaryFolder } from '../fixtures/defer.ts';
import { until } from '../fixtures/patience.ts';
import { program } from '../fixtures/project.ts';
import { run } from '../fixtures/run.ts';
import { startService } from '../fixtures/service.ts';

const PATH = '/nar/x.nar';

test('a port that is taken is one line and exit 1', async (t) => {
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  defer(t, () => other.close());
  const { port } = other.address() as AddressInfo;
  const cwd = await temporaryFolder(t);
  const outcome = await run(process.execPath, [program, '--listen', `127.0.0.1:${port}`], { cwd });
  assert.equal(outcome.code, 1);
  assert.match(
    outcome.stderr,
    new RegExp(`^nix-binary-cache: can't listen on 127\\.0\\.0\\.1:${port}: .*\n$`),
  );
});

test('a folder that can not be written is one line and exit 1', async (t) => {
  const cwd = await temporaryFolder(t);
  await writeFile(join(cwd, 'file'), '');
  const outcome = await run(process.execPath, [program, '--listen', '127.0.0.1:0', '--cache-dir', 'file'], {
    cwd,
  });
  assert.equal(outcome.code, 1);
  assert.match(outcome.stderr, /^nix-binary-cache: can't use the cache folder .*file.*\n$/);
});

/** An upstream that sends the first half of a body and keeps the second until it is let go. */
async function halfway(t: Parameters<typeof defer>[0]): Promise<{ url: string; finish(): unknown }> {
  const open: ServerResponse[] = [];
  const server = createServer((_, res) => {
    res.writeHead(200, { 'content-length': 8 }).write('half');
    open.push(res);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  defer(t, () => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, finish: () => open.map((res) => res.end('rest')) };
}

test('SIGTERM: no new connections, the running answer is finished, exit 0', async (t) => {
  const upstream = await halfway(t);
  const service = await startService(t, { config: `[[upstreams]]\nurl = "${upstream.url}"\n` });
  const answer = await fetch(service.url + PATH);
  const reader = (answer.body as ReadableStream<Uint8Array>).getReader();
  assert.equal(Buffer.from((await reader.read()).value ?? []).toString(), 'half');
  const stopped = service.stop();
  await until(async () => {
    const socket = connect(service.port, '127.0.0.1');
    const [event] = await Promise.race([once(socket, 'connect').then(() => ['open']), once(socket, 'error')]);
    socket.destroy();
    return event !== 'open';
  }, 'connections to be refused');
  upstream.finish();
  assert.equal(Buffer.from((await reader.read()).value ?? []).toString(), 'rest');
  assert.equal((await reader.read()).done, true);
  assert.equal(await stopped, 0);
});

test('a second signal stops at once', async (t) => {
  const upstream = await halfway(t);
  const service = await startService(t, { config: `[[upstreams]]\nurl = "${upstream.url}"\n` });
  const answer = await fetch(service.url + PATH);
  const first = service.stop();
  await service.logged(/SIGTERM/);
  process.kill(service.pid, 'SIGINT');
  assert.equal(await first, 1);
  await assert.rejects(answer.text());
});

test('an idle kept connection does not hold up the stop', async (t) => {
  const service = await startService(t);
  await (await fetch(`${service.url}/nix-cache-info`)).text();
  assert.equal(await service.stop(), 0);
});

test('SIGTERM ends a start that waits for another service to leave the folder, exit 0', async (t) => {
  const first = await startService(t);
  // As its exit code: the first process of a container would not even be ended by a signal that it does not listen for.
  const args = ['--listen', '127.0.0.1:0', '--cache-dir', first.dir];
  const second = spawn(process.execPath, [program, ...args], { cwd: first.home });
  defer(t, () => void second.kill('SIGKILL'));
  let log = '';
  second.stderr.setEncoding('utf8').on('data', (text) => {
    log += text;
  });
  await until(() => log.includes('waiting for its end'), 'the second one to wait');
  const closed = once(second, 'close');
  second.kill('SIGTERM');
  assert.deepEqual(await closed, [0, null]);
  assert.match(log, /SIGTERM: stopped before it was started\n$/);
  assert.equal((await fetch(`${first.url}/healthz`)).status, 200);
});
