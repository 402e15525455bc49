'use strict';
// The ways in which programs meet the package: by name, and through what compiles modules.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const wn = require('..');
const part = require('../dist/native.js');
const { PACKAGE } = require('./helpers');

const URL_OF = JSON.stringify(require('node:url').pathToFileURL(path.join(PACKAGE, 'index.js')).href);

/** A folder from which the package is found by its name. */
let folder;
beforeAll(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'wasi-native-'));
  fs.mkdirSync(path.join(folder, 'node_modules'));
  fs.symlinkSync(PACKAGE, path.join(folder, 'node_modules', 'wasi-native'), 'junction');
});
afterAll(() => fs.rmSync(folder, { recursive: true }));

function run(flags, name, text) {
  fs.writeFileSync(path.join(folder, name), text);
  return spawnSync(process.execPath, [...flags, name], { cwd: folder, encoding: 'utf8' });
}

const NAMES = Object.keys(wn);

test('every export is a property that spreads', () => {
  for (const name of [
    ...Object.keys(wn.WebAssembly),
    'Module',
    'Memory',
    'WASI',
    'MemoryFS',
    'JSTag',
    'WebAssembly',
  ]) {
    expect(NAMES).toContain(name);
    expect({ ...wn }[name]).toBe(wn[name]);
  }
});

test('what nobody asks for is not loaded', () => {
  const { stdout, stderr } = run(
    [],
    'lazy.cjs',
    `
    const before = new Set(process.moduleLoadList);
    const wn = require('wasi-native');
    const loaded = () =>
      Object.keys(require.cache)
        .map((file) => /[\\/]dist[\\/](.*)[.]js$/.exec(file)?.[1])
        .filter((name) => name !== undefined)
        .sort();
    const builtin = (name) => !before.has('NativeModule ' + name) && process.moduleLoadList.includes('NativeModule ' + name);
    const seen = [loaded()];
    const wasi = new wn.WASI({ version: 'preview1' });
    wasi.run(${JSON.stringify(path.join(__dirname, 'nothing.wasm'))}).catch(() => {
      seen.push(loaded());
      seen.push(...['net', 'fs/promises', 'worker_threads', 'vm'].map(builtin));
      wn.Module;
      seen.push(loaded());
      process.stderr.write(JSON.stringify(seen));
    });`,
  );
  const ofRun = ['native', 'programs'];
  const ofModules = ['edge', 'instances', 'modules', ...ofRun];
  // A file that native code cannot read is read by Node's own module, for the error.
  const builtins = [false, true, false, false];
  expect([stdout, stderr]).toEqual(['', JSON.stringify([['native'], ofRun, ...builtins, ofModules])]);
});

test('every export can be imported by name', () => {
  const { stdout, stderr } = run(
    [],
    'names.mjs',
    `
    import * as all from ${URL_OF};
    import { ${NAMES.join(', ')} } from 'wasi-native';
    console.log([${NAMES.join(', ')}].every((value) => value !== undefined), WASI === all.default.WASI);`,
  );
  expect([stdout, stderr]).toEqual(['true true\n', '']);
});

test('tools that put something of their own in the place of `module.exports` can load it', () => {
  // As Vite does with packages that it runs itself.
  const { stdout, stderr } = run(
    [],
    'vite.cjs',
    `
    const fs = require('node:fs');
    const path = require('node:path');
    const file = require.resolve('wasi-native');
    const exported = Object.defineProperty({}, Symbol.toStringTag, { value: 'Module' });
    const own = {
      get exports() { return exported; },
      set exports(value) { Object.assign(exported, value); },
    };
    const within = (name) => require(path.join(path.dirname(file), name));
    new Function('module', 'exports', 'require', fs.readFileSync(file, 'utf8'))(own, exported, within);
    console.log(typeof exported.Module, typeof exported.WebAssembly.Module);`,
  );
  expect([stdout, stderr]).toEqual(['function function\n', '']);
});

test('the list of native calls has all that the addon gives, and nothing else', () => {
  const { addon } = part('native/addon');
  const { native } = part('native/binding');
  // `open` is called once, where the list is.
  expect([...Object.keys(native), 'open'].sort()).toEqual(Object.keys(addon).sort());
  expect(Object.values(native).every((call) => typeof call === 'function')).toBe(true);
});

test('every constant that native code names has something that handles it', () => {
  const { constants, inOrder } = part('native/binding');
  for (const names of [constants.events, constants.requests]) {
    const handlers = Object.fromEntries(names.map((name) => [name, () => name]));
    expect(inOrder(names, handlers)).toEqual(Object.values(handlers));
    expect(() => inOrder([...names, 'unheard of'], handlers)).toThrow(/unheard of/);
  }
});

test('files of lib/ need only those of their own folder and of the folders below', () => {
  const folders = ['util', 'native', 'webassembly', 'wasi', 'load', 'cli'];
  folders.forEach((folder, level) => {
    const below = folders.slice(0, level);
    const home = path.join(PACKAGE, 'lib', folder);
    for (const file of fs.readdirSync(home)) {
      const text = fs.readFileSync(path.join(home, file), 'utf8');
      const needed = [...text.matchAll(/require\('(\.[^']*)'\)/g)].map(([, given]) => given);
      // The addon and package.json are beside lib/.
      const upwards = needed
        .filter((given) => !/[.](node|json)$/.test(given))
        .filter((given) => {
          const [dots, other] = given.split('/');
          return dots !== '.' && !below.includes(other);
        });
      expect({ file, upwards }).toEqual({ file, upwards: [] });
    }
  });
  expect(fs.readdirSync(path.join(PACKAGE, 'lib')).sort()).toEqual([...folders].sort());
});
