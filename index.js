'use strict';
// The package: what the WebAssembly namespace has, with `WASI` beside it, and the namespace itself.

const { caller } = require('./lib/native/caller');
const { CompileError, LinkError, RuntimeError } = require('./lib/util/errors');
const { Exception, JSTag } = require('./lib/webassembly/exception');
const { load, loadAsync } = require('./lib/load');
const { Global } = require('./lib/webassembly/global');
const { Instance, checkImportObject, instantiate: instantiateModule } = require('./lib/webassembly/instance');
const { Memory } = require('./lib/webassembly/memory');
const { MemoryFS } = require('./lib/wasi/memoryfs');
const {
  Module,
  compile: compileBytes,
  isModule,
  validate: validateBytes,
} = require('./lib/webassembly/module');
const { responseBytes } = require('./lib/webassembly/streaming');
const { Table } = require('./lib/webassembly/table');
const { Tag } = require('./lib/webassembly/tag');
const { WASI } = require('./lib/wasi/wasi');
const { tag } = require('./lib/util/webidl');

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

/** What takes the place of the global of that name. */
const WebAssembly = {
  CompileError,
  Exception,
  Global,
  Instance,
  JSTag,
  LinkError,
  Memory,
  Module,
  RuntimeError,
  Table,
  Tag,
  compile,
  compileStreaming,
  instantiate,
  instantiateStreaming,
  validate,
};
// As Web IDL has it, the classes are not enumerable and an attribute is an accessor.
for (const [name, value] of Object.entries(WebAssembly)) {
  if (value.prototype !== undefined) Object.defineProperty(WebAssembly, name, { enumerable: false });
}
Object.defineProperty(WebAssembly, 'JSTag', {
  get: Object.getOwnPropertyDescriptor(
    {
      get JSTag() {
        return JSTag;
      },
    },
    'JSTag',
  ).get,
  set: undefined,
});
tag(WebAssembly, 'WebAssembly');

// Plain properties, which compilers of ES modules copy and Node reads the names of from this text. It
// is not read back: tools that run a package in their own way keep something else there.
const exported = (module.exports = {
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
  WebAssembly,
  compile,
  compileStreaming,
  instantiate,
  instantiateStreaming,
  load,
  loadAsync,
  validate,
});
// The package itself may stand for the global, too.
tag(exported, 'WebAssembly');
