// Random schedules of faults.
import { testSchedules } from '../../fixtures/schedules.ts';

testSchedules('1-300');
