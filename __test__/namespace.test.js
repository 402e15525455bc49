'use strict';

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const wn = require('..');
const { PACKAGE, wat, thrownBy } = require('./helpers');

const classes = ['Module', 'Instance', 'Memory', 'Table', 'Global', 'Tag', 'Exception'];
const functions = ['compile', 'compileStreaming', 'instantiate', 'instantiateStreaming', 'validate'];
const errors = ['CompileError', 'LinkError', 'RuntimeError'];

test('has a namespace of the shape of the global one', () => {
  const { WebAssembly: namespace } = wn;
  expect(Object.prototype.toString.call(namespace)).toBe('[object WebAssembly]');
  expect(Reflect.ownKeys(namespace)).toHaveLength(classes.length + errors.length + functions.length + 2);
  for (const name of [...classes, ...errors]) {
    const property = Object.getOwnPropertyDescriptor(namespace, name);
    expect(property).toMatchObject({ writable: true, enumerable: false, configurable: true });
    expect(namespace[name].name).toBe(name);
    expect(wn[name]).toBe(namespace[name]);
  }
  for (const name of functions) {
    const property = Object.getOwnPropertyDescriptor(namespace, name);
    expect(property).toMatchObject({ writable: true, enumerable: true, configurable: true });
    expect(namespace[name].name).toBe(name);
    expect(() => new namespace[name]()).toThrow(TypeError);
    expect(namespace[name].length).toBe(WebAssembly[name].length);
    expect(Object.hasOwn(namespace[name], 'prototype')).toBe(false);
    expect(wn[name]).toBe(namespace[name]);
  }
  const jsTag = Object.getOwnPropertyDescriptor(namespace, 'JSTag');
  expect(jsTag).toMatchObject({ enumerable: true, configurable: true, set: undefined });
  expect(jsTag.get.name).toBe('get JSTag');
  expect(namespace.JSTag).toBeInstanceOf(wn.Tag);
  expect(namespace.JSTag).toBe(wn.JSTag);
});

test('says what to do when there is no addon for this platform', () => {
  const copy = fs.mkdtempSync(path.join(os.tmpdir(), 'wasi-native-'));
  fs.copyFileSync(path.join(PACKAGE, 'index.js'), path.join(copy, 'index.js'));
  fs.cpSync(path.join(PACKAGE, 'dist'), path.join(copy, 'dist'), { recursive: true });
  const { stderr } = spawnSync(process.execPath, [copy], { encoding: 'utf8' });
  fs.rmSync(copy, { recursive: true });
  expect(stderr).toMatch(/wasi-native has no native addon for [\w -]+ here/);
  expect(stderr).toMatch(/npm install wasi-native --include=optional.*npm run build/s);
  expect(stderr).toMatch(/ERR_WASI_NO_ADDON/);
});

test('a checkout that is not built says so, in a program and on the command line', () => {
  const copy = fs.mkdtempSync(path.join(os.tmpdir(), 'wasi-native-'));
  for (const name of ['index.js', 'bin', 'register']) {
    fs.cpSync(path.join(PACKAGE, name), path.join(copy, name), { recursive: true });
  }
  const told = (...words) => spawnSync(process.execPath, words, { encoding: 'utf8' });
  const [program, registered, command] = [
    told(copy),
    told('--require', path.join(copy, 'register'), '--eval', '0'),
    told(path.join(copy, 'bin', 'wasi-native.js'), '--help'),
  ];
  fs.rmSync(copy, { recursive: true });
  for (const { status, stderr } of [program, registered]) {
    expect(status).toBe(1);
    expect(stderr).toContain('ERR_WASI_NOT_BUILT');
    expect(stderr).toContain('In a checkout run `npm run build`');
  }
  const text = /^wasi-native: wasi-native has no dist\/ at .*: .* In a checkout run `npm run build`; .*\n$/;
  expect(command).toMatchObject({ status: 1, stdout: '', stderr: expect.stringMatching(text) });
});

test.each(classes)('%s has the members and attributes of the standard class', (name) => {
  const tag = Object.getOwnPropertyDescriptor(wn[name].prototype, Symbol.toStringTag);
  expect(tag).toEqual({
    value: `WebAssembly.${name}`,
    writable: false,
    enumerable: false,
    configurable: true,
  });
  for (const side of ['prototype', null]) {
    const ours = side ? wn[name][side] : wn[name];
    const standard = side ? WebAssembly[name][side] : WebAssembly[name];
    for (const [key, property] of Object.entries(Object.getOwnPropertyDescriptors(ours))) {
      // The specification's, which V8 leaves out, and our own.
      const known = [
        'Exception.stack',
        'Memory.from',
        'Instance.close',
        'Module.serialize',
        'Module.deserialize',
      ];
      if (known.includes(`${name}.${key}`)) continue;
      const expected = Object.getOwnPropertyDescriptor(standard, key);
      expect([name, key, property.enumerable]).toEqual([name, key, expected.enumerable]);
      if (typeof property.value === 'function') {
        // The class itself has the length that newer versions of V8 have, too: jsapi.test.js.
        if (key !== 'constructor') expect(property.value.length).toBe(expected.value.length);
      }
      expect(typeof property.set).toBe(typeof expected.set);
    }
  }
  expect(() => wn[name]()).toThrow(TypeError);
});

test.each(errors)('%s is an error class like the native ones', (name) => {
  const Class = wn[name];
  for (const error of [new Class('text'), Class('text')]) {
    expect(error).toBeInstanceOf(Class);
    expect(error).toBeInstanceOf(Error);
    expect(error.name).toBe(name);
    expect(error.message).toBe('text');
    expect(String(error)).toBe(`${name}: text`);
    expect(error.stack).toMatch(new RegExp(`^${name}: text\\n    at .*namespace.test.js`));
    expect(Object.keys(error)).toEqual([]);
  }
  expect(new Class('text', { cause: 1 }).cause).toBe(1);
  expect(Object.getPrototypeOf(Class)).toBe(Error);
  class Sub extends Class {}
  expect(new Sub()).toBeInstanceOf(Sub);
});

test('methods refuse objects of other classes', () => {
  const buffer = Object.getOwnPropertyDescriptor(wn.Memory.prototype, 'buffer').get;
  const value = Object.getOwnPropertyDescriptor(wn.Global.prototype, 'value').get;
  const exports = Object.getOwnPropertyDescriptor(wn.Instance.prototype, 'exports').get;
  const memory = new wn.Memory({ initial: 1 });
  for (const other of [undefined, {}, new WebAssembly.Memory({ initial: 1 })]) {
    expect(() => buffer.call(other)).toThrow(TypeError);
    expect(() => value.call(other)).toThrow(TypeError);
    expect(() => exports.call(other)).toThrow(TypeError);
    expect(() => wn.Memory.prototype.grow.call(other, 1)).toThrow(TypeError);
    expect(() => wn.Table.prototype.get.call(other, 0)).toThrow(TypeError);
    expect(() => wn.Module.exports(other)).toThrow(TypeError);
    expect(() => new wn.Instance(other)).toThrow(TypeError);
  }
  expect(() => value.call(memory)).toThrow(TypeError);
});

describe('Module', () => {
  test('describes imports, exports and custom sections', async () => {
    const bytes = await wat(`(module
      (import "m" "f" (func (param i32)))
      (import "m" "g" (global (mut i64)))
      (import "n" "mem" (memory 1))
      (import "n" "tab" (table 1 funcref))
      (func (export "run")))`);
    const module = new wn.Module(bytes);
    expect(wn.Module.imports(module)).toEqual([
      { module: 'm', name: 'f', kind: 'function' },
      { module: 'm', name: 'g', kind: 'global' },
      { module: 'n', name: 'mem', kind: 'memory' },
      { module: 'n', name: 'tab', kind: 'table' },
    ]);
    expect(wn.Module.exports(module)).toEqual([{ name: 'run', kind: 'function' }]);
    expect(wn.Module.customSections(module, 'none')).toEqual([]);
    const [names] = wn.Module.customSections(module, 'name');
    expect(Object.prototype.toString.call(names)).toBe('[object ArrayBuffer]');
    expect(() => wn.Module.customSections(module)).toThrow(TypeError);
  });

  test('takes any buffer source and copies it', async () => {
    const bytes = await wat('(module (func (export "f")))');
    const padded = new Uint8Array(bytes.length + 16);
    padded.set(bytes, 8);
    const shared = new SharedArrayBuffer(bytes.length);
    new Uint8Array(shared).set(bytes);
    const exact = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
    const sources = [
      exact,
      shared,
      new DataView(padded.buffer, 8, bytes.length),
      padded.subarray(8, 8 + bytes.length),
      Buffer.from(bytes),
    ];
    for (const source of sources) {
      expect(wn.validate(source)).toBe(true);
      expect(wn.Module.exports(new wn.Module(source))).toHaveLength(1);
    }
    const compiling = wn.compile(padded.subarray(8, 8 + bytes.length));
    padded.fill(0);
    expect(wn.Module.exports(await compiling)).toHaveLength(1);
  });

  test('refuses bad bytes with their offset', async () => {
    const bytes = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 99);
    const error = thrownBy(() => new wn.Module(bytes));
    expect(error).toBeInstanceOf(wn.CompileError);
    expect(error.code).toBe('ERR_WASI_COMPILE');
    expect(error.message).toMatch(/^WebAssembly\.Module\(\): .+ \(at offset 0x[0-9a-f]+\)$/);
    expect(wn.validate(bytes)).toBe(false);
    await expect(wn.compile(bytes)).rejects.toThrow(/^WebAssembly\.compile\(\): .*offset 0x/);
    await expect(wn.instantiate(bytes)).rejects.toThrow(wn.CompileError);
    await expect(wn.compile(bytes)).rejects.toBeInstanceOf(wn.CompileError);
    expect(() => wn.validate('text')).toThrow(TypeError);
    await expect(wn.compile(5)).rejects.toBeInstanceOf(TypeError);
  });
});

describe('instantiate', () => {
  test('of bytes gives module and instance, of a module an instance', async () => {
    const bytes = await wat('(module (func (export "f") (result i32) i32.const 7))');
    const { module, instance } = await wn.instantiate(bytes);
    expect(module).toBeInstanceOf(wn.Module);
    expect(instance).toBeInstanceOf(wn.Instance);
    const again = await wn.instantiate(module);
    expect(again).toBeInstanceOf(wn.Instance);
    expect(again.exports.f()).toBe(7);
  });

  test('exports are frozen and have no prototype', async () => {
    const { instance } = await wn.instantiate(
      await wat(`(module (func (export "f")) (func (export "__proto__")) (memory (export "m") 1)
        (table (export "t") 1 funcref) (global (export "g") i32 (i32.const 3)))`),
    );
    expect(Object.isFrozen(instance.exports)).toBe(true);
    expect(Object.getPrototypeOf(instance.exports)).toBe(null);
    expect(Object.keys(instance.exports)).toEqual(['f', '__proto__', 'm', 't', 'g']);
    expect(instance.exports).toBe(instance.exports);
    expect(instance.exports.m).toBeInstanceOf(wn.Memory);
    expect(instance.exports.t).toBeInstanceOf(wn.Table);
    expect(instance.exports.g).toBeInstanceOf(wn.Global);
    expect(() => (instance.exports = 1)).toThrow(TypeError);
  });
});
