// Section 8 of docs/protocol.md, 83: real programs that fetch in parts, of a NAR that is not here yet; and a real server behind the
// service that gives none (70).
import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { get, open } from '../../fixtures/client.ts';
import { temporaryFolder } from '../../fixtures/defer.ts';
import { startGatedNar } from '../../fixtures/gated-nar.ts';
import { startTestService } from '../../fixtures/in-process.ts';
import { field, makePackage } from '../../fixtures/nar.ts';
import { startRelay } from '../../fixtures/relay.ts';
import { output } from '../../fixtures/run.ts';
import { startUpstream, whole } from '../../fixtures/upstream.ts';
import { need } from '../fixtures/need.ts';
import { startNginx } from '../fixtures/nginx.ts';
import { startCachingSquid } from '../fixtures/real-proxy.ts';

const MIB = 2 ** 20;
const one = makePackage('parts', { size: 12 * MIB });

/** The service in front of an upstream that has the NAR, and the address of that. */
async function startCold(t: TestContext): Promise<string> {
  const upstream = await startUpstream(t);
  upstream.on(one.narInfoPath, whole(one.narInfo));
  upstream.on(one.narPath, whole(one.file));
  const service = await startTestService(t, { upstreams: [upstream.url] });
  const narInfo = await get(service.url, one.narInfoPath);
  return `${service.url}/${field(narInfo.text, 'URL')}`;
}

const PROGRAMS: Record<string, (url: string, folder: string) => string[]> = {
  aria2c: (url, folder) => {
    const parts = ['-x16', '-s16', '-k1M', '--max-tries=1', '--file-allocation=none', '--async-dns=false'];
    return [...parts, '--no-conf', '-q', '-d', folder, url];
  },
  lftp: (url, folder) => [
    '--norc',
    '-c',
    `set net:max-retries 1; set cmd:fail-exit true; pget -n 8 -O ${folder} ${url}`,
  ],
};
for (const [program, args] of Object.entries(PROGRAMS)) {
  test(`83: ${program} gets a cold NAR in many parts`, { skip: need(program) }, async (t) => {
    const HOME = await temporaryFolder(t, 'home');
    const folder = await temporaryFolder(t, program);
    await output(program, args(await startCold(t), folder), { cwd: folder, env: { ...process.env, HOME } });
    const [name = '', ...others] = await readdir(folder);
    assert.deepEqual(others, []);
    assert.ok((await readFile(join(folder, name))).equals(one.file));
  });
}

test('83: nginx in front, which asks for slices → they come while the NAR does', {
  skip: need('nginx'),
}, async (t) => {
  const { gate, path, service } = await startGatedNar(t, one);
  const folder = await temporaryFolder(t, 'slices');
  const socket = join(folder, 'socket');
  const slices = `
    proxy_cache_path ${join(folder, 'kept')} keys_zone=kept:1m;
    server {
      listen unix:${socket};
      location / {
        slice 1m;
        proxy_pass ${service.url};
        proxy_http_version 1.1;
        proxy_set_header Range $slice_range;
        proxy_cache kept;
        proxy_cache_key $uri$slice_range;
        proxy_cache_valid 200 206 1h;
      }
    }`;
  await startNginx(t, folder, `unix:${join(folder, 'unused')}`, slices);
  const front = await startRelay(t, () => connect({ path: socket, allowHalfOpen: true }));
  const opened = open(front.url, path);
  gate.release(4 * MIB);
  const client = await opened;
  const begun = await client.atLeast(3 * MIB);
  assert.ok(begun.equals(one.file.subarray(0, begun.length)));
  gate.release();
  const { complete, body } = await client.finish();
  assert.ok(complete && body.equals(one.file));
});

test('83: curl, through squid, gets the first part of a cold NAR while the rest is still to come', {
  skip: need('curl', 'squid'),
}, async (t) => {
  const { gate, path, service } = await startGatedNar(t, one);
  const port = await startCachingSquid(t);
  const folder = await temporaryFolder(t, 'squid');
  const got = join(folder, 'got');
  gate.release(5 * MIB);
  const args = ['-q', '-sS', '--fail', '-x', `http://127.0.0.1:${port}`, '--noproxy', '', '-m', '60'];
  await output('curl', [...args, '-r', `0-${4 * MIB - 1}`, '-o', got, service.url + path]);
  assert.ok((await readFile(got)).equals(one.file.subarray(0, 4 * MIB)));
  gate.release();
});

test('70: a real nginx that gives no parts, and hangs up in the middle → whole', {
  skip: need('nginx'),
}, async (t) => {
  const folder = await temporaryFolder(t, 'no-parts');
  await mkdir(join(folder, 'nar'));
  await writeFile(join(folder, one.narInfoPath), one.narInfo);
  await writeFile(join(folder, one.narPath), one.file);
  const socket = join(await temporaryFolder(t, 'nginx-socket'), 'socket');
  await startNginx(t, folder, `unix:${socket}`, 'max_ranges 0;');
  let answers = 0;
  const relay = await startRelay(t, () => {
    const target = connect({ path: socket, allowHalfOpen: true });
    // The first answers break off in the middle.
    let left = ++answers <= 2 ? 5 * MIB : Number.POSITIVE_INFINITY;
    target.on('data', (chunk) => {
      left -= chunk.length;
      if (left < 0) target.destroy();
    });
    return target;
  });
  const service = await startTestService(t, { upstreams: [relay.url] });
  const reply = await get(service.url, one.narPath);
  assert.ok(reply.complete && reply.body.equals(one.file));
});
