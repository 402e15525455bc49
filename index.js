'use strict';
// The package: shaped as the WebAssembly namespace, with `WASI` beside it.

const { CompileError, LinkError, RuntimeError } = require('./lib/errors');
const { Global } = require('./lib/global');
const { Instance, checkImportObject } = require('./lib/instance');
const { Memory } = require('./lib/memory');
const { MemoryFS } = require('./lib/memoryfs');
const { Module, compile: compileBytes, isModule, validate: validateBytes } = require('./lib/module');
const { Table } = require('./lib/table');
const { WASI } = require('./lib/wasi');
const { tag } = require('./lib/webidl');

// Methods, because the namespace's functions cannot be constructed.
const { compile, instantiate, validate } = {
  async compile(bytes) {
    return compileBytes(bytes, 'WebAssembly.compile()');
  },

  /** Of bytes: the module and an instance. Of a module: an instance. */
  async instantiate(source, importObject = undefined) {
    const what = 'WebAssembly.instantiate()';
    checkImportObject(what, importObject);
    if (isModule(source)) return new Instance(source, importObject);
    const module = await compileBytes(source, what);
    return { module, instance: new Instance(module, importObject) };
  },

  validate(bytes) {
    return validateBytes(bytes);
  },
};

module.exports = {
  CompileError,
  Global,
  Instance,
  LinkError,
  Memory,
  MemoryFS,
  Module,
  RuntimeError,
  Table,
  WASI,
  compile,
  instantiate,
  validate,
};

// The namespace's classes are not enumerable, as Web IDL has it.
for (const [name, value] of Object.entries(module.exports)) {
  if (value.prototype !== undefined) {
    Object.defineProperty(module.exports, name, { enumerable: false });
  }
}
tag(module.exports, 'WebAssembly');
