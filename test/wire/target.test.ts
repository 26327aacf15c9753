import assert from 'node:assert/strict';
import { test } from 'node:test';
import { authority } from '../../lib/wire/target.ts';

test('an IPv6 address has brackets around it, which tell it from the port', () => {
  assert.equal(authority({ host: 'a.example', port: 443 }), 'a.example:443');
  assert.equal(authority({ host: '192.0.2.1', port: 80 }), '192.0.2.1:80');
  assert.equal(authority({ host: '2001:db8::1', port: 8080 }), '[2001:db8::1]:8080');
});
