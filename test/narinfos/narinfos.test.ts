// Which answers about a path are believed, and what is said when none is.
import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseConfig, type UpstreamConfig } from '../../lib/config/config.ts';
import { createEngine } from '../../lib/engine.ts';
import { logSink } from '../../lib/event-log.ts';
import type { CacheEvent, Emit } from '../../lib/events.ts';
import type { Signer } from '../../lib/nix/signature.ts';
import type { StoreHash } from '../../lib/nix/store-path.ts';
import { fileOf } from '../fixtures/aged.ts';
import { get, push, put } from '../fixtures/client.ts';
import { defer, temporaryFolder } from '../fixtures/defer.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { field, type Key, makePackage, publicKey, sign } from '../fixtures/nar.ts';
import { until } from '../fixtures/patience.ts';
import { gated, raw, startUpstream, status, whole } from '../fixtures/upstream.ts';
import { upstreamConfig } from '../fixtures/upstream-config.ts';

const KEY: Key = { name: 'own-1', seed: Buffer.alloc(32, 1) };
const OTHER: Key = { name: 'other-1', seed: Buffer.alloc(32, 2) };
const FORGED: Key = { name: 'own-1', seed: Buffer.alloc(32, 3) };

function demanding(url: string): UpstreamConfig {
  return upstreamConfig(url, { publicKeys: [publicKey(KEY)] });
}

const signed = makePackage('signed', { keys: [OTHER, KEY] });

test('what one of the keys has signed is served, with all its signatures', async (t) => {
  const upstream = await startUpstream(t);
  upstream.on(signed.narInfoPath, whole(signed.narInfo));
  const service = await startTestService(t, { upstreams: [demanding(upstream.url)] });
  const reply = await get(service.url, signed.narInfoPath);
  assert.equal(reply.status, 200);
  assert.equal(reply.text.match(/^Sig: /gm)?.length, 2);
});

test('a path whose name follows from its content needs no signature', async (t) => {
  // Made by Nix 2.8.0, with nix-store --add.
  const path = 'z3n6ml62lc6l9glpaz6fq7fvi2rks9vq-a.txt';
  const hash = '04zwf782yjwnh3q6hz5izfd6jyip8kgw6g6yj43fiqhbyhdd0dqw';
  const text = (ca: string) =>
    `StorePath: /nix/store/${path}\nURL: nar/x.nar\nNarHash: sha256:${hash}\nNarSize: 120\nCA: ${ca}\n`;
  const upstream = await startUpstream(t);
  const narInfoPath = `/${path.slice(0, 32)}.narinfo`;
  const service = await startTestService(t, { upstreams: [demanding(upstream.url)] });
  upstream.on(narInfoPath, whole(text(`fixed:sha256:${hash}`)));
  assert.equal((await get(service.url, narInfoPath)).status, 502, 'a content address of another path');
  upstream.on(narInfoPath, whole(text(`fixed:r:sha256:${hash}`)));
  assert.equal((await get(service.url, narInfoPath)).status, 200);
});

const wrong = makePackage('wrong');
const BAD: Record<string, { body: string; logged: RegExp }> = {
  unsigned: { body: wrong.narInfo, logged: /expected a signature of own-1 that verifies, found none$/ },
  'signed by another': {
    body: `${wrong.narInfo}Sig: ${sign(wrong.fingerprint, OTHER)}\n`,
    logged: /expected a signature of own-1 that verifies, found other-1$/,
  },
  'signed by another under the right name': {
    body: `${wrong.narInfo}Sig: ${sign(wrong.fingerprint, FORGED)}\n`,
    logged: /expected a signature of own-1 that verifies, found own-1$/,
  },
  'signed with another size': {
    body: `${makePackage('wrong', { keys: [KEY] }).narInfo.replace(/^NarSize: .*$/m, 'NarSize: 7')}`,
    logged: /expected a signature of own-1 that verifies, found own-1$/,
  },
  'about another path': { body: signed.narInfo, logged: /narinfo of .* is about .*-signed$/ },
  'about another store': {
    body: makePackage('wrong', { storeDir: '/gnu/store', keys: [KEY] }).narInfo,
    logged: /StorePath is ".*", expected a store path in \/nix\/store$/,
  },
  'cut off': { body: wrong.narInfo.slice(0, -1), logged: /does not end with a newline/ },
  'no narinfo': { body: 'hello\n', logged: /not "Name: value"/ },
};

for (const [what, { body, logged }] of Object.entries(BAD)) {
  test(`a narinfo that is ${what} is no answer: the next upstream's is served`, async (t) => {
    const [bad, good] = [await startUpstream(t), await startUpstream(t)];
    bad.on(wrong.narInfoPath, whole(body));
    good.on(wrong.narInfoPath, whole(`${wrong.narInfo}Deriver: ${wrong.base}.drv\n`));
    const service = await startTestService(t, { upstreams: [demanding(bad.url), good.url] });
    const reply = await get(service.url, wrong.narInfoPath);
    assert.equal(field(reply.text, 'Deriver'), `${wrong.base}.drv`);
    const line = await service.logged(logged);
    assert.ok(line.startsWith(`warn upstream ${bad.url}: ${bad.url}${wrong.narInfoPath}: `), line);
  });

  test(`a narinfo that is ${what} is no miss, and its upstream is still asked`, async (t) => {
    const [bad, empty] = [await startUpstream(t), await startUpstream(t)];
    bad.on(wrong.narInfoPath, whole(body));
    bad.on(signed.narInfoPath, whole(signed.narInfo));
    const upstreams = [demanding(bad.url), empty.url];
    const service = await startTestService(t, { upstreams, config: { negativeTtlMs: 60_000 } });
    for (let i = 0; i < 5; i++) assert.equal((await get(service.url, wrong.narInfoPath)).status, 502);
    assert.equal((await get(service.url, signed.narInfoPath)).status, 200);
    assert.equal(bad.count(wrong.narInfoPath), 5);
  });
}

test('narinfos that lack a signature are counted with their upstream, those that are none for another reason are not', async (t) => {
  const [bad, good] = [await startUpstream(t), await startUpstream(t)];
  const dir = await temporaryFolder(t);
  const config = parseConfig(
    [bad, good]
      .map(({ url }) => `[[upstreams]]\nurl = "${url}"\npublic_keys = ["${publicKey(KEY)}"]\n`)
      .join(''),
    { file: join(dir, 'cache.toml') },
  );
  const log: string[] = [];
  const events: CacheEvent[] = [];
  const write = (line: string) => void log.push(line);
  const sink = logSink({ info: write, warn: write, error: write });
  const emit: Emit = (event) => {
    events.push(event);
    sink(event);
  };
  const nobody = { tokens: [], signers: [], tls: undefined };
  const { signal } = new AbortController();
  const engine = await createEngine(config, nobody, emit, { signal, now: () => 0 });
  defer(t, () => engine.close());
  const hash = wrong.hash as StoreHash;
  good.on(wrong.narInfoPath, whole(makePackage('wrong', { keys: [KEY] }).narInfo));
  for (const { body } of Object.values(BAD)) {
    bad.on(wrong.narInfoPath, whole(body));
    assert.ok((await engine.narInfos.find(hash)) !== undefined);
    await engine.narInfos.settled(hash);
    await engine.store.delete(wrong.narInfoPath);
    engine.narInfos.forget(hash);
  }
  const unsigned = events.flatMap((event) => (event.kind === 'narinfo-unsigned' ? [event.upstream] : []));
  assert.deepEqual(unsigned, Array(4).fill(bad.url));
  const named = log.filter((line) => /expected a signature of own-1 that verifies, found \S+$/.test(line));
  assert.equal(named.length, 4, log.join('\n'));
});

test('a key has a name as long as it likes, but not in the log', async (t) => {
  const upstream = await startUpstream(t);
  const long = `${'n'.repeat(500_000)}:${Buffer.alloc(64).toString('base64')}`;
  upstream.on(wrong.narInfoPath, whole(`${wrong.narInfo}Sig: ${long}\n`));
  const service = await startTestService(t, { upstreams: [demanding(upstream.url)] });
  assert.equal((await get(service.url, wrong.narInfoPath)).status, 502);
  assert.ok((await service.logged(/expected a signature of own-1 that verifies, found n{50}/)).length < 1000);
  for (const line of service.log) assert.ok(line.length < 1000);
});
for (const head of ['HTTP/1.0 200 OK', 'HTTP/1.1 200 OK\r\nConnection: close']) {
  test(`a narinfo that may be cut off behind a line, ${JSON.stringify(head)}, is no answer without a signature`, async (t) => {
    const [cut, good] = [await startUpstream(t), await startUpstream(t)];
    const lines = wrong.narInfo.split(/(?<=\n)/);
    cut.on(wrong.narInfoPath, raw(`${head}\r\n\r\n`, lines.slice(0, -1).join('')));
    good.on(wrong.narInfoPath, whole(wrong.narInfo));
    const service = await startTestService(t, { upstreams: [cut.url, good.url] });
    assert.equal(field((await get(service.url, wrong.narInfoPath)).text, 'References'), '');
    cut.on(signed.narInfoPath, raw(`${head}\r\n\r\n`, signed.narInfo));
    const sure = await startTestService(t, { upstreams: [demanding(cut.url)] });
    assert.equal((await get(sure.url, signed.narInfoPath)).status, 200);
  });
}

test('on_upstream_error = "miss" turns failures into 404, none of which is remembered', async (t) => {
  const [broken, empty] = [await startUpstream(t), await startUpstream(t)];
  broken.otherwise(status(500));
  const config = { onUpstreamError: 'miss', negativeTtlMs: 60_000 } as const;
  const service = await startTestService(t, { upstreams: [broken.url, empty.url], config });
  for (const path of [signed.narInfoPath, signed.narPath]) {
    assert.equal((await get(service.url, path)).status, 404, path);
  }
  broken.on(signed.narInfoPath, whole(signed.narInfo));
  assert.equal((await get(service.url, signed.narInfoPath)).status, 200);
});

test('however many ask for a path at once, each upstream is asked once', async (t) => {
  const [first, second] = [await startUpstream(t), await startUpstream(t)];
  const gate = gated(Buffer.from(signed.narInfo));
  second.on(signed.narInfoPath, gate.handler);
  const service = await startTestService(t, { upstreams: [first.url, second.url] });
  const replies = Array.from({ length: 50 }, () => get(service.url, signed.narInfoPath));
  await second.asked(signed.narInfoPath);
  gate.release();
  for (const reply of await Promise.all(replies)) assert.equal(reply.status, 200);
  assert.deepEqual([first.count(), second.count()], [1, 1]);
});

test('while the first upstream thinks, the second answers', async (t) => {
  const [first, second] = [await startUpstream(t), await startUpstream(t)];
  const gate = gated(Buffer.from(signed.narInfo));
  first.on(signed.narInfoPath, gate.handler);
  second.on(signed.narInfoPath, whole(signed.narInfo));
  const upstreams = [first.url, second.url];
  const service = await startTestService(t, { upstreams, config: { hedgeDelayMs: 10 } });
  assert.equal((await get(service.url, signed.narInfoPath)).status, 200);
  await gate.abandoned;
});

test('a miss is remembered for narinfos and all that is small, not for NARs; an upload ends it at once', async (t) => {
  const upstream = await startUpstream(t);
  const config = { negativeTtlMs: 3_600_000 };
  const service = await startTestService(t, { upstreams: [upstream.url], config });
  const one = makePackage('one');
  const small = [`/${one.hash}.ls`, `/log/${one.base}.drv`];
  const paths = [one.narInfoPath, ...small, one.narPath];
  for (let i = 0; i < 3; i++) {
    for (const path of paths) assert.equal((await get(service.url, path)).status, 404, path);
  }
  assert.deepEqual(
    paths.map((path) => upstream.count(path)),
    [1, 1, 1, 3],
  );
  await push(service.url, one);
  for (const path of small) await put(service.url, path, '{}');
  for (const path of paths) assert.equal((await get(service.url, path)).status, 200, path);

  // And not only while the upload is here.
  await rm(fileOf(service.dir, one.narInfoPath));
  for (const path of small) await rm(fileOf(service.dir, path));
  for (const path of small) assert.equal((await get(service.url, path)).status, 404, path);
  assert.deepEqual(
    small.map((path) => upstream.count(path)),
    [2, 2],
  );
  const isAsked = async () => {
    await get(service.url, one.narInfoPath);
    return upstream.count(one.narInfoPath) > 1;
  };
  await until(isAsked, 'the narinfo to be looked for again');
});

const SIGNER: Signer = { publicKey: publicKey(KEY), sign: () => 'own-1:c2ln', signText: () => 'own-1:c2ln' };

test('what is found while other keys come is signed with those from then on', async (t) => {
  const upstream = await startUpstream(t);
  const one = makePackage('found');
  upstream.on(one.narInfoPath, whole(one.narInfo));
  const dir = await temporaryFolder(t);
  const toml = `cache_dir = "${dir}"\n[[upstreams]]\nurl = "${upstream.url}"\n`;
  const config = parseConfig(toml, { file: join(dir, 'cache.toml') });
  const nobody = { tokens: [], signers: [], tls: undefined };
  const { signal } = new AbortController();
  const engine = await createEngine(config, nobody, () => {}, { signal, now: () => 0 });
  defer(t, () => engine.close());
  const hash = one.hash as StoreHash;
  const found = await engine.narInfos.find(hash);
  assert.doesNotMatch(found?.known.served ?? 'Sig:', /^Sig: /m);
  engine.narInfos.reconfigure({ signers: [SIGNER], sign: 'all' });
  await engine.narInfos.settled(hash);
  assert.match((await engine.narInfos.find(hash))?.known.served ?? '', /^Sig: own-1:/m);
});
