import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DialAgent } from '../../lib/upstream/agent.ts';

test('a connection is used again only for the same server, and only by those who might have made it', () => {
  const agent = new DialAgent(() => Promise.reject(new Error('nobody dials')), 1);
  const target = { host: 'a.test', port: 80, tls: false, onlyPublic: false };
  const targets = [
    target,
    { ...target, host: 'b.test' },
    { ...target, port: 81 },
    { ...target, tls: true },
    { ...target, onlyPublic: true },
  ];
  assert.equal(agent.getName({ target }), agent.getName({ target: { ...target } }));
  assert.equal(new Set(targets.map((one) => agent.getName({ target: one }))).size, targets.length);
  agent.destroy();
});
