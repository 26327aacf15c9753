import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConfig } from '../../lib/config/config.ts';
import { FILE, messageOf, mistakes } from '../fixtures/config-text.ts';

test('a message stays on its line whatever the text holds', () => {
  const found = mistakes(
    'listen = "a\\nb\\u001b[31m\\u0085\\u2028"',
    '"x\\ny\\u009b" = 1',
    'upstreams = [{ url = "https://a", proxy = "x\\n" }]',
  );
  assert.equal(found.split('\n').length, 3);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: their absence is what is tested
  assert.doesNotMatch(found, /[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028]/);
});

test('passwords are never repeated', () => {
  const urls = [
    'ftp://user:SECRET@host',
    'https://user:SECRET@host?x',
    'https://user:SECRET@host:99999',
    'https://user:SECRET@',
    'https://user:SEC/SECRET@host:x',
    'https://us@er:SECRET@host:x',
    'https://user:SECRET%40host:x',
    'https://user:?SECRET@host',
    'https://user:#SECRET@host',
    'https:user:SECRET@host',
    'https:\\\\\\\\user:SECRET@host',
    '//user:SECRET@host',
    'user:SECRET@host:80',
    ' https://user:SECRET@host',
    'https://user:\\nSECRET@host',
    'https://user:%0ASECRET@host',
    'https://us%3Aer:SECRET@host',
    `https://${'u'.repeat(300)}:SECRET@host:x`,
    `https://user:SECRET@host/${'a'.repeat(300)}`,
    'socks5://user:SECRET@host:0',
    'socks4://user:SECRET@host:1080',
    'http://user:SECRET@host:99999',
    'http://user:SECRET@:1',
  ];
  const texts = urls.flatMap((url) => [
    `listen = "${url}"`,
    `priority = "${url}"`,
    `store_dir = "${url}"`,
    `upstreams = "${url}"`,
    `upstreams = ["${url}"]`,
    `"${url}" = 1`,
    `token = "${url}"`,
    `[[upstreams]]\nurl = "${url}"\nproxy = 1`,
    `[[upstreams]]\nurl = "https://a"\nproxy = "${url}"\nurk = 1`,
    // Not TOML, on the line itself and on those beside it.
    `a = "${url}" b`,
    `a = "${url}"\nb = ?`,
    `?\na = "${url}"`,
    `upstreams = [{ url = "https://a" }, { url = '${url}', ? }]`,
    `upstreams = [\n"${url}", ?\n]`,
    `[[upstreams]]\nurl = "https://a"\nproxy = "${url}`,
    `[[upstreams]]\nurl = "https://a"\nproxy = ${url}`,
    `proxy = """${url}""" ?`,
    `"${url}" = ?`,
    `proxy = """${url.replace('SECRET', '\\\nSECRET\\\n')}""" ?`,
    url,
    `proxy = "${url.replace('SECRET', '\\q SECRET')}"`,
    `proxy = "${url.replace('SECRET', '"SECRET')}"`,
    `proxy = "${url.replace('SECRET', "'=SECRET")}"`,
  ]);
  // Without an @ only values that look like a URL can be told from others.
  for (const url of ['https://user:SECRET', 'https://host/?token=SECRET', 'gopher+x://host/#SECRET']) {
    texts.push(`listen = "${url}"`, `upstreams = ["${url}"]`, `[[upstreams]]\nurl = "${url}"`);
  }
  texts.push('proxy = "http://user:SECRET');
  for (const text of texts) {
    assert.doesNotMatch(
      messageOf(() => parseConfig(`${text}\nx = 1`, { file: FILE })),
      /SECRET/,
      text,
    );
  }
});
