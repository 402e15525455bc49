import { kernel, nativeKernel, nativeZstd, python, sqlite, zstd } from '../modules.mjs';
import ruby from './ruby.mjs';

// Sizes are chosen to take some tens of milliseconds.
const sizes = {
  fib: 35,
  sieve: 6,
  nbody: 200_000,
  matmul: 15,
  sha256: 60_000,
  crc32: 150,
  quicksort: 5,
  mandelbrot_simd: 1200,
  spectral_norm: 800,
  hash_map: 1_000_000,
  string_search: 12,
  dispatch: 5_000_000,
  interpreter: 2_000_000,
  sqlite: 10_000,
  zstd: 300,
};

export const kernels = {
  title: 'Hot compute: C kernels, SQLite and zstd',
  notes: ['gcc -O2: the same C, compiled for this machine.'],
  peers: ['node', 'node 26', 'wasmtime', 'gcc -O2'],
  rows: Object.entries(sizes).map(([name, size]) => ({
    name,
    // V8 optimises while a function runs hot.
    warmUps: 4,
    async prepare(side) {
      const path = pathFor(side.name, name);
      if (side.name === 'ours') await side.ask('optimise', path);
      await side.ask('load', name, path);
      await side.ask('call', name, '_initialize');
    },
    async measure(side) {
      const [time, result] = await side.ask('call', name, 'kernel', size);
      return { time: Number(time), result };
    },
  })),
};

// Each takes a second or so. What a start takes is part of it, on every side.
const scripts = {
  loop: 's = 0\nfor i in range(4_000_000): s += i & 3\nassert s == 6_000_000',
  fib: 'f = lambda n: n if n < 2 else f(n - 1) + f(n - 2)\nassert f(25) == 75_025',
  floats: 's = sum(1.0 / (i * i) for i in range(1, 1_000_000))\nassert 1.6 < s < 1.7',
  strings:
    't = ",".join(f"{i}:{i * i}" for i in range(200_000)).split(",")\nassert sorted(s[::-1] for s in t)[-1] == "9:3"',
  dict: 'd = {}\nfor i in range(1_000_000):\n  k = i * 7919 % 1009\n  d[k] = d.get(k, 0) + i\nassert len(d) == 1009',
  objects:
    'class P:\n  def __init__(s, x): s.x = x\n  def get(s): return s.x\nassert sum(P(i).get() for i in range(600_000)) == 179_999_700_000',
  regexp:
    'import re\nn = sum(int(m) for m in re.findall(r"[a-z]+(\\d+)", "ab1cd22efg333" * 60_000))\nassert n == 21_360_000',
  bignum: 'import math\nassert math.factorial(6_000) % 5_987 == 0 and len(hex(3 ** 200_000)) == 79_251',
};

const cpython = {
  title: 'Hot compute: Python scripts in CPython, each a program',
  notes: ['The module is compiled before. A start of the program is part of each time.'],
  peers: ['node', 'node 26', 'wasmtime'],
  async setUp(side) {
    if (side.name === 'ours') await side.ask('optimise', python());
  },
  rows: Object.entries(scripts).map(([name, script]) => ({
    name: `cpython-${name}`,
    rounds: 5,
    measure: async (side) => ({
      time: await side.time('program', python(), '-c', script.replaceAll('\n', '\\n')),
    }),
  })),
};

const cruby = { ...ruby, rows: ruby.rows.map((row) => ({ ...row, name: `cruby-${row.name}` })) };

export default [kernels, cpython, cruby];

function pathFor(side, name) {
  if (name === 'zstd') return side === 'gcc -O2' ? nativeZstd() : zstd();
  if (name === 'sqlite') {
    if (side === 'gcc -O2') throw new Error('its file system is that of the wasm');
    return sqlite();
  }
  if (side !== 'gcc -O2') return kernel(name);
  if (name.endsWith('_simd')) throw new Error('its vectors are those of wasm');
  return nativeKernel(name);
}
