#!/usr/bin/env node
'use strict';

let part;
try {
  part = require('../dist/native.js');
} catch {
  try {
    // It knows why.
    require('..');
  } catch (error) {
    console.error(`wasi-native: ${error.message}`);
    process.exitCode = 1;
  }
}
part?.('cli/index').main(process.argv);
