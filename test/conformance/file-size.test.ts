// A FileSize that is wrong beside hashes that are right: every client reads such a narinfo, and none looks at that size. It is put
// right as soon as the file is here. And a FileHash of another algorithm: where it is all there is, it counts.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { assertNotGood, get, head, put } from '../fixtures/client.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { type Compression, field, makePackage, readNarInfo } from '../fixtures/nar.ts';
import { withRanges } from '../fixtures/servers.ts';
import { chunked, startUpstream, status, whole } from '../fixtures/upstream.ts';

const MIB = 1 << 20;
const SIZES = ['0', '1', '3000', '123456789', '9007199254740991'];

for (const compression of ['none', 'gzip', 'xz', 'zstd'] satisfies Compression[]) {
  for (const size of [1000, 200_000]) {
    test(`a FileSize is wrong for a NAR of ${size} bytes in ${compression} → served, and put right`, async (t) => {
      const upstream = await startUpstream(t);
      const service = await startTestService(t, { upstreams: [upstream.url] });
      for (const said of SIZES) {
        const one = makePackage(`wrong-${said}`, { compression, size, fields: { FileSize: said } });
        upstream.on(one.narInfoPath, whole(one.narInfo));
        upstream.on(one.narPath, whole(one.file));
        const before = await get(service.url, one.narInfoPath);
        assert.equal(before.status, 200, before.text);
        const address = `/${field(before.text, 'URL')}`;
        const nar = await get(service.url, address);
        assert.equal(nar.status, 200, `${said}: ${nar.text.slice(0, 200)}`);
        assert.ok(nar.body.equals(one.file), said);
        await service.restart();
        const after = await get(service.url, one.narInfoPath);
        assert.equal(
          Number(readNarInfo(after.text).get('FileSize')?.[0] ?? one.file.length),
          one.file.length,
        );
        assert.equal((await head(service.url, address)).headers['content-length'], String(one.file.length));
        assert.ok((await get(service.url, address)).body.equals(one.file));
      }
    });
  }
}

test('a large NAR with a wrong FileSize, which is asked for in parts, from an upstream that gives them and one that tells no length', async (t) => {
  const upstream = await startUpstream(t);
  for (const by of [-1, MIB]) {
    const size = String(9 * MIB + by);
    const one = makePackage(`large-${by}`, {
      compression: 'gzip',
      size: 9 * MIB,
      fields: { FileSize: size },
    });
    upstream.on(one.narInfoPath, whole(one.narInfo));
    for (const [i, handler] of [withRanges(one.file), chunked(one.file)].entries()) {
      const service = await startTestService(t, { upstreams: [upstream.url] });
      upstream.on(one.narPath, handler);
      const { text } = await get(service.url, one.narInfoPath);
      const nar = await get(service.url, `/${field(text, 'URL')}`);
      assert.equal(nar.status, 200, nar.text.slice(0, 200));
      assert.ok(nar.body.equals(one.file), `with ranges: ${i === 0}`);
    }
  }
});

for (const fileHash of [true, false]) {
  // Without a FileHash only what Node unpacks can be judged.
  const compressions = (fileHash ? ['gzip', 'xz', 'zstd'] : ['gzip', 'br']) satisfies Compression[];
  for (const compression of compressions) {
    const hashes = fileHash ? 'a FileHash' : 'only a NarHash';
    test(`an upstream sends no length, and a FileSize is wrong beside ${hashes} of a NAR in ${compression} → whole, of one answer, and put right`, async (t) => {
      const upstream = await startUpstream(t);
      const service = await startTestService(t, { upstreams: [upstream.url] });
      for (const size of [1000, 300_000]) {
        for (const said of ['3000', '123456789']) {
          const fields = { FileSize: said, ...(!fileHash && { FileHash: undefined }) };
          const url = fileHash ? {} : { url: `nar/${size}-${said}.nar` };
          const one = makePackage(`unsized-${size}-${said}`, { compression, size, fields, ...url });
          const path = `/${field(one.narInfo, 'URL')}`;
          upstream.on(one.narInfoPath, whole(one.narInfo));
          upstream.on(path, chunked(one.file));
          const before = await get(service.url, one.narInfoPath);
          const address = `/${field(before.text, 'URL')}`;
          const nar = await get(service.url, address);
          assert.equal(nar.status, 200, `${said}: ${nar.text.slice(0, 200)}`);
          assert.ok(nar.body.equals(one.file), said);
          assert.equal(upstream.count(path), 1, said);
          await service.restart();
          upstream.on(path, status(500));
          const after = await get(service.url, one.narInfoPath);
          const is = Number(readNarInfo(after.text).get('FileSize')?.[0] ?? one.file.length);
          assert.equal(is, one.file.length);
          const kept = await get(service.url, address);
          assert.equal(kept.headers['content-length'], String(one.file.length));
          assert.ok(kept.body.equals(one.file));
        }
      }
    });
  }
}

test('an upstream sends no length, and ends early as if that were all → another gives the rest', async (t) => {
  const [short, good] = [await startUpstream(t), await startUpstream(t)];
  const service = await startTestService(t, { upstreams: [short.url, good.url] });
  for (const fileHash of [true, false]) {
    const hashless = { fields: { FileHash: undefined }, url: 'nar/early.nar.gz' };
    const one = makePackage(`early-${fileHash}`, {
      ...{ compression: 'gzip', size: 300_000 },
      ...(!fileHash && hashless),
    });
    const path = `/${field(one.narInfo, 'URL')}`;
    for (const upstream of [short, good]) upstream.on(one.narInfoPath, whole(one.narInfo));
    short.on(path, chunked(one.file.subarray(0, 200_000)));
    good.on(path, withRanges(one.file));
    const { text } = await get(service.url, one.narInfoPath);
    const nar = await get(service.url, `/${field(text, 'URL')}`);
    assert.deepEqual([nar.status, nar.body.equals(one.file)], [200, true]);
    const [asked] = good.requests.filter(({ url }) => url === path);
    if (fileHash) assert.match(asked?.headers.range ?? '', /^bytes=[1-9]/);
  }
});

test('an upstream sends no length and no end → given up behind what a NAR of that size can be packed to', async (t) => {
  const upstream = await startUpstream(t);
  const service = await startTestService(t, { upstreams: [upstream.url] });
  const one = makePackage('endless', { compression: 'xz', size: 100_000, fields: { FileSize: '7' } });
  upstream.on(one.narInfoPath, whole(one.narInfo));
  const LIMIT = 1 << 30;
  let sent = 0;
  upstream.on(one.narPath, (_request, response) => {
    const more = (): void => {
      if (response.destroyed || sent > LIMIT) return void response.destroy();
      sent += MIB;
      // The callback may come before anybody else has had a turn (Node 26).
      response.write(Buffer.alloc(MIB), () => setImmediate(more));
    };
    more();
  });
  const { text } = await get(service.url, one.narInfoPath);
  assertNotGood(await get(service.url, `/${field(text, 'URL')}`));
  assert.ok(sent < LIMIT, `${sent} bytes sent`);
});

test('a NAR of another size that is another file → 404, and nothing of it is sent', async (t) => {
  const upstream = await startUpstream(t);
  const service = await startTestService(t, { upstreams: [upstream.url] });
  for (const compression of ['none', 'xz', 'gzip'] satisfies Compression[]) {
    const one = makePackage(`other-${compression}`, { compression, size: 200_000 });
    upstream.on(one.narInfoPath, whole(one.narInfo));
    upstream.on(one.narPath, whole(one.file.subarray(0, 150_000)));
    const { text } = await get(service.url, one.narInfoPath);
    const nar = await get(service.url, `/${field(text, 'URL')}`);
    assert.equal(nar.status, 404, nar.text.slice(0, 200));
  }
});

test('one upstream has all of it, another a shorter one → that with the right size, at once', async (t) => {
  const [short, good] = [await startUpstream(t), await startUpstream(t)];
  const service = await startTestService(t, { upstreams: [short.url, good.url] });
  const one = makePackage('both', { compression: 'xz', size: 200_000 });
  for (const upstream of [short, good]) upstream.on(one.narInfoPath, whole(one.narInfo));
  short.on(one.narPath, whole(one.file.subarray(0, 150_000)));
  good.on(one.narPath, whole(one.file));
  const { text } = await get(service.url, one.narInfoPath);
  const nar = await get(service.url, `/${field(text, 'URL')}`);
  assert.deepEqual([nar.status, nar.body.equals(one.file)], [200, true]);
  assert.equal(short.count(one.narPath), 1);
});

test('50: a client sends back a FileSize that was served here once → taken, and put right', async (t) => {
  const upstream = await startUpstream(t);
  const service = await startTestService(t, { upstreams: [upstream.url] });
  const one = makePackage('sent-back', { compression: 'xz', fields: { FileSize: '7' } });
  upstream.on(one.narInfoPath, whole(one.narInfo));
  upstream.on(one.narPath, whole(one.file));
  const { text } = await get(service.url, one.narInfoPath);
  await get(service.url, `/${field(text, 'URL')}`);
  const signed = `${text}Sig: k-1:${Buffer.alloc(64).toString('base64')}\n`;
  const reply = await put(service.url, one.narInfoPath, signed);
  assert.equal(reply.status, 200, reply.text);
  const after = await get(service.url, one.narInfoPath);
  assert.equal(field(after.text, 'FileSize'), String(one.file.length));
  assert.match(after.text, /^Sig: k-1/m);
});

for (const algorithm of ['md5', 'sha1', 'sha512']) {
  test(`a FileHash by ${algorithm} is all there is → it tells which file is right`, async (t) => {
    const upstream = await startUpstream(t);
    const service = await startTestService(t, { upstreams: [upstream.url] });
    const make = (name: string) => {
      const plain = makePackage(name, { compression: 'xz', url: `nar/${name}.nar.xz` });
      const fileHash = `${algorithm}:${createHash(algorithm).update(plain.file).digest('hex')}`;
      const one = makePackage(name, {
        ...{ compression: 'xz', url: `nar/${name}.nar.xz` },
        fields: { FileHash: fileHash },
      });
      upstream.on(one.narInfoPath, whole(one.narInfo));
      return one;
    };
    const [good, bad] = [make('good'), make('bad')];
    upstream.on('/nar/good.nar.xz', whole(good.file));
    upstream.on('/nar/bad.nar.xz', whole(Buffer.from(bad.file).fill(7, 20, 30)));
    for (const [one, status] of [
      [good, 200],
      [bad, 404],
    ] as const) {
      const { text } = await get(service.url, one.narInfoPath);
      const nar = await get(service.url, `/${field(text, 'URL')}`);
      assert.equal(nar.status, status, nar.text.slice(0, 100));
      if (status === 200) assert.ok(nar.body.equals(one.file));
    }
  });
}
