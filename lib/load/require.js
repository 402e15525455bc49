'use strict';
// `require()` of .wasm files, and of the glue that packages have for their WebAssembly build.

const Module = require('node:module');
const { existsSync, readFileSync } = require('node:fs');
const path = require('node:path');

const { load } = require('.');
const { grantsFor } = require('./grants');

/** Gives `require()` ours for such files, once in each thread. */
function registerRequire() {
  Module._extensions['.wasm'] ??= (module, file) => {
    module.exports = loadFile(file);
  };
  // What the napi CLI puts beside or in place of the native addon: a loader that would run the module by a
  // JavaScript emulation, with the whole disk and environment.
  Module._extensions['.wasi.cjs'] ??= (module, file) => {
    const wasm = wasmOf(file);
    if (wasm === undefined) Module._extensions['.js'](module, file);
    else module.exports = marked(loadFile(wasm), file);
  };
}

/** The exports with the name of what was loaded, where the glue would give it to them: programs ask for it. */
function marked(exports, glue) {
  const name = '__napiBindingTarget';
  const [, value] = new RegExp(`const ${name} = '([^']+)'`).exec(readFileSync(glue, 'utf8')) ?? [];
  // What is no object is not extensible.
  if (value !== undefined && Object.isExtensible(exports) && !Object.hasOwn(exports, name))
    exports[name] = value;
  return exports;
}

/** What the module in a file exports, made once for each thread by the cache of `require`. */
function loadFile(file) {
  const { options, files } = grantsFor(file);
  try {
    return load(file, options);
  } catch (error) {
    // Nobody wrote the options where the module is required.
    if (error.message?.includes('options.')) error.message += ` (options of ${file} in ${files.join(', ')})`;
    throw error;
  }
}

/** The module that the glue in a file loads; undefined if it is none of the napi CLI's. */
function wasmOf(file) {
  const beside = file.replace(/\.wasi\.cjs$/, '.wasm32-wasi.wasm');
  if (existsSync(beside)) return beside;
  const [, wanted] =
    /require\.resolve\(\s*['"]([^'"]+\.wasm)['"]\s*\)/.exec(readFileSync(file, 'utf8')) ?? [];
  if (wanted === undefined) return undefined;
  try {
    return Module.createRequire(file).resolve(wanted);
  } catch {
    const error = new Error(`Cannot find module '${wanted}', which ${path.basename(file)} loads`);
    throw Object.assign(error, { code: 'MODULE_NOT_FOUND', requireStack: [file] });
  }
}

module.exports = { loadFile, registerRequire };
