'use strict';
// `--import wasi-native/register`: programs that know only Node's names get ours.

const { execFileSync } = require('node:child_process');
const { mkdtempSync, rmSync, writeFileSync } = require('node:fs');
const { tmpdir } = require('node:os');
const path = require('node:path');

const { PACKAGE } = require('./helpers');

const ask = `
  const { WASI } = require(${JSON.stringify(PACKAGE)});
  const answers = async () => {
    const [named, prefixed] = [await import('wasi'), await import('node:wasi')];
    const all = [require('wasi'), require('node:wasi'), named, prefixed, named.default];
    const wasi = all.map((exports) => exports.WASI === WASI);
    return { wasi, webAssembly: WebAssembly.Module === require(${JSON.stringify(PACKAGE)}).Module };
  };`;
const PROGRAMS = {
  'program.cjs': `${ask} answers().then((found) => console.log(JSON.stringify(found)));`,
  'import.mjs': `
    import { WASI } from 'wasi';
    import { createRequire } from 'node:module';
    const ours = createRequire(import.meta.url)(${JSON.stringify(PACKAGE)});
    console.log(JSON.stringify(WASI === ours.WASI));`,
  'worker.cjs': `
    ${ask}
    const { Worker, isMainThread, parentPort } = require('node:worker_threads');
    if (isMainThread) {
      new Worker(__filename).on('message', (found) => console.log(JSON.stringify(found)));
    } else {
      answers().then((found) => parentPort.postMessage(found));
    }`,
};

let directory;

beforeAll(() => {
  directory = mkdtempSync(path.join(tmpdir(), 'register-'));
  for (const [name, text] of Object.entries(PROGRAMS)) {
    writeFileSync(path.join(directory, name), text);
  }
});

afterAll(() => rmSync(directory, { recursive: true }));

/** What a program prints, all its output, with modules preloaded by name. */
function run(name, ...flags) {
  const program = path.join(directory, name);
  const options = { cwd: PACKAGE, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] };
  return JSON.parse(execFileSync(process.execPath, [...flags, program], options));
}

const all = [true, true, true, true, true];

test.each(['--import', '--require'])('%s wasi-native/register gives ours for node:wasi', (flag) => {
  const found = run('program.cjs', flag, 'wasi-native/register');
  expect(found).toEqual({ wasi: all, webAssembly: false });
});

test('an import at the beginning of a program gets ours', () => {
  expect(run('import.mjs', '--import', 'wasi-native/register')).toBe(true);
});

test.each(['--import', '--require'])(
  '%s wasi-native/register/webassembly gives the namespace, too',
  (flag) => {
    const found = run('program.cjs', flag, 'wasi-native/register/webassembly');
    expect(found).toEqual({ wasi: all, webAssembly: true });
  },
);

test('Workers get the same as the thread that makes them', () => {
  const found = run('worker.cjs', '--import', 'wasi-native/register/webassembly');
  expect(found).toEqual({ wasi: all, webAssembly: true });
});

test('nothing is printed, and the namespace keeps its place', () => {
  const text = `
    require('wasi-native/register/webassembly');
    console.log(JSON.stringify(Object.getOwnPropertyDescriptor(globalThis, 'WebAssembly').enumerable));
    process.on('warning', () => console.log('warned'));`;
  const options = { cwd: PACKAGE, encoding: 'utf8' };
  expect(execFileSync(process.execPath, ['-e', text], options)).toBe('false\n');
});
