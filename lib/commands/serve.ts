// `serve`: runs the service until it is told to stop.
import type { Config } from '../config.ts';
import { describe } from '../errors.ts';
import type { Log } from '../log.ts';
import { startService } from '../service.ts';
import { exitNow, killSelf } from './exit.ts';

/** How long running answers may go on once the service was told to stop. */
const GRACE_MS = 30_000;

/**
 * Serves until SIGTERM or SIGINT; a second signal does not wait for running answers. At SIGHUP tokens, keys and certificates
 * are taken anew from what `load` gives, if that can be used.
 * @throws CacheError `config` or `startup`
 */
export async function serve(load: () => Promise<Config>, log: Log): Promise<void> {
  const config = await load();
  const starting = startService(config, log);
  // From the first moment: until somebody listens for it, a SIGHUP ends the process.
  reloadAtHangup(async () => (await starting).reload(await load()), log);
  const service = await starting;
  // Before anybody is told that it listens, and may send one.
  const stopping = stopSignal(log);
  log.info(`listening on ${service.url}, keeping ${config.cacheDir}, asking ${describeUpstreams(config)}`);
  await stopping;
  if (await service.stop(GRACE_MS)) {
    log.info('stopped');
    // Nothing of ours is left, but a question to a name server that nobody waits for any more would keep Node for seconds.
    return exitNow(0);
  }
  log.error('stopped without waiting any longer for the disk, which hangs');
  killSelf();
}

/** One at a time: two at once might end with the older one. */
function reloadAtHangup(reload: () => Promise<void>, log: Log): void {
  let last = Promise.resolve();
  process.on('SIGHUP', () => {
    last = last.then(reload).then(
      () => log.info('SIGHUP: tokens, keys and certificates were read again'),
      (error) => log.error(`SIGHUP: the configuration stays as it was: ${describe(error)}`),
    );
  });
}

function describeUpstreams({ upstreams }: Config): string {
  const names = upstreams.map(({ url, proxy }) =>
    proxy === undefined ? url : `${url} through ${proxy.label}`,
  );
  return names.length === 0 ? 'no upstream' : names.join(', ');
}

/** Resolves at the first signal; the second one ends the process there and then. */
function stopSignal(log: Log): Promise<void> {
  return new Promise((resolve) => {
    let signals = 0;
    const stop = (signal: NodeJS.Signals) => {
      signals++;
      if (signals > 1) {
        log.warn(`${signal} again: stopping at once`);
        return void exitNow(1);
      }
      log.info(`${signal}: finishing running answers, for at most ${GRACE_MS / 1000} s`);
      resolve();
    };
    process.on('SIGTERM', stop).on('SIGINT', stop);
  });
}
