// The fault matrix, for a NAR that comes in one piece, in part: all of it is in test/system/faults.
import { CELLS, someOf } from '../fixtures/fault-cell.ts';
import { testSmallNar } from '../fixtures/nar-cells.ts';

testSmallNar(someOf(CELLS));
