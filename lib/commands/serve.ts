// `serve`: runs the service until it is told to stop.
import type { Config } from '../config/config.ts';
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
  // Signals are heard from the first moment: process 1 of a container gets only signals that it listens for, and a start may wait long for
  // another service to leave the folder. Without a listener, a SIGHUP ends the process.
  const stopping = stopSignal(log);
  const config = await load();
  const starting = startService(config, log);
  reloadAtHangup(async () => (await starting).reload(await load()), log);
  const service = await Promise.race([starting, stopping]);
  if (typeof service === 'string') {
    log.info(`${service}: stopped before it was started`);
    return exitNow(0);
  }
  log.info(`listening on ${service.url}, keeping ${service.keeps}, asking ${describeUpstreams(config)}`);
  log.info(`${await stopping}: finishing running answers, for at most ${GRACE_MS / 1000} s`);
  if (await service.stop(GRACE_MS)) {
    log.info('stopped');
    // Nothing is left to do, but a DNS question that nobody waits for any more would keep Node alive for seconds.
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

/** Resolves to the first signal; the second one ends the process there and then. */
function stopSignal(log: Log): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let signals = 0;
    const stop = (signal: NodeJS.Signals) => {
      signals++;
      if (signals > 1) {
        log.warn(`${signal} again: stopping at once`);
        return void exitNow(1);
      }
      resolve(signal);
    };
    process.on('SIGTERM', stop).on('SIGINT', stop);
  });
}
