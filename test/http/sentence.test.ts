import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CacheError } from '../../lib/errors.ts';
import { sentenceOf } from '../../lib/http/sentence.ts';

const told = (message: string) => sentenceOf(new CacheError('upstream', message));

test('a sentence says what failed, without what lets others in', () => {
  for (const [message, expected] of [
    ['http://a.test/nar/x.nar.xz: answered 500 Oops', 'http://a.test/nar/x.nar.xz: answered 500 Oops'],
    ['https://b.test/x?X-Amz-Signature=abc&y=1: broke off', 'https://b.test/x?…: broke off'],
    ['https://b.test/x?sig=a; https://c.test/y?sig=b', 'https://b.test/x?…; https://c.test/y?…'],
    ['redirected to "https://b.test/x?sig=a"', 'redirected to "https://b.test/x?…"'],
    ['socks5://me:secret@proxy.test:1080: refused', 'socks5://proxy.test:1080: refused'],
    ["can't read /var/cache/ab/cd: EIO", "can't read …: EIO"],
    ['/nar/x.nar.xz: SHA-256 is wrong', '/nar/x.nar.xz: SHA-256 is wrong'],
    ['answered 503 <Code>SlowDown</Code>', 'answered 503 CodeSlowDown/Code'],
  ] as const) {
    assert.equal(told(message), expected);
  }
});

test('it is one line, and short', () => {
  assert.ok(!told('a\nb').includes('\n'));
  assert.ok(Buffer.byteLength(told('ä'.repeat(2000))) <= 900);
});
