// Arguments → command → exit code: 0 for done, 1 for what could not be done, 2 for what was not understood, 3 for damage found
// and for what was done but in part.
import { readFile } from 'node:fs/promises';
import { type Config, loadConfig } from '../config/config.ts';
import { changing } from '../engine.ts';
import { CacheError, describe, isCacheError, isErrno } from '../errors.ts';
import { logSink } from '../event-log.ts';
import { createLog, printable } from '../log.ts';
import { HELP, parseArguments } from './arguments.ts';
import { exportPaths } from './export.ts';
import { gc } from './gc.ts';
import { importPaths } from './import.ts';
import { keygen } from './keygen.ts';
import { list } from './list.ts';
import { LogWriter } from './log-writer.ts';
import { listPins, pin, unpin } from './pins.ts';
import { rm } from './rm.ts';
import { serve } from './serve.ts';
import { verify } from './verify.ts';

/** Runs the command in `args`; resolves to the exit code. Never rejects. */
export async function main(args: readonly string[]): Promise<number> {
  const writer = new LogWriter(process.stderr);
  const log = createLog(writer.write, writer.writeSoon);
  process.on('exit', () => writer.flush());
  // `list | head` closes the pipe, which is no failure.
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
    const { command, operands, values } = parseArguments(args);
    const [operand = '', ...more] = operands;
    if (values.help) {
      process.stdout.write(HELP);
      return 0;
    }
    if (values.version) {
      process.stdout.write(`${await version()}\n`);
      return 0;
    }
    const load = () =>
      loadConfig({
        file: values.config,
        listen: values.listen,
        cacheDir: values['cache-dir'],
        cwd: process.cwd(),
      });
    const changes = async <T>(run: (config: Config) => Promise<T>): Promise<T> => {
      const config = await load();
      return changing(config, logSink(log), () => run(config));
    };
    switch (command) {
      case 'list':
        await list(await load(), values.json ?? false, process.stdout, log);
        break;
      case 'gc':
        if (values['dry-run']) await gc(await load(), true, process.stdout, log);
        else await changes((config) => gc(config, false, process.stdout, log));
        break;
      case 'pin':
        await pin(await load(), operand, values.name, process.stdout, log);
        break;
      case 'unpin':
        await unpin(await load(), operand, process.stdout, log);
        break;
      case 'pins':
        await listPins(await load(), process.stdout, log);
        break;
      case 'rm':
        await changes((config) => rm(config, operand, process.stdout, log));
        break;
      case 'verify': {
        const { repair = false, sample } = values;
        return verify(await load(), {
          repair,
          sample,
          log,
          out: process.stdout,
          progress: process.stderr,
        });
      }
      case 'export':
        return exportPaths(await load(), operand, more, process);
      case 'import': {
        const { 'from-go': fromGo = false, verbose = false } = values;
        return changes((config) => importPaths(config, operand, more, { fromGo, verbose }, process));
      }
      case 'keygen':
        await keygen(operand, process.stdout);
        break;
      case 'serve':
        await serve(load, log);
        // Exits by itself: Node would wait for requests of its own that may never finish.
        process.exit(0);
    }
    return 0;
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
