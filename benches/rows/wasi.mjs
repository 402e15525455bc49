import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { cache, kernel } from '../modules.mjs';

const calls = {
  clock_time_get: { count: 200_000 },
  sched_yield: { count: 100_000 },
  random_get: { count: 50_000, label: 'random_get, 16 bytes' },
  fd_seek: { count: 50_000 },
  fd_write: { count: 20_000, label: 'fd_write, 1 byte to /dev/null' },
  fd_read: { count: 20_000, label: 'fd_read, 64 bytes of /dev/zero' },
  fd_pread: { count: 20_000, label: 'fd_pread, 64 bytes of a file' },
  path_filestat_get: { count: 5_000 },
  path_open: { count: 5_000, label: 'path_open and fd_close' },
};

export default {
  title: 'One WASI call, in a loop inside WebAssembly',
  peers: ['node', 'wasmtime'],
  async setUp(side) {
    const work = join(cache, 'work');
    mkdirSync(work, { recursive: true });
    writeFileSync(join(work, 'data.bin'), Buffer.alloc(65536, 1));
    await side.ask('load', 'wasi', kernel('wasi'), `/work=${work}`, '/dev=/dev');
    await side.ask('call', 'wasi', '_initialize');
  },
  rows: Object.entries(calls).map(([name, { count, label }]) => ({
    name,
    label,
    per: count,
    async measure(side) {
      const [time, errno] = await side.ask('call', 'wasi', name, count);
      if (errno !== '0') throw new Error(`${name} failed with errno ${errno}`);
      return { time: Number(time) };
    },
  })),
};
