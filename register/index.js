'use strict';
// `node --import wasi-native/register program.js`, or `--require`:
//
// - `wasi` and `node:wasi` give our class, however they are loaded
// - `require('./x.wasm')` and `import './x.wasm'` load it, as `load()` does
// - packages whose glue would run a WebAssembly build of a native addon get it loaded by us
//
// Workers of the process inherit the flag, and with it all of this.

const { syncBuiltinESMExports } = require('node:module');

const { WASI } = require('..');
const part = require('../dist/native.js');

const { registerImport } = part('load/import');
const { registerRequire } = part('load/require');

/** Node's module, without the warning of how experimental Node's class is. */
function withoutWarning(load) {
  const { emitWarning } = process;
  process.emitWarning = () => {};
  try {
    return load();
  } finally {
    process.emitWarning = emitWarning;
  }
}

withoutWarning(() => require('node:wasi')).WASI = WASI;
syncBuiltinESMExports();
registerRequire();
registerImport(require.resolve('./import-hooks.mjs'));
