// An answer to a GET, whichever HTTP it came over: its head, and its body as a stream that ends only where the body is whole.
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';

/** What upper layers may use of what node:http answers with; http2-response.ts has the same for HTTP/2. */
export interface Response
  extends Readable,
    Pick<IncomingMessage, 'headers' | 'httpVersionMajor' | 'statusCode' | 'statusMessage'> {
  readonly socket: Pick<Socket, 'remoteAddress'>;
}
