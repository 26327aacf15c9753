// The fault matrix, for a NAR that comes in one piece.
import { CELLS } from '../../fixtures/fault-cell.ts';
import { testSmallNar } from '../../fixtures/nar-cells.ts';

testSmallNar(CELLS);
