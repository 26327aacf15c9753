// Whose signatures an upstream must show when the configuration doesn't say: those of cache.nixos.org, for itself and
// for the mirrors that hold nothing but copies of it. Of other caches nobody can know.
import type { PublicKey } from '../nix/signature.ts';

const NIXOS = ['cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=' as PublicKey];
const MIRRORS = ['mirrors.ustc.edu.cn/nix-channels/store', 'mirrors.tuna.tsinghua.edu.cn/nix-channels/store'];

/** The public keys for an upstream with this normalised URL; none means that nothing need be signed. */
export function knownKeys(url: string): readonly PublicKey[] {
  const { host, pathname } = new URL(url);
  return host === 'cache.nixos.org' || MIRRORS.includes(host + pathname) ? NIXOS : [];
}
