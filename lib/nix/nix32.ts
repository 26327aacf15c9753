// Nix's base 32: its own alphabet (no e, o, u, t) and digit order, last byte first. See nix/src/libutil/hash.cc.

/** The 32 digits, in order of value. */
export const NIX32_ALPHABET = '0123456789abcdfghijklmnpqrsvwxyz';

const VALUES = new Map([...NIX32_ALPHABET].map((digit, value) => [digit, value]));

/** The nix32 text of `bytes`, ⌈8·length/5⌉ digits. */
export function encodeNix32(bytes: Uint8Array): string {
  // Concatenating single digits would keep a string for each in memory: thirty times the size of one string.
  const digits = Buffer.alloc(Math.ceil((bytes.length * 8) / 5));
  for (let n = 0; n < digits.length; n++) {
    const bit = n * 5;
    const i = bit >> 3;
    const shift = bit & 7;
    const window = (bytes[i] ?? 0) | ((bytes[i + 1] ?? 0) << 8);
    digits[digits.length - 1 - n] = NIX32_ALPHABET.charCodeAt((window >> shift) & 31);
  }
  return digits.toString('latin1');
}

/** The bytes that `text` stands for; undefined if it is not the nix32 form of whole bytes. */
export function decodeNix32(text: string): Buffer | undefined {
  const length = Math.floor((text.length * 5) / 8);
  if (Math.ceil((length * 8) / 5) !== text.length) return undefined;
  const bytes = Buffer.alloc(length + 1);
  for (let n = 0; n < text.length; n++) {
    const value = VALUES.get(text[text.length - 1 - n] as string);
    if (value === undefined) return undefined;
    const bit = n * 5;
    const i = bit >> 3;
    const window = value << (bit & 7);
    bytes[i] = (bytes[i] as number) | (window & 0xff);
    if (window > 0xff) bytes[i + 1] = (bytes[i + 1] as number) | (window >> 8);
  }
  // Digits may carry more bits than the bytes have; those must be zero, or two texts would mean one value.
  return bytes[length] === 0 ? bytes.subarray(0, length) : undefined;
}
