// The process beside the service that looks up names. The system's resolver, which alone knows what /etc/hosts, search domains
// and the like say of a name, keeps a thread until it has an answer, for half a minute if no name server gives one, and nothing
// ends that. In the service it would be one of the few threads that also read files, and Node would not end before it.
import { lookup } from 'node:dns';

process.on('message', (host: string) => {
  lookup(host, { all: true }, (error, found) => {
    const answer: LookupAnswer =
      error === null ? { host, found } : { host, code: error.code ?? error.message };
    process.send?.(answer);
  });
});
// Ctrl-C and those who end a whole group mean the service, which may need names to its last moment; it takes us along.
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => {});
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));

/** What comes back for a name: its addresses, or the code of the error. */
export type LookupAnswer = { readonly host: string } & (
  | { readonly found: readonly { readonly address: string; readonly family: number }[] }
  | { readonly code: string }
);
