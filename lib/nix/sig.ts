// One signature as text, `name:base64`, whoever made it. There are more kinds than Ed25519, of other lengths: those are passed on.

const SIG = /^[^:\s]+:[0-9A-Za-z+/]+={0,2}$/;
/** 64 bytes. */
const ED25519 = /^[^:]+:[0-9A-Za-z+/]{86}==$/;

/** Whether every client can read it, whatever it is worth. */
export function isSig(text: string): boolean {
  return SIG.test(text);
}

/** Whether it may be an Ed25519 one. */
export function isEd25519Sig(text: string): boolean {
  return ED25519.test(text);
}

/** The name of the key that a signature, or a public key, is of. */
export function keyName(text: string): string {
  return text.slice(0, text.indexOf(':'));
}
