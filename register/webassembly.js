'use strict';
// `node --import wasi-native/register/webassembly program.js`: `globalThis.WebAssembly` is ours, too.

require('.');

globalThis.WebAssembly = require('..').WebAssembly;
