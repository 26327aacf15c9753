// One life of the service, from a start to a kill, as its clients see it.
import type { Story } from '../fixtures/story.ts';

export interface Life {
  readonly url: string;
  readonly story: Story;
  readonly random: () => number;
  /** Whether the kill has been sent, so that requests may end in any way but a wrong one. */
  over: boolean;
}

/** What must not be, whether the service was killed meanwhile or not. */
export class Wrong extends Error {}

export function assertRight(right: boolean, what: string): asserts right {
  if (!right) throw new Wrong(what);
}
