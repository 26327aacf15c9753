// The fault matrix, for a NAR that is fetched in parts, in part: all of it is in test/system/faults.
import { CELLS, someOf } from '../fixtures/fault-cell.ts';
import { testLargeNar } from '../fixtures/nar-cells.ts';

// A third of them: each is many megabytes.
testLargeNar(someOf(CELLS).filter((_, index) => index % 3 === 0));
