// What the status of an upstream's answer says of what it was asked for.

export interface Question {
  /** Whether for a part. */
  readonly part: unknown;
  /** Whether by a name of another cache, which this one need not understand. */
  readonly foreign: boolean;
  /** Whether through a proxy, whose other end may be what has answered. */
  readonly proxied?: boolean;
}

/** Request Timeout, Too Early, Too Many Requests. */
const PASSING = [408, 425, 429];
/** These are about who asks, or about the server as a whole, whatever the name. */
const NOT_OF_THE_NAME = [401, 407, ...PASSING, 502, 503, 504];

/** `broken`: it failed. `busy`: not now. `refused`: asked again, it would say the same. `strange`: it knows no such name. */
export function outcomeOf(
  status: number,
  { part, foreign, proxied = false }: Question,
): 'here' | 'missing' | 'broken' | 'busy' | 'refused' | 'strange' {
  if (status === 200 || (status === 206 && part !== undefined)) return 'here';
  if (status === 404 || status === 403 || status === 410) return 'missing';
  // attic answers 500 to the NAR names of other caches, selector4nix 422.
  if (foreign && status >= 400 && !NOT_OF_THE_NAME.includes(status)) return 'strange';
  // A guessed name that fails is no failure of an upstream that was never asked for the narinfo.
  if (status >= 500) return foreign ? 'busy' : 'broken';
  // A 400 that a proxy's other end gives to every path is no refusal of this one.
  if (status === 400 && proxied) return 'broken';
  return PASSING.includes(status) ? 'busy' : 'refused';
}
