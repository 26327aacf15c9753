// URLs, read without exceptions.

/**
 * The URL; undefined if it is none. URL.canParse() is not asked: once Node 20 has compiled a call of it to machine code, it
 * takes text beyond ASCII for something else, and says yes to what URL() refuses.
 */
export function parseUrl(text: string, base?: string): URL | undefined {
  try {
    return new URL(text, base);
  } catch {
    return undefined;
  }
}
