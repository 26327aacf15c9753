import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type Compression,
  compressionBy,
  endingOf,
  extensionOf,
  isCompression,
  NAR_ENDINGS,
} from '../../lib/nix/compression.ts';

// What follows `.nar` in Nix's own names (nix/src/libstore/binary-cache-store.cc), then in ours.
const KNOWN: Readonly<Record<Compression, readonly [string, string]>> = {
  none: ['', '.none'],
  br: ['.br', '.br'],
  bzip2: ['.bz2', '.bz2'],
  compress: ['', '.compress'],
  grzip: ['', '.grzip'],
  gzip: ['', '.gzip'],
  lrzip: ['', '.lrzip'],
  lz4: ['.lz4', '.lz4'],
  lzip: ['.lzip', '.lzip'],
  lzma: ['', '.lzma'],
  lzop: ['', '.lzop'],
  xz: ['.xz', '.xz'],
  zstd: ['.zst', '.zst'],
};

test('every compression of Nix has the ending that Nix gives it, and one of ours that leads back to it', () => {
  for (const [text, [ending, extension]] of Object.entries(KNOWN)) {
    assert.ok(isCompression(text), text);
    assert.equal(endingOf(text), ending);
    assert.equal(extensionOf(text), extension);
    assert.equal(compressionBy(extension), text);
    assert.ok(NAR_ENDINGS.includes(ending), ending);
  }
});

test('what Nix does not know is no compression, nor is what every object has', () => {
  for (const text of ['', 'XZ', 'zst', 'none ', 'toString', 'constructor', '__proto__'])
    assert.equal(isCompression(text), false, text);
  for (const extension of ['', '.gz', '.zstd', 'xz']) assert.equal(compressionBy(extension), undefined);
});
