// The fault matrix, for narinfos, in part: all of it is in test/system/faults.
import { CELLS, NAME_CELLS, someOf } from '../fixtures/fault-cell.ts';
import { testNarInfo } from '../fixtures/narinfo-cells.ts';

testNarInfo(someOf([...CELLS, ...NAME_CELLS]));
