'use strict';
// `load` and `loadAsync`.
//
// Most native modules are given a path and nothing else. What they need is here and in `napi`: the options that others
// have, and the classes of WASI and of WebAssembly, take longer to parse than a native module takes to load.

const { resolve } = require('node:path');
const { pathToFileURL } = require('node:url');

const { native, realm } = require('../native/binding');
const { prepareThread } = require('../native/thread');
const { guest, isGuest } = require('./napi');

const others = () => require('./others');

/** The library in a file or in bytes, ready to be called. */
function load(source, options = {}) {
  const what = 'load()';
  if (!isPlainPath(source) || !isNothing(options)) return others().load(source, options, what);
  prepareThread();
  const handle = native.compileFile(realm, what, resolve(source), false, true, true);
  // What cannot be read is read there, for the error.
  if (handle === null) return others().load(source, options, what);
  if (!isGuest(handle)) return others().loadCompiled(handle, what);
  return guest(handle, givenNothing(), { url: pathToFileURL(source).href }, what);
}

/** The same, compiled beside JavaScript. */
async function loadAsync(source, options = {}) {
  return others().loadAsync(source, options);
}

/** Whether this names a file, and is no URL. A colon may come after the letter of a drive. */
function isPlainPath(source) {
  return typeof source === 'string' && source !== '' && !source.includes(':', 2);
}

/** Whether options say nothing, and neither does the process: see `parse` of `wasi/options`. */
function isNothing(options) {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) return false;
  for (const key in options) if (key !== undefined) return false;
  return process.permission === undefined && process.env.WASI_NATIVE_TRACE === undefined;
}

/** What `new WASI({ stdin: 'ignore' })` has for native code. */
const NOTHING = {
  template: {
    preopens: [],
    sockets: [],
    deny: [],
    limits: { output: 16 * 1024 * 1024 },
    traceToStderr: false,
    fullTrace: false,
    countCalls: false,
  },
  program: {
    args: [],
    env: [],
    // Standard output and error, because there a panic says why.
    stdio: [
      { kind: 'ignore', descriptor: 0 },
      { kind: 'descriptor', descriptor: 1 },
      { kind: 'descriptor', descriptor: 2 },
    ],
  },
  threads: 256,
};

function givenNothing() {
  const { template, program, threads } = NOTHING;
  const made = native.wasiTemplate(realm, template, []);
  return {
    program: () => ({
      context: native.wasiContext(realm, made, program),
      limits: native.programLimits({ threads }, made),
      threadLimit: threads,
    }),
    close: () => native.closeTemplate(made),
  };
}

module.exports = { NOTHING, load, loadAsync };
