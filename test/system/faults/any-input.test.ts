// As test/any-input.test.ts, with more of it.
import { testAnyInput } from '../../fixtures/any-input.ts';

testAnyInput(2000);
