import { kernel, nativeKernel, sqlite } from '../modules.mjs';

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
};

export default {
  title: 'Hot compute: C kernels, and SQLite',
  notes: ['gcc -O2: the same C, compiled for this machine.'],
  peers: ['node', 'node 26', 'wasmtime', 'gcc -O2'],
  rows: Object.entries(sizes).map(([name, size]) => ({
    name,
    // V8 optimises while a function runs hot.
    warmUps: 4,
    async prepare(side) {
      await side.ask('load', name, pathFor(side.name, name));
      await side.ask('call', name, '_initialize');
    },
    async measure(side) {
      const [time, result] = await side.ask('call', name, 'kernel', size);
      return { time: Number(time), result };
    },
  })),
};

function pathFor(side, name) {
  if (name === 'sqlite') {
    if (side === 'gcc -O2') throw new Error('its file system is that of the wasm');
    return sqlite();
  }
  if (side !== 'gcc -O2') return kernel(name);
  if (name.endsWith('_simd')) throw new Error('its vectors are those of wasm');
  return nativeKernel(name);
}
