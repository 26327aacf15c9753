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

/** `broken`: it failed. `busy`: not now. `refused`: asked again, it would say the same. */
export function outcomeOf(
  status: number,
  { part, foreign, proxied = false }: Question,
): 'here' | 'missing' | 'broken' | 'busy' | 'refused' {
  if (status === 200 || (status === 206 && part !== undefined)) return 'here';
  if (status === 404 || status === 403 || status === 410 || (status === 400 && foreign)) return 'missing';
  // What a proxy's other end says to every path is no refusal of one of them.
  if (status >= 500 || (status === 400 && proxied)) return 'broken';
  return PASSING.includes(status) ? 'busy' : 'refused';
}
