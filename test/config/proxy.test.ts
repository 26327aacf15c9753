import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseProxy } from '../../lib/config/proxy.ts';
import { CacheError } from '../../lib/errors.ts';

const http = { kind: 'http', tls: false, credentials: undefined };
const socks = { kind: 'socks5', credentials: undefined };

test('a proxy URL is understood', async (t) => {
  const table: [string, object][] = [
    ['http://proxy:3128', { ...http, host: 'proxy', port: 3128, label: 'http://proxy:3128' }],
    ['http://proxy:3128/', { ...http, host: 'proxy', port: 3128, label: 'http://proxy:3128' }],
    ['HTTP://Proxy.Example', { ...http, host: 'proxy.example', port: 80, label: 'http://proxy.example:80' }],
    ['http://proxy:80', { ...http, host: 'proxy', port: 80, label: 'http://proxy:80' }],
    ['https://proxy', { ...http, tls: true, host: 'proxy', port: 443, label: 'https://proxy:443' }],
    ['https://proxy:1', { ...http, tls: true, host: 'proxy', port: 1, label: 'https://proxy:1' }],
    ['socks5://127.0.0.1', { ...socks, host: '127.0.0.1', port: 1080, label: 'socks5://127.0.0.1:1080' }],
    ['socks5h://a.b:65535', { ...socks, host: 'a.b', port: 65535, label: 'socks5h://a.b:65535' }],
    ['http://[::1]:3128', { ...http, host: '::1', port: 3128, label: 'http://[::1]:3128' }],
    [
      'socks5://[2001:DB8:0::1]',
      { ...socks, host: '2001:db8::1', port: 1080, label: 'socks5://[2001:db8::1]:1080' },
    ],
    [
      'http://bücher.example:1',
      { ...http, host: 'xn--bcher-kva.example', port: 1, label: 'http://xn--bcher-kva.example:1' },
    ],
  ];
  for (const [text, proxy] of table) {
    await t.test(text, () => assert.deepEqual(parseProxy(text), proxy));
  }
});

test('credentials are percent-decoded and not part of the label', async (t) => {
  const table: [string, string, string][] = [
    ['user:secret', 'user', 'secret'],
    ['user', 'user', ''],
    ['user:', 'user', ''],
    [':secret', '', 'secret'],
    ['u%40x:p%3A%2F%40%25', 'u@x', 'p:/@%'],
    ['user:a:b:c', 'user', 'a:b:c'],
    ['user:p@ss', 'user', 'p@ss'],
    ['user:a+b', 'user', 'a+b'],
    ['%C3%BCser:pa%C3%9F', 'üser', 'paß'],
    ['üser:paß', 'üser', 'paß'],
  ];
  for (const [userinfo, username, password] of table) {
    await t.test(userinfo, () => {
      const proxy = parseProxy(`http://${userinfo}@proxy:3128`);
      assert.deepEqual(proxy.credentials, { username, password });
      assert.equal(proxy.label, 'http://proxy:3128');
      assert.equal(proxy.host, 'proxy');
    });
  }
  for (const userinfo of ['', ':']) {
    await t.test(`"${userinfo}" is none`, () => {
      assert.equal(parseProxy(`socks5://${userinfo}@proxy`).credentials, undefined);
    });
  }
  await t.test('SOCKS takes 255 bytes of each', () => {
    const longest = 'x'.repeat(255);
    const { credentials } = parseProxy(`socks5://${longest}:${longest}@proxy`);
    assert.deepEqual(credentials, { username: longest, password: longest });
  });
});

test('what is no proxy URL is refused, showing what was found but never the password', async (t) => {
  const table: [string, RegExp][] = [
    ['', /supported scheme.*found ""/],
    ['proxy:3128', /supported scheme.*found "proxy:3128"/],
    ['socks4://proxy', /supported scheme.*found "socks4:\/\/proxy"/],
    ['ftp://user:secret@proxy', /supported scheme.*found "ftp:\/\/\*\*\*@proxy"/],
    ['user:secret@proxy:3128', /supported scheme.*found "\*\*\*@proxy:3128"/],
    ['user:secret', /supported scheme/],
    ['http:/user:secret', /supported scheme/],
    [' http://proxy', /supported scheme/],
    ['http://', /no valid host/],
    ['http://:3128', /no valid host/],
    ['http://user:secret@', /no valid host/],
    ['http://a b', /no valid host/],
    ['http://a\tb', /no valid host/],
    ['http://a\\b', /no valid host/],
    ['http://::1:3128', /no valid host/],
    ['http://[::1', /no valid host/],
    ['http://[::zz]:1', /no valid host/],
    ['http://proxy:3128/path', /no path, query or fragment.*found "http:\/\/proxy:3128\/path"/],
    ['http://proxy?a=b', /no path, query or fragment/],
    ['http://proxy#a', /no path, query or fragment/],
    ['http://user:secret/secret@proxy', /no path, query or fragment.*found "http:\/\/\*\*\*@proxy"/],
    ['http://proxy:', /port is not a number/],
    ['http://proxy:0', /port is not a number.*found "http:\/\/proxy:0"/],
    ['http://proxy:65536', /port is not a number/],
    ['http://proxy:0x50', /port is not a number/],
    ['http://user:secret', /port is not a number.*found "http:\/\/user:\*\*\*"/],
    ['http://user:secret%@proxy', /not percent-encoded UTF-8/],
    ['http://user:%ffsecret@proxy', /not percent-encoded UTF-8/],
    ['http://user:secret%0a@proxy', /control character/],
    ['http://us%3Aer:secret@proxy', /has no colon/],
    ['socks5://:secret@proxy', /needs a user name/],
    [`socks5://user:${'secret'.repeat(43)}@proxy`, /at most 255 bytes.*\(here 4, 258\)/],
    [`socks5h://${'ü'.repeat(128)}:secret@proxy`, /at most 255 bytes/],
    [`${'x'.repeat(100_000)}://user:secret@proxy`, /supported scheme/],
  ];
  for (const [text, message] of table) {
    await t.test(text.slice(0, 60), () => {
      assert.throws(
        () => parseProxy(text),
        (error) => {
          assert.ok(error instanceof CacheError);
          assert.equal(error.code, 'config');
          assert.match(error.message, message);
          assert.match(error.message, /expected http, https, socks5 or socks5h/);
          assert.doesNotMatch(error.message, /secret|us%3Aer/);
          assert.ok(error.message.length < 500);
          return true;
        },
      );
    });
  }
});
