// Random schedules of faults, in part: all of it is in test/system/faults.
import { testSchedules } from '../fixtures/schedules.ts';

testSchedules('1-20');
