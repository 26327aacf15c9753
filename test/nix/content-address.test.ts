import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isContentAddressed } from '../../lib/nix/content-address.ts';
import { parseNarInfo } from '../../lib/nix/narinfo.ts';

interface Known {
  readonly path: string;
  readonly ca: string;
  readonly narHash: string;
  readonly references?: readonly string[];
}

const FILE = 'sha256-HDfQGvQL4ugGkd48w99EN3ppmvuxfGjwgJZLL9Bx/BM=';
const FOLDER = 'sha256-jBfr764AN8yApZjPJscKd8JU28AmhitpXrXqNpE3J+s=';

// Made by Nix 2.8.0: nix-store --add, --add-fixed [--recursive], builtins.toFile and nix store make-content-addressed.
const MADE_BY_NIX: readonly Known[] = [
  {
    path: '/nix/store/z3n6ml62lc6l9glpaz6fq7fvi2rks9vq-a.txt',
    ca: 'fixed:r:sha256:04zwf782yjwnh3q6hz5izfd6jyip8kgw6g6yj43fiqhbyhdd0dqw',
    narHash: FILE,
  },
  {
    path: '/nix/store/fdwm55r4skpypx1gwzb7x69ckav1rv09-a.txt',
    ca: 'fixed:sha256:00xyyr3fi8l6hb839bv3f7yb86yjv7xi1cgh1xnhipym4asvb4aq',
    narHash: FILE,
  },
  {
    path: '/nix/store/ql4vf9nr3hjsc5rjwh6bsycgb65khwb4-a.txt',
    ca: 'fixed:md5:4425hx5d1mc9y39llj4k4nm55i',
    narHash: FILE,
  },
  {
    path: '/nix/store/ai1nh82p4c5ylq44c5yqamdsl6s74p63-a.txt',
    ca: 'fixed:sha1:iwjz551fyw0cxcjgf4l6c879zabd6wpm',
    narHash: FILE,
  },
  {
    path: '/nix/store/24vy5m62m27cswx0rjz0n7d7gx6fn9bh-a.txt',
    ca: 'fixed:sha512:0lrc0dwnvipqviibf7qfm1y492qvjwb1zhkcyi05cndmva1mr5gjcgrnz1x36djmk0sfg8djd2n0qv68vib2jg590mwznar9jcjphp7',
    narHash: FILE,
  },
  {
    path: '/nix/store/ksc5qnagvp975zs0g6mp6m6fk8907wpf-d',
    ca: 'fixed:r:sha256:1sr76y8kdsmmbrljp1i6q3dm9hkp1b3jdkwqln0cqdq0mvpyn5wc',
    narHash: FOLDER,
  },
  {
    path: '/nix/store/s8f0vx9wnhjylxfmvg4jgw2q3mhmsc99-d',
    ca: 'fixed:r:md5:7j1wgq5jq7ksvyp1pns5zrf3vs',
    narHash: FOLDER,
  },
  {
    path: '/nix/store/xmnzmcqgwidmalv00whkh6431kvlwg3d-d',
    ca: 'fixed:r:sha1:1c50xn6r4yzjk6lzfddg9yywb2zq6bnj',
    narHash: FOLDER,
  },
  {
    path: '/nix/store/mbia8p1gznn6xhxh254ryv8cxz9klpxw-d',
    ca: 'fixed:r:sha512:3zfn6ycc6w3128pgsdinsya6ckq7vw4qb9xvvai05waqsd6xmqkqcl11bhv07fs3vkw6bfd4ir4inf4gb6vn9zl5wmq6z1lz7p7i5q4',
    narHash: FOLDER,
  },
  {
    path: '/nix/store/sx0f0xfyqvpn8kqsgk93bgc4nxdb0bs2-a',
    ca: 'text:sha256:0jsvhyvxslhyq14isbx2xajasisp7xdgykl0dffy3z1lzxrv51kb',
    narHash: 'sha256-Mz3qfBlIHWPommJBhNbgSqmrfbShQ9myxTkKssXTB14=',
  },
  {
    path: '/nix/store/ifrfjq6dmcqmrx5cpyxnga74h2dny1dk-t2',
    ca: 'text:sha256:014w0xyyhar4c024jlizxa4rxbngm3g04xwyx6g5kvay22mik1vl',
    narHash: 'sha256-PyMKb5i2TosQB+jmCpRRzhjVIhQrGH9dgTt3zdWtETA=',
    references: ['7ppbc50hd9a0fqdx2cj3wkd3c9j64hnk-b', 'sx0f0xfyqvpn8kqsgk93bgc4nxdb0bs2-a'],
  },
  {
    path: '/gnu/store/iffw05bzz530cmh6lhl2sgixq57zxgx3-selfy',
    ca: 'fixed:r:sha256:1hi8q3yc55slpdvak2p007l08hqkm2mgzjvqa4kqchrdqs6s1z2x',
    narHash: 'sha256-AGIrT8B/1J+iZeoqMGnmZZHlqRi3P3PLEc84+9j21EU=',
    references: ['1nq6lwwf7phckbzbf4cz8dsjz5dd6s0y-dep', 'iffw05bzz530cmh6lhl2sgixq57zxgx3-selfy'],
  },
  {
    path: '/gnu/store/rimrfkrqjmm9qqjn87dqlkwywi5dm7rp-selfy.drv',
    ca: 'text:sha256:14q979jrh5gi26jjpjbkz2arinqpgpyvb01sw9zqx3x9h7xkaa8n',
    narHash: 'sha256-UKWD8fxxnRnYCZEwQK/ve9PVFRKaZWCmgfXqKUm6d0E=',
    references: ['fv3ngqwfdym529xg1kf3k485vdklpm80-dep'],
  },
];

function proves(known: Known): boolean {
  const { path, ca, narHash, references = [] } = known;
  const storeDir = path.slice(0, path.lastIndexOf('/'));
  const fields = [
    `StorePath: ${path}`,
    'URL: nar/x.nar',
    `NarHash: ${narHash}`,
    'NarSize: 1',
    `CA: ${ca}`,
    `References: ${references.join(' ')}`,
  ];
  return isContentAddressed(parseNarInfo(`${fields.join('\n')}\n`, storeDir), storeDir);
}

test('the content addresses that Nix writes give the paths it made', () => {
  for (const known of MADE_BY_NIX) assert.ok(proves(known), `${known.path} ${known.ca}`);
  const backwards = MADE_BY_NIX.map((known) => ({
    ...known,
    references: known.references?.toReversed() ?? [],
  }));
  for (const known of backwards) assert.ok(proves(known), `${known.path}, references in another order`);
});

test('a content address of anything else proves nothing', () => {
  for (const known of MADE_BY_NIX) {
    const { path, ca } = known;
    for (const other of MADE_BY_NIX) {
      if (other !== known) assert.ok(!proves({ ...known, ca: other.ca }), `${path} ${other.ca}`);
    }
    assert.ok(!proves({ ...known, path: path.replace('store/', 'stores/') }), 'another store');
    assert.ok(!proves({ ...known, path: `${path}x` }), 'another name');
    assert.ok(!proves({ ...known, path: path.replace(/store\/./, 'store/y') }), 'another hash');
    const more = ['11111111111111111111111111111111-x', ...(known.references ?? [])];
    assert.ok(!proves({ ...known, references: more }), 'a reference more');
    assert.ok(!proves({ ...known, ca: '' }), 'none');
    assert.ok(!proves({ ...known, ca: ca.replace(/fixed:(r:)?/, 'fixed:git:').replace('text:', 'fixed:') }));
    assert.ok(!proves({ ...known, ca: ca.replace(/:[^:]*$/, ':AAAA') }), 'no hash');
  }
});

test('a NarHash that contradicts the content address makes it worth nothing', () => {
  for (const known of MADE_BY_NIX) {
    if (!known.ca.startsWith('fixed:r:sha256:') || known.references !== undefined) continue;
    assert.ok(!proves({ ...known, narHash: known.narHash === FILE ? FOLDER : FILE }), known.path);
  }
});
