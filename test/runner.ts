// `npm test` and `npm run test:system`: runs the tests of one step side by side, as many files at once as suits the machine.
//   node dist/test/runner.js                 what needs Node alone
//   node dist/test/runner.js system [part…]  what lies in test/system, or only in these folders of it
// FAILURES=<file> has what failed written there too.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const [step, ...parts] = process.argv.slice(2);
const here = dirname(fileURLToPath(import.meta.url));
/** Most tests wait as long as they work. */
const AT_ONCE = Math.min(availableParallelism() + (step === 'system' ? 1 : 2), 16);
/** Of one file: nothing takes nearly so long, and what hangs is named instead of holding up all. */
const LIMIT_MS = { first: 10 * 60_000, system: 30 * 60_000 };

if (step !== undefined && step !== 'system') {
  console.error(`unknown: ${step}; expected nothing, or "system" and folders of test/system`);
  process.exit(2);
}
const roots = parts.length > 0 ? parts.map((part) => join('system', part)) : [step ?? '.'];
const missing = roots.filter((root) => !existsSync(join(here, root)));
if (missing.length > 0) {
  console.error(`there is no ${missing.join(', ')} in test/`);
  process.exit(2);
}
const files = roots.flatMap(testsIn).filter((file) => step === 'system' || !file.startsWith('system/'));
const { FAILURES } = process.env;
const reporters = [
  ['spec', 'stdout'],
  ...(FAILURES === undefined ? [] : [[join(here, 'failures.js'), FAILURES]]),
].flatMap(([reporter, to]) => [`--test-reporter=${reporter}`, `--test-reporter-destination=${to}`]);
const limits = [`--test-concurrency=${AT_ONCE}`, `--test-timeout=${LIMIT_MS[step ?? 'first']}`];
const args = ['--test', ...limits, ...reporters, ...files.map((file) => join(here, file))];
const tests = spawn(process.execPath, args, { stdio: 'inherit' });
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => tests.kill(signal));
const [code] = await once(tests, 'exit');
process.exitCode = code ?? 1;

function testsIn(root: string): string[] {
  const names = readdirSync(join(here, root), { recursive: true, encoding: 'utf8' });
  return names
    .filter((name) => name.endsWith('.test.js'))
    .map((name) => join(root, name))
    .sort();
}
