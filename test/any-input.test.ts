// No input of any bytes makes a parser throw anything but the project's own error. test/system/faults tries more, and `npm run fuzz`
// goes on from there.
import { testAnyInput } from './fixtures/any-input.ts';

testAnyInput(400);
