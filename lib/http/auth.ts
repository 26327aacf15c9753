// Who may do what. Until something else is configured, only this machine may upload.
import type { IncomingMessage } from 'node:http';
import { BlockList, isIPv6 } from 'node:net';
import { CacheError } from '../errors.ts';

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');
loopback.addSubnet('::ffff:127.0.0.0', 104, 'ipv6');

/** @throws CacheError `forbidden` */
export function checkMayUpload(req: IncomingMessage): void {
  const address = req.socket.remoteAddress ?? '';
  const { headers } = req;
  // A reverse proxy on this machine speaks for others, and so does a browser: neither makes its client local.
  const forwarded = headers['x-forwarded-for'] ?? headers.forwarded ?? headers.via ?? headers.origin;
  if (forwarded === undefined && loopback.check(address, isIPv6(address) ? 'ipv6' : 'ipv4')) return;
  throw new CacheError(
    'forbidden',
    `uploads are taken only from the machine the cache runs on, and this one came from ${address}` +
      (forwarded === undefined ? '' : ' on behalf of another'),
  );
}
