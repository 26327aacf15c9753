// Who may do what, as the configuration says it; and secrets from the environment, which no message repeats.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConfig } from '../../lib/config/config.ts';
import { isCacheError } from '../../lib/errors.ts';

const FILE = '/etc/cache.toml';
const SECRET = 'hunter2-hunter2-hunter2';

const parse = (text: string, env: Record<string, string> = {}) => parseConfig(text, { file: FILE, env });

function mistakes(text: string, env: Record<string, string> = {}): string {
  try {
    parse(text, env);
  } catch (error) {
    assert.ok(isCacheError(error, 'config'), String(error));
    assert.ok(!error.message.includes('hunter2'), error.message);
    assert.ok(!JSON.stringify(error.cause ?? '').includes('hunter2'));
    return error.message.replaceAll(`${FILE}:`, '');
  }
  throw new assert.AssertionError({ message: `no mistake was found in ${text}` });
}

const token = (more = '') => `[[tokens]]\nname = "a"\ntoken = "${SECRET}"\nallow = ["push"]\n${more}`;

test('nobody may push without a token unless the file says so; without both the service makes one', () => {
  for (const [text, ownToken] of [
    ['', true],
    ['tokens = []', true],
    ['[push]\ntrusted_keys = []', true],
    [token(), false],
    ['[push]\nfrom = []', false],
    ['[push]\nfrom = ["10.0.0.0/8"]', false],
  ] as const) {
    assert.equal(parse(text).access.ownToken, ownToken, text);
    assert.equal(parse(text).access.pushFrom.length, text.includes('10.') ? 1 : 0, text);
  }
  const both = parse(`${token()}[push]\nfrom = ["127.0.0.1"]`).access;
  assert.deepEqual(both.pushFrom, [{ address: '127.0.0.1', prefix: 32, family: 'ipv4' }]);
});

test('a token has a name of its own, one source, a right and enough characters', () => {
  assert.match(
    mistakes(token(`token_file = "x"`)),
    /tokens\[0\]: found token and token_file, expected token or/,
  );
  assert.match(
    mistakes('[[tokens]]\nname = "a"\nallow = ["pull"]'),
    /found neither, expected token or token_file/,
  );
  assert.match(mistakes(token().replace('"push"', '')), /allow: found no right/);
  assert.match(mistakes(token().replace('"push"', '"write"')), /allow\[0\]: found "write", expected "pull"/);
  assert.match(mistakes(token().replace('allow = ["push"]', '')), /allow: found no such key/);
  assert.match(mistakes(token().replace('"a"', '"a b"')), /name: found "a b", expected a name of letters/);
  assert.match(mistakes(token() + token()), /^6: tokens\[1\]\.name: found "a" again/);
  assert.match(
    mistakes(token().replaceAll(SECRET, 'hunter2')),
    /found a token of 7 characters, expected 16 to 512/,
  );
  assert.match(mistakes(token().replaceAll(SECRET, `${SECRET} `)), /found a token of 24 characters/);
  assert.match(mistakes('read = "token"'), /found "token" but no \[\[tokens\]\]/);
});

test('address ranges', () => {
  for (const bad of ['10.0.0.0/33', '10.0.0/8', 'fd00::/129', 'example.org', '10.0.0.1-9', '', '1.2.3.4/']) {
    assert.match(
      mistakes(`[push]\nfrom = ["${bad}"]`),
      /push\.from\[0\]: found .*, expected an address or a range/,
    );
  }
});

test('${NAME} is taken from the environment, in every string', () => {
  const text = `cache_dir = "\${HOME}/x"\n${token().replace(SECRET, '${TOKEN}')}`;
  const config = parse(text, { HOME: '/home/a', TOKEN: SECRET });
  assert.equal(config.cacheDir, '/home/a/x');
  assert.deepEqual(config.access.tokens[0]?.secret, { token: SECRET });
  const url = parse(`[[upstreams]]\nurl = "https://ci:\${P}@cache.example.org"`, { P: 'hunter2' });
  assert.equal(url.upstreams[0]?.credentials?.password, 'hunter2');
  assert.equal(parse('cache_dir = "/a$${b}$c$"').cacheDir, '/a${b}$c$', 'doubled it stands for itself');
});

test('what the environment does not have is a mistake of its own', () => {
  assert.equal(
    mistakes('cache_dir = "/${MISSING}"\nlisten = ":99999999"'),
    '1: cache_dir: found ${MISSING}, expected the name of an environment variable that is set\n' +
      '2: listen: found ":99999999", expected "[host]:port" such as ":8080", "127.0.0.1:8080" or "[::1]:8080" ' +
      'with a port from 0 to 65535',
  );
  for (const broken of ['${', '${}', '${A', '${A-b}', '${9}']) {
    assert.match(
      mistakes(`cache_dir = "${broken}"`, { A: 'x', '9': 'x' }),
      /expected the name of an environment/,
    );
  }
  assert.match(mistakes(token().replace(SECRET, 'hunter2${X}'), {}), /found \$\{X\}/);
  assert.match(mistakes('read = "${READ}"'), /found \$\{READ\}/);
  for (const key of ['read', 'priority', 'want_mass_query', 'upstreams', 'gc', 'tokens'])
    assert.match(mistakes(`${key} = "\${X}"`), /^1: \w+: found \$\{X\}, expected .*$/, 'and no other of it');
});

test('a token never stands in a message, whatever is wrong with the file', () => {
  const wrong = [
    `[[tokens]]\nname = "a"\ntoken = "${SECRET}\nallow = ["push"]`,
    `tokens = [{ name = "a", token = "${SECRET}", allow = ["push" }]`,
    `[[tokens]]\nname = "a"\ntoken = ${SECRET}\nallow = ["push"]`,
    `[[tokens]]\nname = "a"\n"token" = '${SECRET}' x\nallow = ["push"]`,
    `[[tokens]]\nname = "a"\ntoken = ["${SECRET}"]\nallow = ["push"]`,
    `[[tokens]]\nname = "a"\ntoken = "${SECRET}"\ntoken = "${SECRET}"\nallow = ["push"]`,
    `[[tokens]]\nname = "a"\ntokens = "${SECRET}"\nallow = ["push"]`,
  ];
  for (const text of wrong) mistakes(text);
});

test('what comes from the environment is not quoted, wherever it stands and is wrong', () => {
  for (const text of [
    'read = "x${TOKEN}"',
    'listen = "${TOKEN}"',
    '[[upstreams]]\nurl = "htt${TOKEN}"',
    '[[upstreams]]\nurl = "https://a.example.org"\nproxy = "${TOKEN}"',
    '[[upstreams]]\nurl = "https://a.example.org/${TOKEN}"\n[[upstreams]]\nurl = "https://a.example.org/${TOKEN}"',
    token().replace('name = "a"', 'name = "a ${TOKEN}"'),
  ]) {
    const said = mistakes(text, { TOKEN: 'hunter2-hunter2' });
    assert.match(said, /found something with a value of the environment in it, expected .{10}/, text);
    assert.doesNotMatch(said, /hunter2/, text);
  }
});
