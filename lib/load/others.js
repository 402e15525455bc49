'use strict';
// `load` of all that is not a native module without options, and `loadAsync`: what a module is decides what it becomes.

const { pathToFileURL } = require('node:url');

const { coded } = require('../util/errors');
const { CAPABILITIES, checkImports, checkKeys } = require('../util/keys');
const { describeParts } = require('../webassembly/compiling');
const { moduleFor, partsOf } = require('../webassembly/module');
const { roleOf } = require('../wasi/role');
const { expectLater, moduleOf, moduleOfSync } = require('../wasi/source');
const { WASI, programHere } = require('../wasi/wasi');
const { Deadline, checkDeadline } = require('../util/deadline');
const { MODULES } = require('../native/wasi-modules');
const check = require('../util/validate');
const { filePath, isURL } = require('../util/web');
const { MOST_WORKERS, guest, isGuest } = require('./napi');

/** A native module is loaded without what libraries need. */
const reactors = () => require('./reactor');

/** The library in a file or in bytes, ready to be called. */
function load(source, options, what) {
  checkOptions('load', options);
  const module = moduleOfSync(source, what, { ...options, forGuest: true });
  return open(module, { ...options, url: urlOf(source) }, what);
}

/** The library that a module is, of which this is the handle. */
function loadCompiled(handle, what) {
  return open(moduleFor(describeParts(handle)), {}, what);
}

/** The same, compiled beside JavaScript. */
async function loadAsync(source, options = {}) {
  const what = 'loadAsync()';
  expectLater(source);
  checkOptions('loadAsync', options);
  const deadline = new Deadline({ signal: options.signal }, what);
  try {
    const forGuest = true;
    const module = await deadline.of(moduleOf(source, what, { ...options, forGuest }, deadline.passed));
    return open(module, { ...options, url: urlOf(await source) }, what);
  } finally {
    deadline.end();
  }
}

function open(module, options, what) {
  const parts = partsOf(module, what);
  const kind = kindOf(parts, what);
  if (kind === 'command') {
    const text = `${what}: the module is a program: it exports _start. `;
    throw coded(Error, 'ERR_WASI_NO_LIBRARY', `${text}Run it with new WASI({ version: 'preview1' }).run()`);
  }
  return loaders[kind](module, parts, options, what);
}

/** Where a module comes from, if that is told: it may ask. */
function urlOf(source) {
  const path = filePath(source, 'source') ?? (typeof source === 'string' ? source : undefined);
  if (path !== undefined) return pathToFileURL(path).href;
  return isURL(source) ? source.href : '';
}

/** `'guest'` for a module that asks for Node-API, else `'command'` or `'library'`. */
function kindOf(parts, what) {
  return isGuest(parts.handle) ? 'guest' : roleOf(parts, what, 'ERR_WASI_NO_LIBRARY');
}

const loaders = {
  guest(module, parts, options, what) {
    checkGuestOptions(options);
    const wasi = programFor(parts, options);
    const program = () => {
      const { program, ...others } = programHere(wasi);
      return { context: program.context, ...others };
    };
    return guest(parts.handle, { program, close: () => wasi.close() }, options, what);
  },

  library(module, parts, { imports, alloc, free, ...options }) {
    const wasi = programFor(parts, options);
    try {
      const { instance } = wasi.instantiateSync(module, imports);
      return reactors().reactor(instance, { alloc, free }, () => wasi.close());
    } catch (error) {
      wasi.close();
      throw error;
    }
  },
};

/** Refuses what is for libraries alone: a native module would go on without it. */
function checkGuestOptions(options) {
  for (const name of ['imports', 'alloc', 'free']) {
    const value = options[name];
    if (value === undefined || (name === 'imports' && Object.keys(value).length === 0)) continue;
    const advice = name === 'imports' ? '; hand functions to what it exports instead' : '';
    const text = `is for libraries, and this is a native module, which imports Node-API${advice}`;
    throw check.invalidValue(`options.${name}`, value, text);
  }
}

/**
 * What a library may reach: nothing but standard output and error, unless its options say more. Node's own
 * class would give it standard input as well.
 */
function programFor(parts, options) {
  const wanted = new Set(parts.imports().map(({ module }) => module));
  const version = Object.keys(MODULES).find((key) => wanted.has(MODULES[key])) ?? 'preview1';
  const given = Object.entries(options).filter(([key]) => CAPABILITIES.includes(key));
  return new WASI({ stdin: 'ignore', ...Object.fromEntries(given), version });
}

function checkOptions(kind, options) {
  check.isObject(options, 'options');
  checkKeys(kind, options, 'options');
  checkImports(options.imports ?? {}, 'options.imports');
  checkDeadline(options);
  const { threads, asyncWorkPoolSize } = options;
  if (threads !== undefined) check.isInteger(threads, 'options.threads', 0, 65535);
  if (asyncWorkPoolSize !== undefined) {
    check.isInteger(asyncWorkPoolSize, 'options.asyncWorkPoolSize', 0, MOST_WORKERS);
  }
}

module.exports = { load, loadAsync, loadCompiled };
