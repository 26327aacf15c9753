// The least that can stand between a client and an upstream, as a program: node:http on either side and nothing between.
// What it adds to an answer is what the machine and Node.js add, whatever a service does.
import { once } from 'node:events';
import { Agent, createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { answerQuestions } from './child.ts';

/** Where the upstream listens. */
interface Question {
  readonly port: string;
}

answerQuestions<Question>(async ({ port }) => {
  const agent = new Agent({ keepAlive: true });
  const server = createServer((req, res) => {
    const asked = request({ agent, port, host: '127.0.0.1', path: req.url }, (answer) => {
      res.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(res);
    });
    asked.on('error', () => res.destroy());
    asked.end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
});
