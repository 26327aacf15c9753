// What README.md and docs/push.md say of pushing, done to the letter by real clients: only the port is another, the token is the one
// that was made and the key the one that was printed.
import assert from 'node:assert/strict';
import { copyFile, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../../fixtures/defer.ts';
import { program, projectRoot } from '../../fixtures/project.ts';
import { output } from '../../fixtures/run.ts';
import { startService } from '../../fixtures/service.ts';
import { need } from '../fixtures/need.ts';
import { clients, type Machine } from './client.ts';
import { assertHolds, buildClosure, type Closure, hashPart } from './closure.ts';
import { realise, teamMachine } from './trust.ts';

/** The blocks of a document under a heading, each as `language\ntext`. */
async function blocksUnder(document: string, heading: string): Promise<string[]> {
  const text = await readFile(join(projectRoot, document), 'utf8');
  const section = text.split(/^## /m).find((one) => one.startsWith(`${heading}\n`)) ?? '';
  return [...section.matchAll(/^```(\w*\n[^`]*)^```$/gm)].map(([, block]) => block as string);
}

for (const client of clients) {
  const { name } = client;
  const skip = client.skip || need('openssl');

  test(`${name} does what the documents say of pushing`, { skip }, async (t) => {
    const first = await blocksUnder('README.md', 'Push to it');
    const team = await blocksUnder('docs/push.md', 'Push to it as a team');
    assert.deepEqual([first.length, team.length], [2, 6], 'the documents are what this test is about');
    const [copyHere = '', compose = ''] = first;
    const [keys = '', image = '', config = '', netrc = '', copyThere = '', nixConf = ''] = team;
    assert.match(image, /^sh\ndocker run /, 'which container.test does');
    assert.match(compose, /^sh\ndocker compose exec cache cat \/data\/push\.netrc /, 'so does this');

    const builder = await teamMachine(t, client);
    const closure = await buildClosure(builder, 1);
    await symlink(closure.top, builder.path('/root/result'));
    await writeFile(builder.path('/etc/hosts'), '127.0.0.1 localhost cache.example.org\n');
    const bare = await startService(t, { closed: true });
    const refused = await builder.run(['nix', 'copy', '--to', bare.url, closure.top]);
    assert.notEqual(refused.code, 0, 'a push without the token');
    await mkdir(builder.path('/root/cache'));
    await copyFile(join(bare.dir, 'push.netrc'), builder.path('/root/cache/push.netrc'));
    await shell(builder, commands(copyHere).replace(':8080', `:${bare.port}`));
    await assertPushedAll(bare.url, closure);

    const home = await temporaryFolder(t, 'home');
    const bin = `nix-binary-cache() { '${process.execPath}' '${program}' "$@"; }\n`;
    const said = await output('bash', ['-ec', `${bin}${commands(keys)}\necho "TOKEN $CI_TOKEN"`], {
      cwd: home,
      env: process.env,
    });
    const token = /^TOKEN (\w{48})$/m.exec(said)?.[1] ?? '';
    assert.ok(token, said);
    const toml = config.replace(/^toml\n# cache\.toml\n/, '');
    const service = await startService(t, {
      config: `upstreams = []\n${toml}`,
      home,
      env: { CI_TOKEN: token },
    });
    await writeFile(builder.path('/etc/nix/netrc'), netrc.trimStart().replace('0123456789abcdef', token));
    await shell(builder, commands(copyThere).replace(':8080', `:${service.port}`));

    const printed = /^extra-trusted-public-keys = cache\.example\.org-1:\S+$/m.exec(said)?.[0] ?? '';
    const lines = nixConf
      .replace(/^ini\n/, '')
      .replace(':8080', `:${service.port}`)
      .replace(/^extra-trusted-public-keys = cache\.example\.org-1:…$/m, printed);
    assert.ok(lines.includes(printed), nixConf);
    const reader = await teamMachine(t, client, lines);
    const { code, stderr } = await realise(reader, closure);
    assert.equal(code, 0, stderr);
    await assertHolds(reader, closure);
  });
}

/** Sees that every path of the closure was pushed to the cache. */
async function assertPushedAll(url: string, { paths }: Closure): Promise<void> {
  for (const path of paths.keys()) {
    const { status } = await fetch(`${url}/upload/${hashPart(path)}.narinfo`);
    assert.equal(status, 200, path);
  }
}

/** A block of commands, without its language. */
function commands(block: string): string {
  assert.match(block, /^sh\n/);
  return block.slice(3);
}

async function shell(machine: Machine, text: string): Promise<void> {
  await machine.output('sh', '-ec', `cd /root\n${text}`);
}
