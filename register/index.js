'use strict';
// `node --import wasi-native/register program.js`: `wasi` and `node:wasi` give our class, however
// they are loaded. Workers of the process inherit the flag, and with it the replacement.

const { syncBuiltinESMExports } = require('node:module');

const { WASI } = require('..');

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
