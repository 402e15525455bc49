'use strict';
// WebAssembly.Module, and compiling.

const { native, realm } = require('./binding');
const { CompileError, coded } = require('./errors');
const { checkOurKeys } = require('./keys');
const { V8Module, sectionsOf } = require('./v8');
const { describe, isObject, privateParts, settle, toBytes } = require('./webidl');

/** The private parts of a module: `{handle, imports(), exports(), exportsMemory(), sharedMemories()}`. */
const { put, of } = privateParts();

class Module {
  constructor(bytes, options = undefined) {
    settle(this, new.target, Module);
    const what = 'WebAssembly.Module()';
    const copied = toBytes(bytes, `${what}: Argument 0`);
    const handle = native.compile(realm, what, copied, countsFuel(options));
    return moduleFor(handle, Object.getPrototypeOf(this));
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
}

describe(Module, 'WebAssembly.Module');

/** The name of the section by which a module of V8's stands for one of ours. */
const SECTION = 'wasi-native';

/**
 * The Module for a native one. It is one of V8's with our prototype, empty but for a section that
 * says which of ours it stands for: so it can be posted to other threads, which have it at once.
 */
function moduleFor(handle, prototype = Module.prototype) {
  const module = Object.setPrototypeOf(carrier(native.shareModule(handle)), prototype);
  put(module, describeParts(handle));
  return module;
}

function carrier(id) {
  if (V8Module === undefined) return {};
  const section = Buffer.from(`${SECTION}${id}`);
  const header = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
  return new V8Module(
    Uint8Array.from([...header, 0, section.length + 1, SECTION.length, ...section])
  );
}

/** Makes one of ours of a module that was posted here; the parts, undefined for any other value. */
function adopted(value) {
  let section;
  try {
    [section] = sectionsOf(value, SECTION);
  } catch {
    return undefined;
  }
  if (section === undefined) return undefined;
  const handle = native.sharedModule(Number(Buffer.from(section).toString()));
  if (handle === null) {
    const text = 'keep it where it was compiled until it has been used here';
    throw coded(Error, 'ERR_WASI_MODULE_GONE', `a posted module has been let go: ${text}`);
  }
  put(Object.setPrototypeOf(value, Module.prototype), describeParts(handle));
  return of(value);
}

function describeParts(handle) {
  let imports;
  let exports;
  let shared;
  let memory;
  const parts = {
    handle,
    imports: () => (imports ??= describeImports(handle)),
    exports: () => (exports ??= describeExports(handle)),
    exportsMemory: () => (memory ??= parts.exports().some(({ kind }) => kind === 'memory')),
    sharedMemories: () => (shared ??= describeShared(handle)),
  };
  return parts;
}

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

function find(value) {
  return of(value) ?? (isObject(value) ? adopted(value) : undefined);
}

/** The private parts of a module. */
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
  return moduleFor(result);
}

/** Whether the module is to count its operators, for `limits.fuel`: our own option. */
function countsFuel(options) {
  checkOurKeys('compile', options, 'options');
  return Boolean(options?.fuel);
}

function validate(bytes) {
  return native.validate(realm, toBytes(bytes, 'WebAssembly.validate(): Argument 0'));
}

module.exports = { Module, compile, isModule, partsOf, validate };
