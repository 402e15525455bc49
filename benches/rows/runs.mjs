import { cpus } from 'node:os';

import { program } from '../modules.mjs';

const COUNT = 10_000;

// Each side as its users serve many requests: ours from one thread by run(), node:wasi in a Worker for each core,
// wasmtime on a thread for each core with its pooling allocator.
export default {
  title: `${COUNT} runs of a hello program on ${cpus().length} cores, one run`,
  notes: [
    'Ours: new WASI() and run() from one thread. node:wasi: new WASI() and start() in Workers that stay.',
    'wasmtime: a store and an instance on threads that stay, with the pooling allocator.',
  ],
  peers: ['node', 'wasmtime'],
  rows: [
    {
      name: 'hello',
      label: 'time for each',
      per: COUNT,
      warmUps: 1,
      rounds: 3,
      measure: async (side) => ({ time: await side.time('runs', program('hello'), COUNT) }),
    },
  ],
};
