// Certificates of authorities, as files have them.
import { X509Certificate } from 'node:crypto';
import { CacheError, describe } from '../errors.ts';

/**
 * Checks every certificate in `pem`: Node would ignore, in silence, what it can't read.
 *
 * @throws CacheError `config`
 */
export function checkAuthority(pem: string): void {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----/gs) ?? [pem];
  for (const block of blocks) {
    try {
      new X509Certificate(block);
    } catch (error) {
      throw new CacheError(
        'config',
        `an additional authority is no PEM certificate: ${describe(error)}`,
        error,
      );
    }
  }
}
