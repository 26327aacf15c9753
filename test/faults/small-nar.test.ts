// The fault matrix, for a NAR that comes in one piece.
import { makeStock } from '../fixtures/fault-cell.ts';
import { testNarCells } from '../fixtures/nar-cells.ts';

testNarCells({
  what: 'a small NAR',
  stock: makeStock('small', 20_000),
  deadlines: { connectMs: 2000, firstByteMs: 1000, stallMs: 400 },
  concurrency: 24,
});
