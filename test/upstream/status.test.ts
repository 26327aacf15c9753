import assert from 'node:assert/strict';
import { test } from 'node:test';
import { outcomeOf } from '../../lib/upstream/status.ts';

const WHOLE = { part: undefined, foreign: false };

test('what a status says of what was asked for', () => {
  const expected = {
    here: [200],
    missing: [403, 404, 410],
    broken: [500, 502, 503, 504, 599],
    busy: [408, 425, 429],
    // The body of 206 is no whole thing.
    refused: [101, 204, 206, 304, 400, 401, 402, 405, 409, 411, 416, 451, 499],
  };
  for (const [outcome, statuses] of Object.entries(expected))
    for (const status of statuses) assert.equal(outcomeOf(status, WHOLE), outcome, `${status}`);
});

test('a part may come as a part', () => {
  assert.equal(outcomeOf(206, { ...WHOLE, part: {} }), 'here');
  assert.equal(outcomeOf(200, { ...WHOLE, part: {} }), 'here');
  assert.equal(outcomeOf(400, { ...WHOLE, proxied: true }), 'broken');
});

test('a name of another cache may make no sense, and whatever comes then is no failure', () => {
  const foreign = { part: {}, foreign: true };
  const expected = {
    here: [200, 206],
    missing: [403, 404, 410],
    strange: [400, 405, 416, 422, 500, 501],
    busy: [408, 425, 429, 502, 503, 504],
    refused: [204, 304, 401, 407],
  };
  for (const [outcome, statuses] of Object.entries(expected))
    for (const status of statuses) {
      assert.equal(outcomeOf(status, foreign), outcome, `${status}`);
      assert.equal(outcomeOf(status, { ...foreign, proxied: true }), outcome, `${status}, proxied`);
    }
});
