// The fault matrix, for a NAR that comes in one piece.
import { makeStock } from '../fixtures/fault-cell.ts';
import { testNarCells } from '../fixtures/nar-cells.ts';

testNarCells({
  what: 'a small NAR',
  stock: makeStock('small', 20_000),
  // A busy machine must not be taken for a source that stalls.
  deadlines: { connectMs: 5000, firstByteMs: 3000, stallMs: 500, narFirstByteMs: 3000 },
  concurrency: 16,
});
