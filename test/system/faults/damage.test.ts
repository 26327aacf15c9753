// Every kind of damage to an object, however it is packed.
import { testDamage } from '../../fixtures/damage.ts';

testDamage(['none', 'gzip', 'br', 'xz']);
