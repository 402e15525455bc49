'use strict';
// `wasi-native compile`.

const { statSync } = require('node:fs');
const path = require('node:path');

const { native, realm } = require('../native/binding');
const { coded } = require('../util/errors');
const { moduleOf } = require('../wasi/source');
const { compile: compileBytes, finish } = require('../webassembly/module');
const { about, bytesOf, writeFile } = require('./file');
const { print } = require('./print');
const { progressBar } = require('./progress');
const { shownSize } = require('./values');

const WHAT = 'wasi-native compile';

async function compile(file, { output }) {
  const directory = native.cacheDirectory(realm);
  if (output === undefined && directory === null) {
    const text = 'there is no cache to compile into (WASI_NATIVE_CACHE=0); give a file by --output';
    throw coded(Error, 'ERR_WASI_OPTION', text);
  }
  const bytes = bytesOf(file);
  const bar = progressBar(`compiling ${path.basename(file)}`);
  let module;
  try {
    // A large module is ready before all of its code is. Those that load() and run() find in the cache have shared
    // memories of ours; a file is deserialized, which makes them modules of JavaScript's.
    module = await compileBytes(bytes, WHAT, { onProgress: bar.update }, output === undefined);
    await finish(module, WHAT);
  } catch (error) {
    bar.stop();
    throw about(file, error);
  }
  bar.end();
  if (output === undefined) {
    // From now on the cache knows the file, too, so a program that is run by its name is not read.
    await moduleOf(file, WHAT, { forGuest: true });
    print(`${file} is in the cache at ${directory}\n`);
  } else {
    writeFile(output, module.serialize());
    print(`${output}: ${shownSize(statSync(output).size)}; run it with --allow-precompiled\n`);
  }
}

module.exports = { compile };
