// Arguments → command → exit code: 0 for done, 1 for what could not be done, 2 for what was not understood.
import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { loadConfig } from '../config.ts';
import { CacheError, describe, isCacheError, isErrno } from '../errors.ts';
import { createLog, printable } from '../log.ts';
import { list } from './list.ts';
import { serve } from './serve.ts';

const HELP = `nix-binary-cache: a Nix binary cache for several upstreams, each with its own proxy, that also takes uploads

usage: nix-binary-cache [serve] [options]    run the service
       nix-binary-cache list [options]       show what the cache folder holds

options:
  --config FILE     configuration (default: cache.toml in the current folder, if there is one)
  --listen ADDRESS  where to listen, HOST:PORT or :PORT (serve; default :8080)
  --cache-dir DIR   the cache folder (default: cache)
  --json            one JSON object a line (list)
  --help, -h        this text
  --version, -V     the version

Point Nix at it with --option substituters http://HOST:8080, and push with nix copy --to http://HOST:8080.
`;

/** Runs the command in `args`; resolves to the exit code. Never rejects. */
export async function main(args: readonly string[]): Promise<number> {
  const log = createLog((line) => process.stderr.write(line));
  // `list | head` closes the pipe: that is no failure.
  process.stdout.on('error', (error) => {
    if (isErrno(error, 'EPIPE')) process.exit(0);
    process.stderr.write(`nix-binary-cache: can't write the output: ${describe(error)}\n`);
    process.exit(1);
  });
  // A log that nobody reads, or whose disk is full, must not end the service.
  process.stderr.on('error', () => {});
  try {
    return await run(args);
  } catch (error) {
    if (isCacheError(error)) {
      process.stderr.write(`nix-binary-cache: ${error.message.split('\n').map(printable).join('\n')}\n`);
      return error.code === 'config' ? 2 : 1;
    }
    log.error(`a defect of nix-binary-cache, please report it: ${describe(error)}`);
    return 1;
  }

  async function run(args: readonly string[]): Promise<number> {
    const { values, command } = parse(args);
    if (values.help) {
      process.stdout.write(HELP);
      return 0;
    }
    if (values.version) {
      process.stdout.write(`${await version()}\n`);
      return 0;
    }
    const config = await loadConfig({
      file: values.config,
      listen: values.listen,
      cacheDir: values['cache-dir'],
      cwd: process.cwd(),
    });
    if (command === 'list') await list(config, values.json ?? false, process.stdout, log);
    else {
      await serve(config, log);
      // Not left to Node, which at its natural end waits for requests of its own that may never finish.
      process.exit(0);
    }
    return 0;
  }
}

function parse(args: readonly string[]) {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        config: { type: 'string' },
        listen: { type: 'string' },
        'cache-dir': { type: 'string' },
        json: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
        version: { type: 'boolean', short: 'V' },
      },
    });
    const [command = 'serve', ...more] = positionals;
    if ((command !== 'serve' && command !== 'list') || more.length > 0) {
      throw new CacheError(
        'config',
        `expected serve or list, found ${JSON.stringify(positionals.join(' '))}; see --help`,
      );
    }
    if (values.json && command !== 'list')
      throw new CacheError('config', '--json goes with list; see --help');
    return { values, command };
  } catch (error) {
    if (isCacheError(error)) throw error;
    throw new CacheError('config', `${describe(error)}; see --help`, error);
  }
}

/** The version in package.json, which lies at the same place above the sources and above what is built of them. */
async function version(): Promise<string> {
  for (const up of ['../..', '../../..']) {
    const file = new URL(`${up}/package.json`, import.meta.url);
    const text = await readFile(file, 'utf8').catch(() => undefined);
    if (text !== undefined) return String(JSON.parse(text).version);
  }
  throw new CacheError('startup', 'package.json is missing beside the program');
}
