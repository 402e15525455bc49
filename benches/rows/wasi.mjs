import { mkdirSync, symlinkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { cache, kernel } from '../modules.mjs';

const NAMES = 10_000;
const LARGE = 64 * 65_536;

const calls = {
  args_sizes_get: { count: 20_000 },
  environ_sizes_get: { count: 20_000 },
  fd_prestat_get: { count: 20_000 },
  fd_prestat_dir_name: { count: 20_000 },
  fd_fdstat_get_directory: { count: 20_000, label: 'fd_fdstat_get of a directory' },
  fd_fdstat_get: { count: 20_000, label: 'fd_fdstat_get of a file' },
  clock_time_get: { count: 20_000 },
  clock_res_get: { count: 20_000 },
  random_get: { count: 10_000, label: 'random_get, 16 bytes' },
  random_get_64k: { count: 20, label: 'random_get, 64 KiB' },
  sched_yield: { count: 10_000 },
  poll_oneoff: { count: 1_000, label: 'poll_oneoff, a clock, no timeout' },
  fd_seek: { count: 10_000 },
  fd_tell: { count: 10_000 },
  fd_read: { count: 5_000, label: 'fd_read, 1 byte' },
  fd_write: { count: 5_000, label: 'fd_write, 1 byte' },
  fd_read_vectored: { count: 5_000, label: 'fd_read, 4 buffers of 1 byte' },
  fd_pread: { count: 5_000, label: 'fd_pread, 64 bytes' },
  fd_pwrite: { count: 5_000, label: 'fd_pwrite, 64 bytes' },
  fd_filestat_get: { count: 5_000 },
  fd_filestat_set_size: { count: 5_000, label: 'fd_filestat_set_size, the same' },
  fd_filestat_set_times: { count: 2_000 },
  fd_fdstat_set_flags: { count: 5_000, label: 'fd_fdstat_set_flags' },
  fd_advise: { count: 5_000 },
  path_filestat_get: { count: 2_000 },
  path_filestat_get_deep: { count: 2_000, label: 'path_filestat_get, a/b/c' },
  path_open: { count: 2_000, label: 'path_open, fd_close' },
  path_open_deep: { count: 2_000, label: 'path_open a/b/c, fd_close' },
  path_readlink: { count: 2_000 },
  path_rename: { count: 300, label: 'path_rename, twice' },
  path_link: { count: 300, label: 'path_link, path_unlink_file' },
  path_symlink: { count: 300, label: 'path_symlink, path_unlink_file' },
  path_create_directory: { count: 100, label: 'path_create_directory, ...remove...' },
  path_filestat_set_times: { count: 1_000 },
  read_chunks: { count: 1, per: 64, label: 'fd_read, 64 KiB' },
  write_chunks: { count: 1, per: 64, label: 'fd_write, 64 KiB' },
  list: { count: NAMES, per: 1, rounds: 3, warmUps: 0, label: `fd_readdir, ${NAMES} names` },
  list_and_stat: { count: NAMES, per: 1, rounds: 3, warmUps: 0, label: `the same and a stat of each` },
};

function many() {
  const path = join(cache, 'many');
  rmSync(path, { recursive: true, force: true });
  mkdirSync(path, { recursive: true });
  for (let i = 0; i < NAMES; i++) writeFileSync(join(path, `file-${i}`), '');
  return path;
}

let directory;

export default {
  title: 'One WASI call, in a loop inside WebAssembly',
  notes: ['native: the same loop as a C program, with the system call in place of the WASI call.'],
  peers: ['native', 'node', 'node 26', 'wasmtime'],
  async setUp(side) {
    const work = join(cache, 'work', side.name);
    rmSync(work, { recursive: true, force: true });
    mkdirSync(join(work, 'a/b'), { recursive: true });
    writeFileSync(join(work, 'data.bin'), Buffer.alloc(65536, 1));
    writeFileSync(join(work, 'small.bin'), Buffer.alloc(100, 1));
    writeFileSync(join(work, 'large.bin'), Buffer.alloc(LARGE, 1));
    writeFileSync(join(work, 'a/b/c.bin'), Buffer.alloc(100, 1));
    symlinkSync('data.bin', join(work, 'link'));
    await side.ask('load', 'wasi', kernel('wasi'), `/work=${work}`, `/many=${(directory ??= many())}`);
    await side.ask('call', 'wasi', '_initialize');
  },
  // A turn takes some milliseconds, so that most turns of a busy machine are undisturbed.
  rows: Object.entries(calls).map(([name, { count, per = count, label, rounds = 25, warmUps = 3 }]) => ({
    name,
    label,
    per,
    rounds,
    warmUps,
    async measure(side) {
      const [time, errno] = await side.ask('call', 'wasi', name, count);
      if (errno !== '0') throw new Error(`${name} failed with errno ${errno}`);
      return { time: Number(time) };
    },
  })),
};
