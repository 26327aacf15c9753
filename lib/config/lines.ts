// Which line of a TOML text a key stands on; smol-toml says so only for texts it can't parse. Reads a text that
// smol-toml has accepted, keeping of every value nothing but its extent. Should the two ever disagree, the
// scan stops there: what follows has no line rather than a wrong one.

import { parse } from 'smol-toml';

/** The way to a value: keys of tables and indices of arrays. */
export type KeyPath = readonly (string | number)[];

interface Node {
  readonly line: number;
  readonly children: Map<string | number, Node>;
  /** How many `[[headers]]` have named this key; 0 for everything but an array of tables. */
  tables: number;
}

/**
 * Reads the text once; the function returned gives the line (from 1) of a path, or of its nearest known
 * ancestor, or `undefined` if not even its first key is known.
 */
export function keyLines(text: string): (path: KeyPath) => number | undefined {
  const root = scan(text);
  return (path) => {
    let node = root;
    for (const key of path) {
      const next = node.children.get(key);
      if (next === undefined) break;
      node = next;
    }
    return node === root ? undefined : node.line;
  };
}

function scan(text: string): Node {
  let pos = text.startsWith('\ufeff') ? 1 : 0;
  let line = 1;
  let counted = 0;

  // Positions only grow, so every line end is counted once.
  const here = () => {
    for (; counted < pos; counted++) if (text[counted] === '\n') line++;
    return line;
  };
  const child = (node: Node, key: string | number, at: number): Node => {
    let found = node.children.get(key);
    if (found === undefined) {
      found = { line: at, children: new Map(), tables: 0 };
      node.children.set(key, found);
    }
    return found;
  };
  // Going through an array of tables means going into its newest table.
  const newest = (node: Node): Node => node.children.get(node.tables - 1) ?? node;

  const skip = (chars: string) => {
    while (pos < text.length && chars.includes(text.charAt(pos))) pos++;
  };
  const skipTo = (chars: string) => {
    while (pos < text.length && !chars.includes(text.charAt(pos))) pos++;
  };
  const skipVoid = () => {
    skip(' \t\r\n');
    while (text[pos] === '#') {
      skipTo('\n');
      skip(' \t\r\n');
    }
  };
  const expect = (token: string) => {
    if (!text.startsWith(token, pos)) throw LOST;
    pos += token.length;
  };

  const skipString = () => {
    const quote = text.charAt(pos);
    const triple = text.startsWith(quote.repeat(3), pos);
    const close = triple ? quote.repeat(3) : quote;
    pos += close.length;
    while (!text.startsWith(close, pos)) {
      if (pos >= text.length) throw LOST;
      pos += quote === '"' && text[pos] === '\\' ? 2 : 1;
    }
    pos += close.length;
    // Up to two quotes may stand before the closing three: `"""she said "no""""`.
    for (let more = 0; triple && more < 2 && text[pos] === quote; more++) pos++;
  };

  const readKeys = (): string[] => {
    const keys: string[] = [];
    for (;;) {
      skip(' \t');
      const start = pos;
      if (text[pos] === '"' || text[pos] === "'") {
        skipString();
        const quoted = text.slice(start, pos);
        keys.push(quoted.includes('\\') ? (Object.keys(parse(`${quoted}=0`))[0] ?? '') : quoted.slice(1, -1));
      } else {
        skip(BARE);
        if (pos === start) throw LOST;
        keys.push(text.slice(start, pos));
      }
      skip(' \t');
      if (text[pos] !== '.') return keys;
      pos++;
    }
  };

  const readPair = (table: Node) => {
    const at = here();
    let node = table;
    for (const key of readKeys()) node = child(node, key, at);
    expect('=');
    readValue(node);
  };

  const readItems = (close: string, readItem: (index: number) => void) => {
    pos++;
    for (let index = 0; ; index++) {
      skipVoid();
      if (text[pos] === close) break;
      readItem(index);
      skipVoid();
      if (text[pos] !== close) expect(',');
    }
    pos++;
  };

  const readValue = (node: Node) => {
    skip(' \t');
    const first = text[pos];
    if (first === '"' || first === "'") skipString();
    else if (first === '[') readItems(']', (index) => readValue(child(node, index, here())));
    else if (first === '{') readItems('}', () => readPair(node));
    else skipTo(',]}#\r\n'); // a space may stand inside a date
  };

  const readHeader = (): Node => {
    const at = here();
    const array = text.startsWith('[[', pos);
    expect(array ? '[[' : '[');
    const keys = readKeys();
    expect(array ? ']]' : ']');
    let node = root;
    keys.forEach((key, index) => {
      node = child(node, key, at);
      if (!array || index < keys.length - 1) node = newest(node);
    });
    return array ? child(node, node.tables++, at) : node;
  };

  const root: Node = { line: 0, children: new Map(), tables: 0 };
  let table = root;
  try {
    for (skipVoid(); pos < text.length; skipVoid()) {
      if (text[pos] === '[') table = readHeader();
      else readPair(table);
    }
  } catch (error) {
    if (error !== LOST) throw error;
  }
  return root;
}

const BARE = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-';

const LOST = new Error('not where a key or a value was expected');
