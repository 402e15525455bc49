import { kernel } from '../modules.mjs';

// Sizes are chosen to take some tens of milliseconds.
const sizes = {
  fib: 31,
  sieve: 3,
  nbody: 200_000,
  matmul: 8,
  sha256: 60_000,
  crc32: 150,
  quicksort: 5,
  mandelbrot_simd: 500,
  spectral_norm: 500,
  hash_map: 1_000_000,
  string_search: 12,
  dispatch: 5_000_000,
  interpreter: 400_000,
};

export default {
  title: 'Hot compute: C kernels',
  peers: ['node', 'wasmtime'],
  rows: Object.entries(sizes).map(([name, size]) => ({
    name,
    // V8 optimises while a function runs hot.
    warmUps: 4,
    async prepare(side) {
      await side.ask('load', name, kernel(name));
      await side.ask('call', name, '_initialize');
    },
    async measure(side) {
      const [time, result] = await side.ask('call', name, 'kernel', size);
      return { time: Number(time), result };
    },
  })),
};
