// What a client is told of a failure, in one sentence: Nix shows it to its user. The log has it as it is.
import { STATUS_CODES } from 'node:http';
import { CacheError } from '../errors.ts';
import { printable } from '../log.ts';

const MAX_BYTES = 900;

/**
 * The error's message for whoever asked. What stands behind the question mark of a URL may let anybody fetch it, and what stands
 * before an @ may be a password; a file's name is nobody's business, and what looks like markup may mean something to a client.
 */
export function sentenceOf({ message }: CacheError): string {
  const plain = message
    .replace(/([a-z][a-z0-9+.-]*:\/\/)[^\s/?#@"]*@/gi, '$1')
    .replace(/([a-z][a-z0-9+.-]*:\/\/[^\s?#"]*)[?#][^\s"]*?(?=[:;,]?(?:\s|"|$))/gi, '$1?…')
    .replace(
      /(^|[\s'"(])\/(?!nar\/|log\/|realisations\/|build-trace-v2\/|debuginfo\/|[0-9a-z]{32}\.)[^\s'":]*\/[^\s'":]*/g,
      '$1…',
    )
    .replace(/[<>]/g, '');
  return short(printable(plain));
}

/** No more of it than clients should have to show; a character that is cut becomes one that says so. */
export function short(text: string): string {
  const bytes = Buffer.from(text);
  return bytes.length > MAX_BYTES ? `${bytes.toString('utf8', 0, MAX_BYTES - 6)}…` : text;
}

/** What whoever asked is told with a status, and of what it was, if that is known. */
export function refusal(status: number, detail?: string): string {
  const text = detail === undefined ? `${STATUS_CODES[status]}` : `${STATUS_CODES[status]}: ${detail}`;
  return short(printable(text));
}

/** Neither is it here, nor has any upstream it. */
export function nowhere(): CacheError {
  return new CacheError('not-found', 'no upstream has it');
}
