'use strict';
// `wasi-native compile`.

const { readFileSync, statSync, writeFileSync } = require('node:fs');
const path = require('node:path');

const { native, realm } = require('../native/binding');
const { coded } = require('../util/errors');
const { compile: compileBytes } = require('../webassembly/module');
const { withBar } = require('./progress');
const { shownSize } = require('./values');

async function compile(file, { output }) {
  const directory = native.cacheDirectory(realm);
  if (output === undefined && directory === null) {
    const text = 'there is no cache to compile into (WASI_NATIVE_CACHE=0); give a file by --output';
    throw coded(Error, 'ERR_WASI_OPTION', text);
  }
  const bytes = readFileSync(file);
  const serialized = await withBar(`compiling ${path.basename(file)}`, async (onProgress) => {
    const module = await compileBytes(bytes, 'wasi-native compile', { onProgress });
    // It has all of the code, which the cache has then, too.
    return module.serialize();
  });
  if (output === undefined) {
    console.log(`${file} is in the cache at ${directory}`);
  } else {
    writeFileSync(output, serialized);
    console.log(`${output}: ${shownSize(statSync(output).size)}; run it by --allow-precompiled`);
  }
}

module.exports = { compile };
