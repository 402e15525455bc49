'use strict';
// `node --import wasi-native/register/webassembly program.js`: `globalThis.WebAssembly` is ours, too.

require('.');

const namespace = require('..');

globalThis.WebAssembly = namespace.WebAssembly ?? namespace;
