'use strict';
// The WebAssembly namespace.

const { CompileError, LinkError, RuntimeError } = require('../util/errors');
const { Exception, JSTag } = require('./exception');
const { Global } = require('./global');
const { Instance, checkImportObject, instantiate: instantiateModule } = require('./instance');
const { Memory } = require('./memory');
const { Module, compile: compileBytes, isModule, validate: validateBytes } = require('./module');
const { responseBytes } = require('./streaming');
const { Table } = require('./table');
const { Tag } = require('./tag');
const { tag } = require('../util/webidl');

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

module.exports = { WebAssembly };
