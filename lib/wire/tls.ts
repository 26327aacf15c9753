// TLS over a connected socket: to an upstream, or to a proxy (and then once more inside, to the upstream). The
// peer's certificate is always verified, against Node's authorities and those given.
import { readFileSync } from 'node:fs';
import net from 'node:net';
import tls from 'node:tls';
import { checkAuthority } from '../config/certificates.ts';
import { CacheError, isErrno } from '../errors.ts';
import { clip, type Step, until } from './handshake.ts';

const UNKNOWN_AUTHORITY = [
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
];

// Parsing some 150 authorities takes longer than a handshake. The configuration bounds how many sets there are.
const contexts = new Map<string, tls.SecureContext>();

/** What a server that is asked for HTTP is offered by those that speak nothing else over it. */
const HTTP_1 = ['http/1.1'];

/**
 * The socket with TLS on it, once `host` has proved to be `host`; its `alpnProtocol` is one of `protocols`, or false if the server
 * chose none. Bytes already in `socket` are TLS's first.
 */
export async function startTls(
  socket: net.Socket,
  host: string,
  ca: readonly string[] | undefined,
  step: Step,
  protocols: readonly string[] = HTTP_1,
): Promise<tls.TLSSocket> {
  const secured = tls.connect({
    socket,
    host,
    // RFC 6066 forbids addresses and the root's dot here; `host` is what the certificate is checked against.
    ...(net.isIP(host) ? {} : { servername: host.replace(/\.$/, '') }),
    secureContext: contextFor(ca ?? []),
    // Set explicitly: otherwise NODE_TLS_REJECT_UNAUTHORIZED could turn it off.
    rejectUnauthorized: true,
    checkServerIdentity,
    ALPNProtocols: [...protocols],
  });
  secured.on('error', () => {});
  try {
    await until(secured, 'secureConnect', step, () => true);
    return secured;
  } catch (error) {
    secured.destroy();
    if (error instanceof CacheError && isErrno(error.cause, ...UNKNOWN_AUTHORITY)) {
      const hint = 'its certificate is not from a known authority; add a private one with ca_file';
      throw new CacheError(error.code, `${error.message} (${hint})`, error.cause);
    }
    throw error;
  }
}

/** Does before the first connection what takes longer than to make one. */
export function prepareTls(ca: readonly string[] | undefined): void {
  try {
    contextFor(ca ?? []);
  } catch {
    // The first connection says what is wrong.
  }
}

function contextFor(ca: readonly string[]): tls.SecureContext {
  const key = ca.join('\n');
  let context = contexts.get(key);
  if (context === undefined) {
    for (const pem of ca) checkAuthority(pem);
    // Naming any authority replaces the default ones.
    context = tls.createSecureContext(ca.length === 0 ? {} : { ca: [...defaultAuthorities(), ...ca] });
    contexts.set(key, context);
  }
  return context;
}

function defaultAuthorities(): readonly string[] {
  // Node 22.15 and later; it knows NODE_EXTRA_CA_CERTS and --use-system-ca.
  const { getCACertificates } = tls as { getCACertificates?: (type: 'default') => string[] };
  if (getCACertificates) return getCACertificates('default');
  const extra = process.env.NODE_EXTRA_CA_CERTS;
  if (!extra) return tls.rootCertificates;
  try {
    return [...tls.rootCertificates, readFileSync(extra, 'utf8')];
  } catch {
    // Node has warned about the file at its start, and goes on without it.
    return tls.rootCertificates;
  }
}

/** Node's check; but a certificate may have thousands of names, all of which its message would list. */
function checkServerIdentity(host: string, certificate: tls.PeerCertificate): Error | undefined {
  const error = tls.checkServerIdentity(host, certificate);
  if (error) error.message = clip(error.message, 300);
  return error;
}
