'use strict';
// WebAssembly.Module, and compiling.

const { native, realm } = require('./binding');
const { CompileError, coded } = require('./errors');
const { describe, isObject, settle, toBytes } = require('./webidl');

/** A compiled module on its way into the constructor. */
class Compiled {
  constructor(handle) {
    this.handle = handle;
  }
}

/** The private parts of a module. */
let find;

class Module {
  #handle;
  #imports = null;
  #exports = null;
  #sharedMemories = null;

  constructor(bytes, options = undefined) {
    if (bytes instanceof Compiled) {
      this.#handle = bytes.handle;
      return;
    }
    settle(this, new.target, Module);
    const what = 'WebAssembly.Module()';
    this.#handle = native.compile(realm, what, toBytes(bytes, `${what}: Argument 0`), countsFuel(options));
  }

  static exports(module) {
    const list = partsOf(module, 'WebAssembly.Module.exports()').exports();
    return list.map(({ name, kind }) => ({ name, kind }));
  }

  static imports(module) {
    const list = partsOf(module, 'WebAssembly.Module.imports()').imports();
    return list.map(({ module, name, kind }) => ({ module, name, kind }));
  }

  static customSections(module, sectionName) {
    const { handle } = partsOf(module, 'WebAssembly.Module.customSections()');
    if (sectionName === undefined) {
      throw new TypeError('WebAssembly.Module.customSections(): Argument 1 is required');
    }
    return native.customSections(handle, `${sectionName}`);
  }

  static {
    find = (value) => {
      if (!isObject(value) || !(#handle in value)) return undefined;
      return {
        handle: value.#handle,
        imports: () => (value.#imports ??= describeImports(value.#handle)),
        exports: () => (value.#exports ??= describeExports(value.#handle)),
        sharedMemories: () => (value.#sharedMemories ??= describeShared(value.#handle)),
      };
    };
  }
}

describe(Module, 'WebAssembly.Module');

function describeImports(handle) {
  const flat = native.imports(handle);
  const list = [];
  for (let k = 0; k < flat.length; k += 4) {
    list.push({ module: flat[k], name: flat[k + 1], kind: flat[k + 2], type: flat[k + 3] });
  }
  return list;
}

function describeExports(handle) {
  const flat = native.exports(handle);
  const list = [];
  for (let k = 0; k < flat.length; k += 3) {
    list.push({ name: flat[k], kind: flat[k + 1], type: flat[k + 2] });
  }
  return list;
}

/** The limits of the shared memories that the module defines. */
function describeShared(handle) {
  const flat = native.sharedMemories(handle);
  const list = [];
  for (let k = 0; k < flat.length; k += 3) {
    list.push({ initial: flat[k], maximum: flat[k + 1], wide: flat[k + 2] === 1 });
  }
  return list;
}

/** `{handle, imports(), exports(), sharedMemories()}` of a module. */
function partsOf(value, what) {
  const parts = find(value);
  if (parts === undefined) {
    throw new TypeError(`${what}: Argument 0 must be a WebAssembly.Module of wasi-native`);
  }
  return parts;
}

function isModule(value) {
  return find(value) !== undefined;
}

/** Compiles on other threads. The bytes are copied before this returns. */
async function compile(bytes, what, options = undefined) {
  const copied = toBytes(bytes, `${what}: Argument 0`);
  const result = await native.compileAsync(copied, countsFuel(options));
  if (typeof result === 'string') {
    throw coded(CompileError, 'ERR_WASI_COMPILE', `${what}: ${result}`);
  }
  return new Module(new Compiled(result));
}

/** Whether the module is to count its operators, for `limits.fuel`: our own option. */
function countsFuel(options) {
  return Boolean(options?.fuel);
}

function validate(bytes) {
  return native.validate(realm, toBytes(bytes, 'WebAssembly.validate(): Argument 0'));
}

module.exports = { Module, compile, isModule, partsOf, validate };
