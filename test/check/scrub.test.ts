// The scrub: everything once in its time, evenly, across restarts, by a clock that the test has in its hands.
import assert from 'node:assert/strict';
import { mkdir, readFile, rename, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { Scrub } from '../../lib/check/scrub.ts';
import { loadPosition, savePosition } from '../../lib/check/scrub-position.ts';
import { parseConfig } from '../../lib/config/config.ts';
import { logSink } from '../../lib/event-log.ts';
import type { Place } from '../../lib/store/upkeep.ts';
import { get } from '../fixtures/client.ts';
import { Holdings, idOf } from '../fixtures/holdings.ts';
import { startTestService } from '../fixtures/in-process.ts';
import { makePackage } from '../fixtures/nar.ts';
import { patiently } from '../fixtures/patience.ts';
import { startUpstream, whole } from '../fixtures/upstream.ts';

const DAY = 86_400_000;
const PERIOD = 30 * DAY;
const START = 1_700_000_000_000;
const HEADER_BYTES = 1024;
const flip = (bytes: Buffer) => {
  bytes[HEADER_BYTES] = (bytes[HEADER_BYTES] as number) ^ 1;
  return bytes;
};

interface Run {
  readonly log: string[];
  /** When each object had been read, as the position on the disk has it. */
  readonly seen: Map<string, number[]>;
  /** What the clock shows. */
  time: number;
}

/** Lets the scrub run until `ends` says so, which is asked whenever it sleeps; time passes only then. */
async function scrub(
  holdings: Holdings,
  ends: (run: Run) => boolean,
  { from = START, jump = (_: Run): void => {} } = {},
): Promise<Run> {
  const config = { ...parseConfig('upstreams = []', { file: '/x.toml' }), cacheDir: holdings.dir };
  const stop = new AbortController();
  const run: Run = { log: [], seen: new Map(), time: from };
  const note = (line: string) => run.log.push(line);
  const clock = {
    now: () => run.time,
    sleep: async (ms: number) => {
      // It may be in the next round by now.
      if (ends(run)) stop.abort(new Error('enough'));
      stop.signal.throwIfAborted();
      const position = await loadPosition(holdings.storage.upkeep);
      const id = position?.after?.slice(-64);
      if (id !== undefined && !run.seen.has(id)) run.seen.set(id, [run.time]);
      run.time += ms;
      jump(run);
      if (ends(run)) stop.abort(new Error('enough'));
      stop.signal.throwIfAborted();
    },
  };
  const { upkeep } = holdings.storage;
  const emit = logSink({ info: note, warn: note, error: note });
  const one = new Scrub({ upkeep, config, periodMs: PERIOD, emit, signal: stop.signal, clock });
  one.start();
  await patiently(one.idle(), 'the scrub to end');
  return run;
}

async function filled(t: Parameters<typeof Holdings.create>[0], count: number): Promise<Holdings> {
  const holdings = await Holdings.create(t);
  for (let i = 0; i < count; i++) await holdings.put(logPath(i), 'log', Buffer.alloc(5000, i), 'push');
  return holdings;
}

const logPath = (i: number) => `/log/${'0'.repeat(32)}-${i}`;
const rounds = ({ log }: Run) => log.filter((line) => line.startsWith('scrub: read all'));

test('everything is read once in the period, evenly, and then again', async (t) => {
  const holdings = await filled(t, 60);
  const run = await scrub(holdings, (one) => rounds(one).length === 2);
  assert.deepEqual(rounds(run), [
    'scrub: read all 60 objects, 353 KiB, in 30 d; 0 findings',
    'scrub: read all 60 objects, 353 KiB, in 30 d; 0 findings',
  ]);
  assert.ok(run.time - START >= 2 * PERIOD && run.time - START < 2.01 * PERIOD, String(run.time - START));
  const times = [...run.seen.values()].map(([first]) => ((first as number) - START) / PERIOD);
  assert.equal(times.length, 60);
  for (const [i, time] of times.entries())
    assert.ok(Math.abs(time - i / 60) < 0.02, `object ${i} at ${time}`);
});

test('a restart goes on where it was: nothing is read twice, nothing left out, in the same time', async (t) => {
  const holdings = await filled(t, 60);
  const seen: string[] = [];
  const log: string[] = [];
  let from = START;
  for (let days = 7; log.length === 0; days += 7) {
    const run = await scrub(holdings, (one) => one.time >= START + days * DAY || rounds(one).length > 0, {
      from,
    });
    for (const id of run.seen.keys()) if (id !== seen.at(-1)) seen.push(id);
    log.push(...rounds(run));
    // The service was off for a while.
    from = run.time + DAY;
  }
  assert.deepEqual(log, ['scrub: read all 60 objects, 353 KiB, in 30 d; 0 findings']);
  assert.deepEqual(seen, Array.from({ length: 60 }, (_, i) => idOf(logPath(i))).sort());
});

test('who was off for longer than the period does not read all at once', async (t) => {
  const holdings = await filled(t, 60);
  await scrub(holdings, (one) => one.time > START + DAY);
  const from = START + 100 * DAY;
  const run = await scrub(holdings, (one) => rounds(one).length > 0, { from });
  assert.ok(run.time - from >= 0.09 * PERIOD, String(run.time - from));
});

test('a clock set back, or a position of nonsense, begins nothing strange', async (t) => {
  const holdings = await filled(t, 10);
  let jumped = false;
  const jump = (run: Run) => {
    if (jumped || run.time < START + 5 * DAY) return;
    jumped = true;
    run.time -= 1000 * DAY;
  };
  const run = await scrub(holdings, (one) => rounds(one).length > 0, { jump });
  assert.equal(run.seen.size, 10);
  for (const text of ['', '{', 'null', '{"format":1}', '{"format":1,"startedAt":"x"}']) {
    await writeFile(join(holdings.dir, 'scrub.json'), text);
    assert.equal(await loadPosition(holdings.storage.upkeep), undefined, text);
  }
  const position = {
    startedAt: 1,
    after: 'ab'.repeat(32) as Place,
    objects: 2,
    bytes: 3,
    findings: 4,
  };
  await savePosition(holdings.storage.upkeep, position);
  assert.deepEqual(await loadPosition(holdings.storage.upkeep), position);
});

test('what is damaged is set aside, and with a lost NAR the pushed narinfo that names it', async (t) => {
  const holdings = await filled(t, 5);
  const one = makePackage('one', { compression: 'xz', size: 100_000 });
  await holdings.package(one, 'push');
  await holdings.edit(one.narPath, flip);
  await holdings.edit(logPath(3), flip);
  const run = await scrub(holdings, (now) => rounds(now).length > 0);
  const labels = (await holdings.quarantined()).map(([label]) => label);
  assert.deepEqual(labels, [one.narInfoPath, one.narPath, logPath(3)].sort());
  assert.match(rounds(run)[0] ?? '', / 3 findings$/);
});

test('the narinfo of a NAR that is here again stays', async (t) => {
  const holdings = await Holdings.create(t);
  const one = makePackage('one');
  await holdings.package(one, 'push');
  // A damaged copy where nobody looks for it goes, as the NAR itself would that is then pushed anew.
  const stray = join(holdings.dir, idOf(one.narPath).startsWith('00') ? '01' : '00');
  await mkdir(stray);
  await writeFile(join(stray, idOf(one.narPath)), flip(await readFile(holdings.file(one.narPath))));
  const run = await scrub(holdings, (each) => rounds(each).length > 0);
  assert.match(rounds(run).join(), / 1 findings$/);
  assert.deepEqual((await holdings.ids()).sort(), [idOf(one.narInfoPath), idOf(one.narPath)].sort());
});

test('a folder that is not there stops nothing: it goes on when it is back', async (t) => {
  const holdings = await filled(t, 3);
  const away = `${holdings.dir}-away`;
  await rename(holdings.dir, away);
  let back: Promise<void> | undefined;
  const jump = () => {
    back ??= rename(away, holdings.dir);
  };
  const run = await scrub(holdings, (one) => rounds(one).length > 0, { jump });
  await back;
  assert.match(run.log[0] ?? '', /^scrub: goes on in 1 h: can't write .*scrub\.json/);
  assert.match(rounds(run)[0] ?? '', /read all 3 objects/);
});

test('in the service: what is found is fetched anew on request, and a stop does not wait for it', async (t) => {
  const one = makePackage('one', { size: 50_000 });
  const upstream = await startUpstream(t);
  upstream.on(one.narInfoPath, whole(one.narInfo));
  upstream.on(one.narPath, whole(one.file));
  const service = await startTestService(t, {
    upstreams: [upstream.url],
    config: { scrubMs: 300 },
    prepare: async (dir) => {
      const holdings = new Holdings(dir);
      await holdings.package(one, upstream.url);
      await holdings.edit(one.narPath, flip);
    },
  });
  await service.logged(new RegExp(`^warn ${one.narPath} is damaged \\(the SHA-256 of its body is`));
  await service.logged(/^info scrub: read all \d+ objects/);
  assert.ok((await get(service.url, one.narPath)).body.equals(one.file));
  assert.equal(upstream.count(one.narPath), 1);
  await service.restart();
  await service.stop();
});

test('a file that can not be read holds up no round', async (t) => {
  const holdings = await filled(t, 10);
  const file = holdings.file('/log/loop');
  await mkdir(dirname(file), { recursive: true });
  await symlink(file, file);
  const { log } = await scrub(holdings, (one) => rounds(one).length === 1);
  assert.ok(log.some((line) => line.startsWith('scrub: ') && line.includes(`can't read ${file}: ELOOP`)));
  assert.match(log.at(-1) ?? '', /read all 11 objects, .* in 30 d; 1 findings/);
});
