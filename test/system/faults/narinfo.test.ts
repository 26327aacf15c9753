// The fault matrix, for narinfos.
import { CELLS, NAME_CELLS } from '../../fixtures/fault-cell.ts';
import { testNarInfo } from '../../fixtures/narinfo-cells.ts';

testNarInfo([...CELLS, ...NAME_CELLS]);
