// No input of any bytes makes a parser throw anything but the project's own error. `npm run fuzz` goes on from here.
import { test } from 'node:test';
import { attack, parsers } from './fixtures/parsers.ts';
import { randomSource } from './fixtures/random.ts';

const ROUNDS = 2000;

for (const parser of parsers) {
  test(`${parser.name}: ${ROUNDS} inputs that are almost right`, async () => {
    for (let seed = 0; seed < ROUNDS; seed++) {
      await attack(parser, randomSource(seed)).catch((cause) => {
        throw new Error(`seed ${seed}`, { cause });
      });
    }
  });
}
