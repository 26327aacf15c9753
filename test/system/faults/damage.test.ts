// Every kind of damage to an object, for packages that are packed; for others in test/check/check-object.test.ts.
import { testDamage } from '../../fixtures/damage.ts';

testDamage(['gzip', 'br', 'xz']);
