import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isCacheError } from '../../lib/errors.ts';
import {
  askerOf,
  END_HEADERS,
  END_STREAM,
  type Frames,
  header,
  STATUS_200,
  startFrames,
  uint32,
} from '../fixtures/http2.ts';
import { patiently } from '../fixtures/patience.ts';

const MIB = 1 << 20;
const FLOOD = 200_000;
const nothing = Buffer.alloc(0);

/** Answers the first request with what the test says. */
type Answer = (frames: Frames, id: number) => unknown;

const head = (frames: Frames, id: number, flags = 0) =>
  frames.send('HEADERS', END_HEADERS | flags, id, STATUS_200);

/** What fails, and is to have failed before all of it was sent: what is in memory of it stays bounded. */
const FAILURES: Readonly<Record<string, Answer>> = {
  'a head of a mebibyte in one header': (frames, id) => {
    const bytes = Buffer.concat([STATUS_200, header('x-long', 'x'.repeat(MIB))]);
    for (let at = 0; at < bytes.length; at += 16_000) {
      const isLast = at + 16_000 >= bytes.length;
      const piece = bytes.subarray(at, at + 16_000);
      frames.send(at === 0 ? 'HEADERS' : 'CONTINUATION', isLast ? END_HEADERS : 0, id, piece);
    }
  },
  'a head of many headers': (frames, id) => {
    const one = header('x', '');
    const piece = Buffer.concat(Array<Buffer>(3000).fill(one));
    frames.send('HEADERS', 0, id, STATUS_200);
    for (let n = 0; n < 20; n++) frames.send('CONTINUATION', n === 19 ? END_HEADERS : 0, id, piece);
  },
  'a head that unpacks to far more than was sent': (frames, id) => {
    // Put into the dynamic table once, and named then by one byte each time.
    const bomb = header('x-bomb', 'x'.repeat(3000));
    bomb[0] = 0x40;
    const piece = Buffer.concat([STATUS_200, bomb, Buffer.alloc(12_000, 0xbe)]);
    frames.send('HEADERS', END_HEADERS, id, piece);
  },
  'a head that never ends': (frames, id) => {
    frames.send('HEADERS', 0, id, STATUS_200);
    return frames.flood(FLOOD, () => frames.send('CONTINUATION', 0, id, nothing));
  },
  'heads before the head without end': (frames, id) => {
    // :status: 103
    const early = header(':status', '103');
    return frames.flood(FLOOD, () => frames.send('HEADERS', END_HEADERS, id, early));
  },
  'pings without end': (frames) => frames.flood(FLOOD, () => frames.send('PING', 0, 0, Buffer.alloc(8))),
  'settings without end': (frames) =>
    frames.flood(FLOOD, (n) => {
      const setting = Buffer.concat([Buffer.of(0, 3), uint32(100 + (n % 2))]);
      return frames.send('SETTINGS', 0, 0, setting);
    }),
  'names that it says it is without end': (frames) =>
    frames.flood(FLOOD, (n) => {
      const name = Buffer.from(`https://${n}.test`);
      return frames.send('ORIGIN', 0, 0, Buffer.concat([Buffer.of(0, name.length), name]));
    }),
  'a stream reset before its head': (frames, id) => frames.send('RST_STREAM', 0, id, uint32(2)),
  'a push that was not allowed': (frames, id) =>
    frames.send('PUSH_PROMISE', END_HEADERS, id, Buffer.concat([uint32(2), STATUS_200])),
  'data before the head': (frames, id) => frames.send('DATA', END_STREAM, id, Buffer.from('x')),
  'an answer without a status': (frames, id) =>
    frames.send('HEADERS', END_HEADERS | END_STREAM, id, header('content-length', '0')),
  'two lengths that differ': (frames, id) => {
    const lengths = [header('content-length', '1'), header('content-length', '2')];
    frames.send('HEADERS', END_HEADERS, id, Buffer.concat([STATUS_200, ...lengths]));
  },
  'the end of the connection': (frames) => frames.socket.end(),
  'a reset of the connection': (frames) => frames.socket.destroy(),
  'a farewell for an error': (frames) =>
    frames.send('GOAWAY', 0, 0, Buffer.concat([uint32(1, 11), Buffer.from('calm')])),
};

for (const [what, answer] of Object.entries(FAILURES))
  test(`fails, and the next is asked: ${what}`, async (t) => {
    let isHostile = true;
    let rss = 0;
    const site = await startFrames(t, async (frames) => {
      for (let n = 0; ; n++) {
        const asked = await frames.next('HEADERS', n);
        if (asked === undefined) return;
        if (isHostile) {
          await answer(frames, asked.id);
          rss = Math.max(rss, process.memoryUsage().rss);
        } else {
          head(frames, asked.id);
          frames.send('DATA', END_STREAM, asked.id, Buffer.from('fine'));
        }
      }
    });
    const { text } = askerOf(t, site, { silenceMs: 1000 });
    const before = process.memoryUsage().rss;
    const failed = patiently(text('/'), 'an answer').then(
      (body) => assert.fail(`answered ${body}`),
      (error: unknown) => error,
    );
    const error = await failed;
    assert.ok(isCacheError(error, 'upstream'), `${error}`);
    assert.ok(error.message.length < 500, error.message);
    isHostile = false;
    // What was sent before may still be on its way.
    const again = await text('/').catch(() => text('/'));
    assert.equal(again, 'fine');
    assert.ok(rss - before < 100 * MIB, `${(rss - before) / MIB} MiB more`);
  });

/** What breaks a body. */
const BREAKS: Readonly<Record<string, Answer>> = {
  'a reset': (frames, id) => frames.send('RST_STREAM', 0, id, uint32(8)),
  'a reset that says that there is no error': (frames, id) => frames.send('RST_STREAM', 0, id, uint32(0)),
  'the end of the connection': (frames) => frames.socket.end(),
  'a farewell, and the end of the connection': (frames, id) => {
    frames.send('GOAWAY', 0, 0, uint32(id, 0));
    frames.socket.end();
  },
  'a farewell for an error': (frames, id) => frames.send('GOAWAY', 0, 0, uint32(id, 2)),
  'more than was announced': (frames, id) => frames.send('DATA', END_STREAM, id, Buffer.from('too much')),
  'less than was announced': (frames, id) => frames.send('DATA', END_STREAM, id),
  'data that brings nothing without end': (frames, id) =>
    frames.flood(FLOOD, () => frames.send('DATA', 0, id, nothing)),
  'a frame that is none': (frames, id) => frames.send('SETTINGS', 0, id, Buffer.from('no')),
};

for (const [what, broken] of Object.entries(BREAKS))
  test(`a body is broken by ${what}`, async (t) => {
    const site = await startFrames(t, async (frames) => {
      for (let n = 0; ; n++) {
        const asked = await frames.next('HEADERS', n);
        if (asked === undefined) return;
        const { id } = asked;
        frames.send('HEADERS', END_HEADERS, id, Buffer.concat([STATUS_200, header('content-length', '9')]));
        frames.send('DATA', 0, id, Buffer.from('a line 7\n').subarray(0, 8));
        if (n === 0) await broken(frames, id);
      }
    });
    const { ask } = askerOf(t, site, { silenceMs: 1000 });
    const response = await ask('/');
    await assert.rejects(patiently(response.toArray(), 'the end'), /aborted/);
  });

test('whoever never says a word is late', async (t) => {
  const site = await startFrames(t, () => {});
  const { text } = askerOf(t, site);
  await assert.rejects(text('/', { firstByteMs: 50 }), (error) => isCacheError(error, 'timeout'));
});

test('whoever allows no request is late', async (t) => {
  const site = await startFrames(t, (frames) =>
    frames.send('SETTINGS', 0, 0, Buffer.concat([Buffer.of(0, 3), uint32(0)])),
  );
  const { text } = askerOf(t, site);
  const all = await Promise.allSettled([1, 2, 3].map(() => text('/', { firstByteMs: 50 })));
  for (const one of all) assert.ok(one.status === 'rejected' && isCacheError(one.reason, 'timeout'));
});
