// The fault matrix, for a NAR that is fetched in parts.
import { makeStock } from '../fixtures/fault-cell.ts';
import { testNarCells } from '../fixtures/nar-cells.ts';

testNarCells({
  what: 'a large NAR',
  stock: makeStock('large', 12 << 20),
  // A busy machine must not be taken for a source that stalls.
  deadlines: { connectMs: 5000, firstByteMs: 4000, stallMs: 700, narFirstByteMs: 4000, returnMs: 4000 },
  concurrency: 12,
});
