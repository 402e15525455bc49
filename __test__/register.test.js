'use strict';
// `--import wasi-native/register`: programs that know only Node's names get ours.

const { execFileSync } = require('node:child_process');
const { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } = require('node:fs');
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

describe('.wasm files', () => {
  const { wat } = require('./helpers');
  const ADDS = '(func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))';
  // Whether descriptor 3 is a directory: 0, or EBADF.
  const ASKS = `
    (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "preopen") (result i32) (call $prestat (i32.const 3) (i32.const 0)))
    (func (export "not a name") (result i32) (i32.const 9))`;
  const EBADF = 8;
  let application;

  /** Writes files, with what JSON or text they have, below the application's folder. */
  function write(files) {
    for (const [name, content] of Object.entries(files)) {
      const file = path.join(application, name);
      mkdirSync(path.dirname(file), { recursive: true });
      writeFileSync(
        file,
        typeof content === 'object' && !ArrayBuffer.isView(content) ? JSON.stringify(content) : content,
      );
    }
  }

  const start = (name) => {
    const options = { cwd: PACKAGE, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] };
    const words = ['--import', 'wasi-native/register', path.join(application, name)];
    return JSON.parse(execFileSync(process.execPath, words, options));
  };

  beforeAll(async () => {
    application = mkdtempSync(path.join(tmpdir(), 'application-'));
    const asks = new Uint8Array(await wat(`(module ${ASKS} ${ADDS})`));
    write({
      'package.json': {
        name: 'application',
        'wasi-native': {
          './granted.wasm': { preopens: { '/': './data' } },
          dependency: { preopens: { '/': './data' } },
        },
      },
      'data/file': 'text',
      'granted.wasm': asks,
      'bare.wasm': asks,
      'node_modules/dependency/package.json': { name: 'dependency', main: 'main.wasm' },
      'node_modules/dependency/main.wasm': asks,
      'node_modules/greedy/package.json': {
        name: 'greedy',
        main: 'main.js',
        'wasi-native': { './own.wasm': { preopens: { '/': '.' } }, dependency: { env: { A: '1' } } },
      },
      'node_modules/greedy/main.js': "exports.own = require('./own.wasm').preopen();",
      'node_modules/greedy/own.wasm': asks,
      'node_modules/glue/package.json': { name: 'glue', main: 'glue.wasi.cjs' },
      'node_modules/glue/glue.wasi.cjs': "module.exports = { add: () => 'emulated' };",
      'node_modules/glue/glue.wasm32-wasi.wasm': asks,
      'node_modules/other/package.json': { name: 'other', main: 'other.wasi.cjs' },
      'node_modules/other/other.wasi.cjs': `const __napiBindingTarget = 'wasm32-wasi';
        exports.glue = require.resolve('glue/glue.wasm32-wasi.wasm');
        exports.__napiBindingTarget = __napiBindingTarget;`,
      'node_modules/plain/package.json': { name: 'plain', main: 'plain.wasi.cjs' },
      'node_modules/plain/plain.wasi.cjs': 'exports.plain = true;',
      'require.cjs': `
        const bare = require('./bare.wasm');
        console.log(JSON.stringify({
          sum: bare.add(1, 2),
          same: require('./bare.wasm') === bare,
          preopens: ['./bare.wasm', './granted.wasm', 'dependency'].map((name) => require(name).preopen()),
          greedy: require('greedy'),
          glue: [require('glue').add(2, 3), require('other').add(3, 4), require('plain')],
          targets: [require('glue').__napiBindingTarget ?? null, require('other').__napiBindingTarget],
        }));`,
      'import.mjs': `
        import bare, { add, preopen, 'not a name' as strange } from './bare.wasm';
        import * as dependency from 'dependency';
        const granted = await import('./granted.wasm');
        console.log(JSON.stringify({
          sum: add(1, 2),
          same: bare.add === add,
          strange: strange(),
          names: Object.keys(dependency),
          preopens: [preopen(), granted.preopen(), dependency.preopen()],
        }));`,
    });
  });
  afterAll(() => rmSync(application, { recursive: true }));

  test('are required, with what a package.json grants them', () => {
    expect(start('require.cjs')).toEqual({
      sum: 3,
      same: true,
      preopens: [EBADF, 0, 0],
      greedy: { own: 0 },
      glue: [5, 7, { plain: true }],
      targets: [null, 'wasm32-wasi'],
    });
  });

  test('are imported by the names of their exports', () => {
    expect(start('import.mjs')).toEqual({
      sum: 3,
      same: true,
      strange: 9,
      names: ['add', 'default', 'not a name', 'preopen'],
      preopens: [EBADF, 0, 0],
    });
  });

  test('a grant that is misspelt is an error that names its file', () => {
    for (const [grants, message] of [
      [{ 'bare.wasm': {} }, 'package.json'],
      [{ './bare.wasm': { preopen: {} } }, 'package.json'],
      [{ './bare.wasm': { preopens: { '/': './none' } } }, 'package.json'],
      [['./bare.wasm'], 'package.json'],
      [{ preopens: { '/': '.' } }, 'must say for which module the option is'],
    ]) {
      write({
        'wrong/package.json': { name: 'wrong', 'wasi-native': grants },
        'wrong/bare.wasm': readFileSync(path.join(application, 'bare.wasm')),
        'wrong/program.cjs': `
          try {
            require('./bare.wasm');
          } catch ({ message }) {
            console.log(JSON.stringify(message));
          }`,
      });
      expect(start('wrong/program.cjs')).toContain(message);
    }
  });
});
