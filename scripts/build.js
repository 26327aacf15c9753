// `npm run build`: compiles into a fresh folder beside dist/, puts the program and its threads together there, a file each, and then brings dist/ to the same, file by file. A service that
// runs from dist/ never finds a file missing or half-written there, for instance when its next collection starts a thread; what
// is as it was is not touched. A build that fails changes nothing.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rollup } from 'rollup';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const dist = join(root, 'dist');
const PREFIX = '.build-';
const ABANDONED_MS = 3_600_000;

/** The files below a folder, by their paths in it. */
function filesIn(folder) {
  if (!fs.existsSync(folder)) return [];
  return fs
    .readdirSync(folder, { recursive: true })
    .filter((name) => !fs.lstatSync(join(folder, name)).isDirectory());
}

function isSame(one, other) {
  return fs.existsSync(other) && fs.readFileSync(one).equals(fs.readFileSync(other));
}

/** Puts what is built in its place. A rename within one disk is seen whole or not at all. */
function put(fresh) {
  const built = filesIn(fresh);
  for (const name of built) {
    const [from, to] = [join(fresh, name), join(dist, name)];
    if (isSame(from, to)) continue;
    fs.mkdirSync(dirname(to), { recursive: true });
    fs.renameSync(from, to);
  }
  // Last: until now whoever runs the old files found all of them.
  const wanted = new Set(built);
  for (const name of filesIn(dist)) if (!wanted.has(name)) fs.rmSync(join(dist, name), { force: true });
  removeEmpty(dist);
}

function removeEmpty(folder) {
  for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue;
    const inner = join(folder, entry.name);
    removeEmpty(inner);
    if (fs.readdirSync(inner).length === 0) fs.rmdirSync(inner);
  }
}

/** What builds that were killed have left. */
function removeAbandoned() {
  for (const name of fs.readdirSync(root).filter((one) => one.startsWith(PREFIX))) {
    const folder = join(root, name);
    const age = Date.now() - fs.statSync(folder, { throwIfNoEntry: false })?.mtimeMs;
    if (age > ABANDONED_MS) fs.rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * The program, and each of its threads, as one file in bin/: Node takes four times as long to load the some two hundred files that they
 * are made of, and 8 to 13 MiB more. What comes from elsewhere stays where it is.
 */
async function bundle(fresh) {
  for (const [name, input] of [
    ['nix-binary-cache', 'bin/nix-binary-cache.js'],
    ['commit-thread', 'lib/store/folder/commit-thread.js'],
    ['scan-thread', 'lib/store/folder/scan-thread.js'],
  ]) {
    const built = await rollup({
      input: join(fresh, input),
      external: [/^node:/, 'smol-toml'],
      treeshake: false,
    });
    const file = join(fresh, 'bin', `${name}.js`);
    await built.write({ file, format: 'es', inlineDynamicImports: true });
    await built.close();
  }
}

removeAbandoned();
const fresh = fs.mkdtempSync(join(root, PREFIX));
try {
  const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc');
  const { status } = spawnSync(process.execPath, [tsc, '--outDir', fresh, ...process.argv.slice(2)], {
    cwd: root,
    stdio: 'inherit',
  });
  if (status === 0) {
    await bundle(fresh);
    put(fresh);
  }
  process.exitCode = status ?? 1;
} finally {
  fs.rmSync(fresh, { recursive: true, force: true });
}
