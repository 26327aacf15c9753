// How many connections may be busy at once, to one upstream or to all of them.
import { Slots } from '../sync/slots.ts';

export class Connections {
  /** Small answers have connections of their own, so that narinfos never queue behind NARs. */
  readonly small: Slots;
  readonly large: Slots;

  /** `max` of them, from 2 on, and each among those of `all`. */
  constructor(max: number, all?: Connections) {
    const large = Math.floor(max / 2);
    this.small = new Slots(max - large, all?.small);
    this.large = new Slots(large, all?.large);
  }
}
