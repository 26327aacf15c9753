// The log of what happens: every event has its line, or is known to have none.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CacheError } from '../lib/errors.ts';
import { logSink } from '../lib/event-log.ts';
import type { CacheEvent } from '../lib/events.ts';

type Facts<K extends CacheEvent['kind']> = Omit<Extract<CacheEvent, { kind: K }>, 'kind'>;
/** The compiler asks for every kind. */
type Cases = { readonly [K in CacheEvent['kind']]: readonly (readonly [Facts<K>, ...string[]])[] };

const broken = new CacheError('upstream', 'answered 500');
const full = new CacheError('full', 'no room');
const none = new CacheError('upstream', 'no way', Object.assign(new Error('EMFILE'), { code: 'EMFILE' }));
const asked = { client: '::1', method: 'GET', target: '/a', what: 'nar', status: 200, ms: 4.5, bytes: 1 };
const done = { objects: 9, bytes: 500, removedObjects: 2, removedBytes: 200, stillTooMuch: 0 };
const kept = { pushed: 100, pinned: 0, used: 200 };
const round = { objects: 3, bytes: 2048, findings: 1, ms: 86_400_000 };

const CASES: Cases = {
  notice: [
    [{ level: 'info', text: 'a' }, 'info a'],
    [{ level: 'warn', text: 'b' }, 'warn b'],
    [{ level: 'error', text: 'c' }, 'error c'],
  ],
  request: [
    [{ ...asked, how: 'joined', whole: true }, 'info ::1 GET /a 200 joined 5 ms'],
    [{ ...asked, how: 'hit', whole: false }, 'info ::1 GET /a 200 cut 5 ms'],
    [{ ...asked, status: undefined, how: undefined, whole: true }, 'info ::1 GET /a - - 5 ms'],
  ],
  'request-failed': [
    [{ method: 'GET', target: '/a', error: broken }, 'warn GET /a: answered 500'],
    [{ method: 'PUT', target: '/a', error: full }, 'warn PUT /a: no room'],
    // It lasts, and is told once.
    [{ method: 'PUT', target: '/b', error: full }],
    [{ method: 'GET', target: '/a', error: none }, 'warn GET /a: no way: EMFILE'],
    [{ method: 'GET', target: '/b', error: none }],
  ],
  'answer-failed': [[{ error: broken }, 'error answering failed: answered 500']],
  uploaded: [[{ path: '/nar/a', bytes: 1 }]],
  'upload-ignored': [
    [
      { storePath: '/nix/store/a', narHash: 'sha256:b' },
      'info /nix/store/a is already here with another content, which stays (NarHash sha256:b)',
    ],
  ],
  'ahead-fetched': [[{ what: 'nar', bytes: 9 }]],
  'ahead-settled': [[{ what: 'nar', bytes: 9, used: false }]],
  'download-begun': [[{ path: '/nar/a', from: 'http://u', bytes: undefined }]],
  'download-joined': [[{ path: '/nar/a' }]],
  'download-resumed': [[{ path: '/nar/a', at: 5, bytes: 9 }, 'info /nar/a is continued from byte 5 of 9']],
  'download-ended': [[{ path: '/nar/a', from: 'http://u', bytes: 9, ms: 1 }]],
  'download-failed': [
    [{ path: '/nar/a', error: broken, stopped: false, ms: 1 }, 'warn /nar/a could not be had: answered 500'],
    [
      { path: '/nar/a', error: broken, stopped: true, ms: 1 },
      'info answered 500; it goes on when it is asked for',
    ],
  ],
  'download-rejected': [
    [
      { path: '/nar/a', from: ['http://u/a', 'http://v/a'], error: broken },
      'warn http://u/a and http://v/a: sent wrong bytes: answered 500',
    ],
  ],
  failover: [[{ path: '/nar/a', to: 'http://u', why: 'it is wrong' }, 'warn it is wrong; trying http://u']],
  'failover-failed': [
    [
      { path: '/nar/a', to: 'http://u', error: broken },
      'warn /nar/a: not from http://u either: answered 500',
    ],
  ],
  'part-failed': [
    [{ error: broken, again: true }, 'warn answered 500; asking it again'],
    [{ error: broken, again: false }, 'warn answered 500; not asking it again'],
  ],
  'parts-in-order': [
    [
      { source: 'http://u' },
      'info http://u: gives its parts one after the other; those ahead are asked for again',
    ],
  ],
  'manner-chosen': [
    [
      { source: 'http://u', manner: 'coded', coded: 10_486, parts: 2097 },
      'info http://u: in one coded answer: 10.0 MiB/s coded, 2.0 MiB/s in parts, as measured so far',
    ],
    [
      { source: 'http://u', manner: 'parts', coded: 2097, parts: undefined },
      'info http://u: in parts, not coded: 2.0 MiB/s coded, an unknown pace in parts, as measured so far',
    ],
  ],
  'source-unfit': [[{ source: 'http://u', problem: 'has 1 bytes' }, 'warn http://u: has 1 bytes']],
  'guess-failed': [[{ error: broken }, 'warn answered 500; its own narinfo will tell']],
  'body-unkept': [
    [
      { path: '/nar/a', why: 'it is full', passing: true },
      'warn /nar/a is passed on without being kept: it is full',
    ],
    [{ path: '/nar/b', why: 'it is full', passing: false }],
  ],
  'narinfo-unusable': [
    [{ path: '/a.narinfo', error: broken }, 'warn /a.narinfo in the store is not usable: answered 500'],
  ],
  'narinfo-malformed': [
    [
      { url: 'http://u/a.narinfo', error: broken },
      'warn http://u/a.narinfo: answered 500; it is so again, and counts as missing there',
    ],
  ],
  'narinfo-unsigned': [[{ upstream: 'http://u', storePath: '/nix/store/a' }]],
  'narinfo-dropped': [
    [
      { path: '/a.narinfo', nar: 'b.nar', why: 'nobody has it' },
      'warn /a.narinfo is dropped; of nar/b.nar, nobody has it',
    ],
  ],
  'narinfo-unkept': [
    [{ path: '/a.narinfo', why: 'it is full' }, 'warn /a.narinfo is served without being kept: it is full'],
    [{ path: '/b.narinfo', why: 'it is full' }],
  ],
  'narinfo-unavailable': [
    [{ hash: 'a', error: broken }, "warn narinfo of a can't be had, trying its NAR by path: answered 500"],
  ],
  'upstream-request': [[{ upstream: 'http://u', status: 200, error: undefined, ms: 1 }]],
  'upstream-body': [[{ upstream: 'http://u', bytes: 1, received: 1, error: undefined }]],
  'upstream-failed': [
    [{ upstream: 'http://u', error: broken, postponed: false }, 'warn upstream http://u: answered 500'],
    [{ upstream: 'http://u', error: broken, postponed: false }, 'warn upstream http://u: answered 500'],
    [{ upstream: 'http://u', error: broken, postponed: true }, 'warn upstream http://u: answered 500'],
    [{ upstream: 'http://u', error: broken, postponed: true }],
    [{ upstream: 'http://u', error: none, postponed: false }, 'warn upstream http://u: no way: EMFILE'],
    [{ upstream: 'http://v', error: none, postponed: false }],
  ],
  'breaker-opened': [
    [
      { name: 'proxy http://p', error: broken },
      'warn proxy http://p: believed dead and passed over, but looked at every few seconds: answered 500',
    ],
  ],
  'breaker-closed': [[{ name: 'proxy http://p', ms: 2900 }, 'info proxy http://p: alive again after 3 s']],
  'proxy-astray': [
    [
      { name: 'proxy http://p', destinations: ['a', 'b'], error: broken },
      'warn proxy http://p: has led to none of the destinations asked for lately (a, b): ' +
        'it may deny them all, or have no way out itself: answered 500',
    ],
  ],
  'proxy-leads': [[{ name: 'proxy http://p' }, 'info proxy http://p: leads somewhere again']],
  'set-aside': [
    [
      { path: '/nar/a', reason: 'cut', to: '/q/a', error: undefined },
      'warn /nar/a is damaged (cut); moved to /q/a',
    ],
    [
      { path: '/nar/a', reason: 'cut', to: '/q/a', error: broken },
      "error /nar/a is damaged (cut); deleted, as it can't be moved to /q/a: answered 500",
    ],
  ],
  'not-set-aside': [
    [{ path: '/nar/a', error: broken }, 'warn answered 500; it is not served'],
    [{ path: '/nar/a', error: broken }],
  ],
  'beginning-lost': [
    [
      { path: '/nar/a', step: 'keep', error: broken },
      'warn what has come of /nar/a is not kept: answered 500',
    ],
    [
      { path: '/nar/a', step: 'note', error: broken },
      'warn what has come of /nar/a is not noted: answered 500',
    ],
    [
      { path: '/nar/a', step: 'take', error: broken },
      "warn the beginning of /nar/a can't be used: answered 500",
    ],
  ],
  writable: [
    [
      { folder: '/c', why: 'it is full' },
      'warn the cache folder /c takes no writes now (it is full): what it holds is served, uploads are refused, and what is ' +
        'fetched is passed on without being kept',
    ],
    [{ folder: '/c', why: undefined }, 'info the cache folder /c takes writes again'],
  ],
  counted: [[{ objects: 9, bytes: 2048 }, 'info holding 9 objects, 2.0 KiB']],
  'count-failed': [[{ error: broken }, 'warn what the cache holds could not be counted: answered 500']],
  collected: [
    [{ done: { ...done, kept }, ms: 1234 }, 'info collection: removed 2 objects, 200 B, of 9, 500 B, 1.2 s'],
    [
      { done: { ...done, kept, stillTooMuch: 300 }, ms: 0 },
      'info collection: removed 2 objects, 200 B, of 9, 500 B, 0.0 s',
      'warn collection: 300 B more than the limits allow must stay: 100 B were pushed, 0 B are pinned, 200 B were used within ' +
        'the last hour',
    ],
  ],
  'collection-failed': [[{ error: broken }, 'warn collection failed: answered 500']],
  uncollectable: [
    [{ objects: 2, first: 'a' }, "warn collection: what can't be read is left as it is, 2 in all: a"],
  ],
  scrubbed: [[round, 'info scrub: read all 3 objects, 2.0 KiB, in 1 d; 1 findings']],
  'scrub-doubt': [[{ label: '/a', reason: 'old' }, 'warn scrub: /a is doubtful (old); it stays']],
  'scrub-failed': [
    [{ error: broken, againMs: 3_600_000 }, 'warn scrub: goes on in 1 h: answered 500'],
    [{ error: broken, againMs: undefined }, 'warn scrub: answered 500'],
  ],
};

for (const [kind, cases] of Object.entries(CASES)) {
  test(`in the log: ${kind}`, () => {
    const said: string[] = [];
    const say = (level: string) => (line: string) => void said.push(`${level} ${line}`);
    const emit = logSink({ info: say('info'), warn: say('warn'), error: say('error') });
    for (const [facts, ...lines] of cases) {
      said.length = 0;
      emit({ kind, ...facts } as CacheEvent);
      assert.deepEqual(said, lines);
    }
  });
}

test('without a line of every request, what fails is still told', () => {
  const said: string[] = [];
  const say = (line: string) => void said.push(line);
  const emit = logSink({ info: say, warn: say, error: say }, { requests: false });
  emit({ kind: 'request', ...asked, how: 'hit', whole: true });
  emit({ kind: 'request-failed', method: 'GET', target: '/a', error: broken });
  assert.deepEqual(said, ['GET /a: answered 500']);
});
