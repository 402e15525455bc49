'use strict';
// The package: what the WebAssembly namespace has, with `WASI` beside it, and the namespace itself.

/** The loaded files of this copy of the package. */
const own = new Map();

/**
 * Loads more of this copy. Tools that load packages anew take files out of the cache of modules. What is loaded
 * after that must belong to what was loaded before, and not to the next copy.
 */
function more(load) {
  const cache = require.cache;
  // What runs packages in its own way may have none.
  if (cache === undefined) return load();
  const path = require('node:path');
  const folder = path.join(__dirname, 'lib') + path.sep;
  const files = () => Object.keys(cache).filter((file) => file.startsWith(folder));
  const others = new Map();
  const isOurs = Array.from(own).every(([file, module]) => cache[file] === module);
  if (!isOurs) {
    for (const file of files()) {
      others.set(file, cache[file]);
      delete cache[file];
    }
    for (const [file, module] of own) cache[file] = module;
  }
  try {
    return load();
  } finally {
    for (const file of files()) {
      own.set(file, cache[file]);
      if (!isOurs) delete cache[file];
    }
    for (const [file, module] of others) cache[file] = module;
  }
}

// At once, so that an addon that is missing, or a setting that is wrong, is told here.
more(() => require('./lib/native/binding'));
// What a program does to V8's namespace later does not reach us.
more(() => require('./lib/webassembly/v8'));
const { tag } = more(() => require('./lib/util/webidl'));

const namespace = () => require('./lib/webassembly/namespace').WebAssembly;

/**
 * Where everything comes from. It is loaded when somebody first asks for it: a program that only runs others has no
 * use for the classes of the namespace, nor one with its own instances for the rest.
 */
const SOURCES = {
  MemoryFS: () => require('./lib/wasi/memoryfs').MemoryFS,
  WASI: () => require('./lib/wasi/wasi').WASI,
  caller: () => require('./lib/native/caller').caller,
  WebAssembly: namespace,
  load: () => require('./lib/load').load,
  loadAsync: () => require('./lib/load').loadAsync,
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
  const get = () => define(more(source));
  Object.defineProperty(exported, name, { get, set: define, enumerable: true, configurable: true });
}
// The package itself may stand for the global, too.
tag(exported, 'WebAssembly');

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
