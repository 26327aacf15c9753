// For servers that send their Content-Length twice, which node:http refuses, however equal (RFC 9110, 8.6, lets a client take
// it): a connection on which the first head that comes has it once. What else is wrong with it stays so.
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';

const LENGTH = /^content-length:[ \t]*(\d+(?:[ \t]*,[ \t]*\d+)*)[ \t]*$/i;

/** The head, up to and with its empty line, in which a repeated equal length is said once. */
export function tidyHead(head: string): string {
  let length: string | undefined;
  const lines = head.split('\r\n').flatMap((line) => {
    const values = LENGTH.exec(line)?.[1]?.split(/[ \t]*,[ \t]*/);
    if (values === undefined) return [line];
    const isFirst = length === undefined;
    length ??= values[0];
    // Two that differ both stay, and node:http refuses them.
    if (values.some((value) => value !== length)) return [line];
    return isFirst ? [`Content-Length: ${length}`] : [];
  });
  return lines.join('\r\n');
}

/** Over `socket`, whose first answer has a head of at most `limit` bytes if it is to be tidied. */
export class TidyConnection extends Duplex {
  readonly #socket: Socket;
  readonly #limit: number;
  /** Of the head; undefined when it is through. */
  #begun: Buffer | undefined = Buffer.alloc(0);

  constructor(socket: Socket, limit: number) {
    super({ allowHalfOpen: false });
    this.#socket = socket;
    this.#limit = limit;
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('end', () => this.#end()).on('error', (error) => this.destroy(error));
    socket.on('close', () => this.destroy());
  }

  get remoteAddress(): string | undefined {
    return this.#socket.remoteAddress;
  }

  #take(chunk: Buffer): void {
    if (this.#begun === undefined) {
      if (!this.push(chunk)) this.#socket.pause();
      return;
    }
    const bytes = Buffer.concat([this.#begun, chunk]);
    const end = bytes.indexOf('\r\n\r\n');
    this.#begun = bytes;
    if (end < 0 && bytes.length <= this.#limit) return;
    this.#begun = undefined;
    const head = end < 0 ? '' : tidyHead(bytes.toString('latin1', 0, end + 4));
    this.push(Buffer.concat([Buffer.from(head, 'latin1'), bytes.subarray(end < 0 ? 0 : end + 4)]));
  }

  #end(): void {
    if (this.#begun !== undefined && this.#begun.length > 0) this.push(this.#begun);
    this.push(null);
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#socket.write(chunk, done);
  }

  override _final(done: () => void): void {
    this.#socket.end(done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.destroy();
    done(error);
  }

  /** What node:http asks of a socket; what goes for the one below goes for this one. */
  setTimeout(): this {
    return this;
  }
}
