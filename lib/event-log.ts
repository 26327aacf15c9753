// The log as a listener to events: a line for each that a person should read, and none for those that are only counted. The
// compiler tells of an event that is forgotten here.

import { describe, isCacheError, lacksDescriptors } from './errors.ts';
import type { CacheEvent, Collected, Emit, Request } from './events.ts';
import { formatAge, formatBytes } from './format.ts';
import { type Level, type Log, warnSeldom } from './log.ts';

interface Line {
  readonly level: Level;
  readonly text: string;
  /** Of what may come with every request for as long as it lasts, and is told of once a minute. */
  readonly cause?: string;
  readonly next?: Line | undefined;
}

/** `requests`: whether every request has a line; one that fails for a reason of ours has one in any case. */
export function logSink(log: Log, { requests = true } = {}): Emit {
  const seldom = warnSeldom(log);
  const often = log.often ?? log.info;
  return (event) => {
    if (event.kind === 'request') {
      if (requests) often(requestLine(event));
      return;
    }
    for (let line = lineOf(event); line !== undefined; line = line.next) {
      if (line.cause === undefined) log[line.level](line.text);
      else seldom(line.cause, line.text);
    }
  };
}

const info = (text: string): Line => ({ level: 'info', text });
const warn = (text: string): Line => ({ level: 'warn', text });
const failure = (text: string): Line => ({ level: 'error', text });
const seldom = (cause: string, text: string): Line => ({ level: 'warn', text, cause });

function requestLine(event: Request): string {
  const { client, how, method, ms, status, target, whole } = event;
  return `${client} ${method} ${target} ${status ?? '-'} ${whole ? (how ?? '-') : 'cut'} ${Math.round(ms)} ms`;
}

function lineOf(event: Exclude<CacheEvent, Request>): Line | undefined {
  switch (event.kind) {
    case 'notice':
      return event;

    case 'request-failed': {
      const { error, method, target } = event;
      const line = `${method} ${target}: ${describe(error)}`;
      if (lacksDescriptors(error)) return seldom('request descriptors', line);
      if (isCacheError(error, 'full') || isCacheError(error, 'storage'))
        return seldom(`request ${error.code}`, line);
      return warn(line);
    }
    case 'answer-failed':
      return failure(`answering failed: ${describe(event.error)}`);

    case 'upload-ignored':
      return info(
        `${event.storePath} is already here with another content, which stays (NarHash ${event.narHash})`,
      );

    case 'download-resumed':
      return info(`${event.path} is continued from byte ${event.at} of ${event.bytes}`);
    case 'download-failed':
      return event.stopped
        ? info(`${describe(event.error)}; it goes on when it is asked for`)
        : warn(`${event.path} could not be had: ${describe(event.error)}`);
    case 'download-rejected':
      return warn(`${event.from.join(' and ')}: sent wrong bytes: ${event.error.message}`);
    case 'failover':
      return warn(`${event.why}; trying ${event.to}`);
    case 'failover-failed':
      return warn(`${event.path}: not from ${event.to} either: ${describe(event.error)}`);
    case 'part-failed':
      return warn(`${describe(event.error)}; ${event.again ? 'asking it again' : 'not asking it again'}`);
    case 'parts-in-order':
      return info(`${event.source}: gives its parts one after the other; those ahead are asked for again`);
    case 'manner-chosen': {
      const { coded, manner, parts, source } = event;
      const pace = (bytesPerMs: number | undefined) =>
        bytesPerMs === undefined ? 'an unknown pace' : `${formatBytes(bytesPerMs * 1000)}/s`;
      const how = manner === 'coded' ? 'in one coded answer' : 'in parts, not coded';
      return info(`${source}: ${how}: ${pace(coded)} coded, ${pace(parts)} in parts, as measured so far`);
    }
    case 'source-unfit':
      return warn(`${event.source}: ${event.problem}`);
    case 'guess-failed':
      return warn(`${describe(event.error)}; its own narinfo will tell`);
    case 'body-unkept': {
      const manner = event.passing ? 'is passed on without being kept' : 'was not kept';
      return seldom('body-unkept', `${event.path} ${manner}: ${event.why}`);
    }

    case 'narinfo-unusable':
      return warn(`${event.path} in the store is not usable: ${describe(event.error)}`);
    case 'narinfo-malformed':
      return warn(`${event.url}: ${describe(event.error)}; it is so again, and counts as missing there`);
    case 'narinfo-dropped':
      return warn(`${event.path} is dropped; of nar/${event.nar}, ${event.why}`);
    case 'narinfo-unkept':
      return seldom('narinfo-unkept', `${event.path} is served without being kept: ${event.why}`);
    case 'narinfo-unavailable':
      return warn(`narinfo of ${event.hash} can't be had, trying its NAR by path: ${describe(event.error)}`);

    case 'upstream-failed': {
      const { error, postponed, upstream } = event;
      const line = `upstream ${upstream}: ${describe(error)}`;
      if (lacksDescriptors(error)) return seldom('upstream descriptors', line);
      return postponed ? seldom(`upstream ${upstream}`, line) : warn(line);
    }
    case 'breaker-opened':
      return warn(
        `${event.name}: believed dead and passed over, but looked at every few seconds: ${describe(event.error)}`,
      );
    case 'breaker-closed':
      return info(`${event.name}: alive again after ${Math.round(event.ms / 1000)} s`);
    case 'proxy-astray':
      return warn(
        `${event.name}: has led to none of the destinations asked for lately (${event.destinations.join(', ')}): ` +
          `it may deny them all, or have no way out itself: ${describe(event.error)}`,
      );
    case 'proxy-leads':
      return info(`${event.name}: leads somewhere again`);

    case 'set-aside': {
      const { error, path, reason, to } = event;
      return error === undefined
        ? warn(`${path} is damaged (${reason}); moved to ${to}`)
        : failure(
            `${path} is damaged (${reason}); deleted, as it can't be moved to ${to}: ${describe(error)}`,
          );
    }
    case 'not-set-aside':
      return seldom(`damaged ${event.path}`, `${event.error.message}; it is not served`);
    case 'beginning-lost': {
      const { error, path, step } = event;
      if (step === 'take')
        return seldom('beginning', `the beginning of ${path} can't be used: ${describe(error)}`);
      const undone = step === 'keep' ? 'kept' : 'noted';
      return warn(`what has come of ${path} is not ${undone}: ${describe(error)}`);
    }
    case 'writable':
      return event.why === undefined
        ? info(`the cache folder ${event.folder} takes writes again`)
        : warn(
            `the cache folder ${event.folder} takes no writes now (${event.why}): what it holds is served, ` +
              'uploads are refused, and what is fetched is passed on without being kept',
          );

    case 'counted':
      return info(`holding ${event.objects} objects, ${formatBytes(event.bytes)}`);
    case 'count-failed':
      return warn(`what the cache holds could not be counted: ${describe(event.error)}`);
    case 'collected': {
      const { done, ms } = event;
      const next = done.stillTooMuch > 0 ? warn(`collection: ${stillTooMuchLine(done)}`) : undefined;
      return { ...info(`collection: ${collectedLine(done)}, ${(ms / 1000).toFixed(1)} s`), next };
    }
    case 'collection-failed':
      return warn(`collection failed: ${describe(event.error)}`);
    case 'uncollectable': {
      const { first, objects } = event;
      return warn(`collection: what can't be read is left as it is, ${objects} in all: ${first}`);
    }

    case 'scrubbed': {
      const { bytes, findings, ms, objects } = event;
      const read = `read all ${objects} objects, ${formatBytes(bytes)}, in ${formatAge(ms)}`;
      return info(`scrub: ${read}; ${findings} findings`);
    }
    case 'scrub-doubt':
      return warn(`scrub: ${event.label} is doubtful (${event.reason}); it stays`);
    case 'scrub-failed': {
      const on = event.againMs === undefined ? '' : `goes on in ${formatAge(event.againMs)}: `;
      return warn(`scrub: ${on}${describe(event.error)}`);
    }

    // Only counted: of each request there is a line, and of what fails.
    case 'uploaded':
    case 'ahead-fetched':
    case 'ahead-settled':
    case 'download-begun':
    case 'download-joined':
    case 'download-ended':
    case 'narinfo-unsigned':
    case 'upstream-request':
    case 'upstream-body':
      return undefined;
  }
}

/** What was done, for people. */
export function collectedLine({ bytes, objects, removedBytes, removedObjects }: Collected): string {
  const removed = `removed ${removedObjects} objects, ${formatBytes(removedBytes)}`;
  return `${removed}, of ${objects}, ${formatBytes(bytes)}`;
}

/** What could not be done, and why. */
export function stillTooMuchLine({ bytes, kept, removedBytes, stillTooMuch }: Collected): string {
  const ofOthers = stillTooMuch - (bytes - removedBytes);
  const why = [
    `${formatBytes(kept.pushed)} were pushed`,
    `${formatBytes(kept.pinned)} are pinned`,
    `${formatBytes(kept.used)} were used within the last hour`,
    ...(ofOthers > 0 ? [`${formatBytes(ofOthers)} on the disk are not the cache's`] : []),
  ];
  return `${formatBytes(stillTooMuch)} more than the limits allow must stay: ${why.join(', ')}`;
}
