// Clients as a program: any number of them read one file at once, as fast as it comes or slowly, and tell when what came.
// On bare sockets with one buffer for all, so that fifty of them are a small load beside the service. See clients.ts.
import { connect } from 'node:net';
import { answerQuestions, sharedNow } from './child.ts';

export interface Question {
  readonly port: number;
  readonly path: string;
  /** How many clients. */
  readonly count: number;
  /** Bytes per second of each client; as fast as it comes if undefined. */
  readonly rate?: number;
  /** When to leave, finished or not. */
  readonly leaveAfterMs?: number;
}

/** Times are by the shared clock. */
export interface Read {
  readonly status: number;
  /** What its Content-Length says. */
  readonly size: number;
  /** Bytes of the body that came. */
  readonly bytes: number;
  readonly beganAt: number;
  /** When the first byte of the body came. */
  readonly firstAt: number;
  readonly endedAt: number;
}

const buffer = Buffer.alloc(1 << 20);

function read({ port, path, rate, leaveAfterMs }: Question): Promise<Read> {
  return new Promise((resolve, reject) => {
    const beganAt = sharedNow();
    let firstAt = 0;
    let head = '';
    let bytes = -1;
    let size = Number.POSITIVE_INFINITY;
    const take = (length: number): boolean => {
      let body = length;
      if (bytes < 0) {
        head += buffer.toString('latin1', 0, length);
        const end = head.indexOf('\r\n\r\n');
        if (end < 0) return true;
        size = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? Number.NaN);
        bytes = 0;
        body = head.length - end - 4;
      }
      if (body > 0 && bytes === 0) firstAt = sharedNow();
      bytes += body;
      if (bytes >= size) socket.destroy();
      if (rate === undefined || socket.destroyed) return true;
      const aheadMs = (bytes / rate) * 1000 - (sharedNow() - beganAt);
      if (aheadMs < 1) return true;
      setTimeout(() => socket.resume(), aheadMs);
      return false;
    };
    const options = rate === undefined ? buffer : buffer.subarray(0, 64 << 10);
    const socket = connect({
      ...{ port, host: '127.0.0.1', noDelay: true },
      onread: { buffer: options, callback: take },
    });
    socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
    const timer = leaveAfterMs === undefined ? undefined : setTimeout(() => socket.destroy(), leaveAfterMs);
    socket.once('error', reject);
    socket.once('close', () => {
      clearTimeout(timer);
      const status = Number(head.slice(9, 12));
      resolve({ status, size, bytes: Math.max(bytes, 0), beganAt, firstAt, endedAt: sharedNow() });
    });
  });
}

answerQuestions<Question>((question) =>
  Promise.all(Array.from({ length: question.count }, () => read(question))),
);
