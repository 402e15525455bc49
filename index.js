'use strict';
// The package: shaped as the WebAssembly namespace, with `WASI` beside it.

const { caller } = require('./lib/caller');
const { CompileError, LinkError, RuntimeError } = require('./lib/errors');
const { Exception, JSTag } = require('./lib/exception');
const { Global } = require('./lib/global');
const {
  Instance,
  checkImportObject,
  instantiate: instantiateModule,
} = require('./lib/instance');
const { Memory } = require('./lib/memory');
const { MemoryFS } = require('./lib/memoryfs');
const { Module, compile: compileBytes, isModule, validate: validateBytes } = require('./lib/module');
const { responseBytes } = require('./lib/streaming');
const { Table } = require('./lib/table');
const { Tag } = require('./lib/tag');
const { WASI } = require('./lib/wasi');
const { tag } = require('./lib/webidl');

// Methods, because the namespace's functions cannot be constructed. Of the options that newer
// versions of the interface take in a last argument there is only one, and it is ours: `fuel`.
const { compile, compileStreaming, instantiate, instantiateStreaming, validate } = {
  async compile(bytes, options = undefined) {
    return compileBytes(bytes, 'WebAssembly.compile()', options);
  },

  async compileStreaming(source) {
    const what = 'WebAssembly.compileStreaming()';
    return compileBytes(await responseBytes(source, what), what);
  },

  /** Of bytes: the module and an instance. Of a module: an instance. */
  async instantiate(source, importObject = undefined) {
    const what = 'WebAssembly.instantiate()';
    checkImportObject(what, importObject);
    if (isModule(source)) return instantiateModule(what, source, importObject);
    const module = await compileBytes(source, what);
    return { module, instance: await instantiateModule(what, module, importObject) };
  },

  async instantiateStreaming(source, importObject = undefined) {
    const what = 'WebAssembly.instantiateStreaming()';
    checkImportObject(what, importObject);
    const module = await compileBytes(await responseBytes(source, what), what);
    return { module, instance: await instantiateModule(what, module, importObject) };
  },

  validate(bytes) {
    return validateBytes(bytes);
  },
};

module.exports = {
  CompileError,
  Exception,
  Global,
  Instance,
  JSTag,
  LinkError,
  Memory,
  MemoryFS,
  Module,
  RuntimeError,
  Table,
  Tag,
  WASI,
  caller,
  compile,
  compileStreaming,
  instantiate,
  instantiateStreaming,
  validate,
};

// The namespace's classes are not enumerable, as Web IDL has it.
for (const [name, value] of Object.entries(module.exports)) {
  if (value.prototype !== undefined) {
    Object.defineProperty(module.exports, name, { enumerable: false });
  }
}
// An attribute of the namespace, so an accessor.
Object.defineProperty(module.exports, 'JSTag', {
  get: Object.getOwnPropertyDescriptor({ get JSTag() { return JSTag; } }, 'JSTag').get,
  set: undefined,
});
tag(module.exports, 'WebAssembly');
