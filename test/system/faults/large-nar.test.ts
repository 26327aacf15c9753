// The fault matrix, for a NAR that is fetched in parts.
import { CELLS } from '../../fixtures/fault-cell.ts';
import { testLargeNar } from '../../fixtures/nar-cells.ts';

testLargeNar(CELLS);
