'use strict';
// The package: what the WebAssembly namespace has, with `WASI` beside it, and the namespace itself.

const part = bundled();

// At once, so that an addon that is missing, or a setting that is wrong, is told here.
part('native/binding');
// What a program does to V8's namespace later does not reach us.
part('webassembly/v8');

/** All of lib/, which scripts/bundle.mjs makes dist/ of: `part` gives one of its modules. */
function bundled() {
  try {
    return require('./dist/native.js');
  } catch (cause) {
    if (cause.code !== 'MODULE_NOT_FOUND') throw cause;
    const text =
      `wasi-native has no dist/ at ${__dirname}: it is made when the package is built. ` +
      'In a checkout run `npm run build`; elsewhere install the package again.';
    throw Object.assign(new Error(text, { cause }), { code: 'ERR_WASI_NOT_BUILT' });
  }
}

const namespace = () => part('webassembly/namespace').WebAssembly;

/**
 * Where everything comes from. It is loaded when somebody first asks for it: a program that only runs others has no
 * use for the classes of the namespace, nor one with its own instances for the rest.
 */
const SOURCES = {
  MemoryFS: () => part('wasi/memoryfs').MemoryFS,
  WASI: () => part('wasi/wasi').WASI,
  caller: () => part('native/caller').caller,
  WebAssembly: namespace,
  load: () => part('load/index').load,
  loadAsync: () => part('load/index').loadAsync,
};

const NAMES = [
  'CompileError',
  'Exception',
  'Global',
  'Instance',
  'JSTag',
  'LinkError',
  'Memory',
  'MemoryFS',
  'Module',
  'RuntimeError',
  'Table',
  'Tag',
  'WASI',
  'caller',
  'WebAssembly',
  'compile',
  'compileStreaming',
  'instantiate',
  'instantiateStreaming',
  'load',
  'loadAsync',
  'validate',
];

const exported = {};
for (const name of NAMES) {
  const define = (value) => {
    const attributes = { writable: true, enumerable: true, configurable: true };
    Object.defineProperty(exported, name, { value, ...attributes });
    return value;
  };
  const source = SOURCES[name] ?? (() => namespace()[name]);
  const get = () => define(source());
  Object.defineProperty(exported, name, { get, set: define, enumerable: true, configurable: true });
}
// The package itself may stand for the global, too.
Object.defineProperty(exported, Symbol.toStringTag, { value: 'WebAssembly', configurable: true });

// It is not read back: tools that run a package in their own way keep something else there.
module.exports = exported;

// Node finds the names that can be imported in the text, and only in this form. It is never run.
/* eslint-disable no-constant-condition, no-undef */
if (false)
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
    WebAssembly,
    compile,
    compileStreaming,
    instantiate,
    instantiateStreaming,
    load,
    loadAsync,
    validate,
  };
