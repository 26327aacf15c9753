// A long line: test/outside/bench/delay.mjs as a process of its own, in front of a port of this machine.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { defer, type Owner } from '../fixtures/defer.ts';
import { deadPort } from '../fixtures/origin.ts';
import { projectRoot } from '../fixtures/project.ts';

export interface Line {
  /** There and back, in milliseconds. */
  readonly roundTripMs: number;
  /** What all connections together get in each direction; none is no limit. */
  readonly mbitPerSecond?: number;
}

/** How long the relay may take to listen. */
const PATIENCE_MS = 20_000;

/** Puts the line before that port of 127.0.0.1; answers with the port at its near end. It goes with its owner. */
export async function startLine(t: Owner, target: number, line: Line): Promise<number> {
  const port = await deadPort();
  const total = Math.round(((line.mbitPerSecond ?? 0) * 1e6) / 8);
  const script = join(projectRoot, 'test/outside/bench/delay.mjs');
  const args = [port, target, line.roundTripMs / 2, 0, total].map(String);
  const child = spawn(process.execPath, [script, ...args], { stdio: 'ignore' });
  const ended = once(child, 'close');
  defer(t, async () => {
    child.kill('SIGKILL');
    await ended;
  });
  const started = performance.now();
  while (!(await listens(port))) {
    if (child.exitCode !== null) throw new Error(`delay.mjs ended with ${child.exitCode}`);
    if (performance.now() - started > PATIENCE_MS) throw new Error('delay.mjs does not listen');
    await delay(20);
  }
  return port;
}

async function listens(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
