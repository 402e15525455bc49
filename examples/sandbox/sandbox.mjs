// A program that nobody trusts, and what it gets: `node examples/sandbox/sandbox.mjs`.
//
// hostile.wasm is hostile.c: zig cc -target wasm32-wasi -Os -s hostile.c -o hostile.wasm

import { MemoryFS, WASI } from 'wasi-native';

const here = (name) => new URL(name, import.meta.url);

const wasi = new WASI({
  version: 'preview1',
  // One directory to read, and one in memory of at most a megabyte.
  preopens: {
    '/work': { path: here('.'), mode: 'ro' },
    '/tmp': new MemoryFS({ quota: 1 << 20 }),
  },
  // Every run sees the same time and the same random numbers.
  now: new Date('2026-01-01'),
  randomSeed: 1,
  // Nothing of sockets, even if there were one.
  deny: ['sock_*'],
  onRefused: 'ENOTCAPABLE',
  limits: { memory: 32 << 20, descriptors: 16, output: 64 << 10, stack: 1 << 20 },
  stdout: 'pipe',
  stderr: 'pipe',
});
try {
  await wasi.run(here('hostile.wasm'), { timeout: 500, encoding: 'utf8' });
} catch ({ code, message, stdout }) {
  process.stdout.write(stdout);
  console.log(`and then loop for ever: ${code}, ${message}`);
}
