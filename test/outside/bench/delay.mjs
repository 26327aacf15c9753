// A long line: a TCP relay that holds every chunk back for MS milliseconds in each direction. Each connection gets at most
// RATE bytes a second, and all of them together at most TOTAL, in each direction; 0 is no limit. For machines whose kernel
// has no netem.
//   node delay.mjs LISTEN TARGET MS [RATE] [TOTAL]      LISTEN and TARGET are ports of 127.0.0.1
import { connect, createServer } from 'node:net';

const [listen, target, ms, rate = 0, total = 0] = process.argv.slice(2).map(Number);

/** The most bytes on their way in one direction of a connection: more would be a longer line than the one that is meant. */
const MOST = 4 << 20;

/** When the line that all connections share is free again, by direction. */
const line = { up: 0, down: 0 };

/** One queue a direction: chunks leave in the order in which they came, each when it is due. */
function pipe(from, to, way) {
  const queue = [];
  let timer;
  let free = 0;
  let held = 0;

  const last = () => queue.at(-1)?.at ?? 0;

  const flush = () => {
    timer = undefined;
    while (queue[0]?.at <= performance.now()) {
      const { data } = queue.shift();
      held -= data?.length ?? 0;
      if (to.destroyed) continue;
      if (data) to.write(data);
      else to.end();
    }
    if (held < MOST) from.resume();
    if (queue.length > 0) timer = setTimeout(flush, Math.max(1, queue[0].at - performance.now()));
  };

  const add = (at, data) => {
    queue.push({ at: Math.max(at, last()), data });
    if (timer === undefined) timer = setTimeout(flush, Math.max(1, at - performance.now()));
  };

  from.on('data', (data) => {
    const now = performance.now();
    let sent = now;
    if (rate) {
      free = Math.max(free, now) + (data.length / rate) * 1000;
      sent = free;
    }
    if (total) {
      line[way] = Math.max(line[way], now) + (data.length / total) * 1000;
      sent = Math.max(sent, line[way]);
    }
    held += data.length;
    // Read no further ahead than the line would.
    const ahead = sent > now + 50;
    if (held >= MOST || ahead) from.pause();
    if (ahead && held < MOST) setTimeout(() => from.resume(), sent - now - 25);
    add(sent + ms, data);
  });
  from.on('end', () => add(performance.now() + ms));
  from.on('error', () => to.destroy());
  from.on('close', () => {
    setTimeout(() => to.destroy(), ms + 50 + Math.max(0, last() - performance.now()));
  });
}

const options = { noDelay: true, allowHalfOpen: true };
createServer(options, (client) => {
  const server = connect({ ...options, port: target, host: '127.0.0.1' });
  pipe(client, server, 'up');
  pipe(server, client, 'down');
}).listen(listen, '127.0.0.1');
