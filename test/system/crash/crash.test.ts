// A minute of what `npm run crash` does for as long as one likes: kills at random moments, with a fixed seed.
import { test } from 'node:test';
import { runCrashes } from '../../crash/run.ts';

test('whatever moment the service is killed at, nothing that was acknowledged is lost, and nothing wrong is served', async (t) => {
  const owner = { after: (cleanup: () => Promise<void>) => t.after(cleanup) };
  const { acknowledged, lives } = await runCrashes(owner, 1, 60_000);
  t.diagnostic(`${lives} kills, ${acknowledged} packages`);
});
