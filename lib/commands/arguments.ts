// The command line: which commands there are, what each takes, and the help that says so.
import { parseArgs } from 'node:util';
import { CacheError, describe, isCacheError } from '../errors.ts';

export const HELP = `nix-binary-cache: a Nix binary cache for several upstreams, each with its own proxy, that also takes uploads

usage: nix-binary-cache [serve] [options]    run the service
       nix-binary-cache list [options]       show what the cache folder holds
       nix-binary-cache gc [--dry-run]       remove what the limits of [gc] say must go
       nix-binary-cache pin PATH [--name N]  keep a store path and all it refers to for ever
       nix-binary-cache unpin PIN|PATH       end that
       nix-binary-cache pins                 show what is kept so
       nix-binary-cache rm PATH              remove a store path at once
       nix-binary-cache verify [options]     check all stored files; damaged ones are moved to quarantine/
       nix-binary-cache export DIR [PATH…]   write store paths and all they refer to, or everything that is
                                             here, as a folder for nix copy --from file://DIR
       nix-binary-cache import DIR [PATH…]   take such a folder in, as if it were pushed
       nix-binary-cache import URL PATH…     take store paths and all they refer to from another cache
       nix-binary-cache import --from-go DIR take over what the Go service left
       nix-binary-cache keygen NAME          make a key pair to sign with, in NAME.secret and NAME.public

options:
  --config FILE     configuration (default: cache.toml in the current folder, if there is one)
  --listen ADDRESS  where to listen, HOST:PORT or :PORT (serve; default :8080)
  --cache-dir DIR   the cache folder (default: cache)
  --json            one JSON object a line (list)
  --dry-run         only tell what would go (gc)
  --repair          fetch anew what is damaged (verify)
  --sample N%       check only so much of it, chosen at random (verify)
  --name N          the pin's name (pin; default: the path's own)
  --from-go         DIR is the cache folder of the Go service (import)
  --verbose         also name the files that were not recognised (import --from-go)
  --help, -h        this text
  --version, -V     the version

Point Nix at it with --option substituters http://HOST:8080, and push with
nix copy --option netrc-file FILE --to http://HOST:8080/push: the first start writes FILE, push.netrc in the cache folder.
verify ends with 0 if all is right or was repaired, 1 if it could not come to its end, 3 if something is damaged.
All but serve work beside a running service. SIGHUP has it read its tokens, keys and certificates again.
`;

const OPTIONS = {
  config: { type: 'string' },
  listen: { type: 'string' },
  'cache-dir': { type: 'string' },
  json: { type: 'boolean' },
  'dry-run': { type: 'boolean' },
  repair: { type: 'boolean' },
  sample: { type: 'string' },
  name: { type: 'string' },
  'from-go': { type: 'boolean' },
  verbose: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean', short: 'V' },
} as const;

type Option = keyof typeof OPTIONS;

interface Form {
  readonly options: readonly Option[];
  /** What stands behind the command, for messages. */
  readonly operands: readonly string[];
  /** What may follow them, any number of times. */
  readonly more?: string;
}

const COMMANDS = {
  serve: { options: ['config', 'listen', 'cache-dir'], operands: [] },
  list: { options: ['config', 'cache-dir', 'json'], operands: [] },
  gc: { options: ['config', 'cache-dir', 'dry-run'], operands: [] },
  pin: { options: ['config', 'cache-dir', 'name'], operands: ['PATH'] },
  unpin: { options: ['config', 'cache-dir'], operands: ['PIN|PATH'] },
  pins: { options: ['config', 'cache-dir'], operands: [] },
  rm: { options: ['config', 'cache-dir'], operands: ['PATH'] },
  verify: { options: ['config', 'cache-dir', 'repair', 'sample'], operands: [] },
  export: { options: ['config', 'cache-dir'], operands: ['DIR'], more: 'PATH' },
  import: { options: ['config', 'cache-dir', 'from-go', 'verbose'], operands: ['DIR|URL'], more: 'PATH' },
  keygen: { options: [], operands: ['NAME'] },
} as const satisfies Record<string, Form>;

type Command = keyof typeof COMMANDS;

/** What was asked for, checked. */
interface Arguments {
  readonly command: Command;
  readonly operands: readonly string[];
  readonly values: ReturnType<typeof parsed>['values'];
}

function parsed(args: readonly string[]) {
  return parseArgs({ args: [...args], allowPositionals: true, options: OPTIONS });
}

/** @throws CacheError `config` */
export function parseArguments(args: readonly string[]): Arguments {
  try {
    const { values, positionals } = parsed(args);
    const [command = 'serve', ...operands] = positionals;
    if (!isCommand(command)) {
      throw usage(`expected ${Object.keys(COMMANDS).join(', ')}, found ${JSON.stringify(command)}`);
    }
    const form: Form = COMMANDS[command];
    const surplus = operands.length - form.operands.length;
    if (surplus < 0 || (surplus > 0 && form.more === undefined)) {
      const expected = [command, ...form.operands, ...(form.more === undefined ? [] : [`[${form.more}…]`])];
      throw usage(`expected ${expected.join(' ')}, found ${JSON.stringify(positionals.join(' '))}`);
    }
    for (const option of Object.keys(values) as Option[]) {
      if (!form.options.includes(option) && option !== 'help' && option !== 'version') {
        throw usage(`--${option} does not go with ${command}`);
      }
    }
    return { command, operands, values };
  } catch (error) {
    if (isCacheError(error)) throw error;
    throw usage(describe(error));
  }
}

function isCommand(text: string): text is Command {
  return Object.hasOwn(COMMANDS, text);
}

function usage(problem: string): CacheError {
  return new CacheError('config', `${problem}; see --help`);
}
