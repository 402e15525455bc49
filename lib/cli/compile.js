'use strict';
// `wasi-native compile`.

const { statSync, readFileSync, writeFileSync } = require('node:fs');

const { native, realm } = require('../native/binding');
const { coded } = require('../util/errors');
const { Module } = require('../webassembly/module');
const { shownSize } = require('./values');

function compile(file, { output }) {
  const directory = native.cacheDirectory(realm);
  if (output === undefined && directory === null) {
    const text = 'there is no cache to compile into (WASI_NATIVE_CACHE=0); give a file by --output';
    throw coded(Error, 'ERR_WASI_OPTION', text);
  }
  const bytes = readFileSync(file);
  if (process.stderr.isTTY) console.error(`compiling ${file}, ${shownSize(bytes.length)} ...`);
  // It has all of the code, which the cache has then, too.
  const serialized = new Module(bytes).serialize();
  if (output === undefined) {
    console.log(`${file} is in the cache at ${directory}`);
  } else {
    writeFileSync(output, serialized);
    console.log(`${output}: ${shownSize(statSync(output).size)}; run it by --allow-precompiled`);
  }
}

module.exports = { compile };
