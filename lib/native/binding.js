'use strict';
// Loads the native addon of this platform and opens a realm in it: what this loading of the
// package owns, with the argument window that both sides see (src/node/realm.rs).

const fs = require('node:fs');
const path = require('node:path');
const { isMainThread } = require('node:worker_threads');
const { makeError } = require('../util/errors');

const ABIS = { linux: ['gnu', 'musl'], win32: ['msvc'] };

/** The platform names under which an addon may be there, the likelier first. */
function platforms() {
  const base = `${process.platform}-${process.arch}`;
  const abis = ABIS[process.platform];
  return abis ? abis.map((abi) => `${base}-${abi}`) : [base];
}

function load() {
  const tried = [];
  let forbidden = false;
  for (const platform of platforms()) {
    const file = path.join(__dirname, '..', '..', `wasi-native.${platform}.node`);
    const candidates = fs.existsSync(file) ? [file] : [`wasi-native-${platform}`];
    for (const candidate of candidates) {
      try {
        return require(candidate);
      } catch (error) {
        forbidden ||= error.code === 'ERR_DLOPEN_DISABLED';
        tried.push(`  ${candidate}: ${error.message.split('\n', 1)[0]}`);
      }
    }
  }
  const error = new Error(
    `wasi-native has no native addon for ${process.platform}-${process.arch} here. Tried:\n` +
      `${tried.join('\n')}\n` +
      (forbidden
        ? 'Node may not load addons: with its permission model it wants --allow-addons, and --no-addons forbids them'
        : 'Reinstall it with optional dependencies (npm install wasi-native --include=optional), ' +
          'or in a checkout build it with: npm run build'),
  );
  error.code = 'ERR_WASI_NO_ADDON';
  throw error;
}

const native = load();
const { realm, window, offset, slots, call, constants } = native.open(makeError);
// Bun's threads end in their own way, and it has no V8.
if (process.versions.bun === undefined) {
  if (isMainThread) native.followStack(realm, stackSize());
  else native.endWithWorker(realm, () => {});
}

/** The kilobytes of stack that V8 uses in the main thread. */
function stackSize() {
  const given = process.execArgv.join(' ').match(/--stack[-_]size[= ](\d+)(?!.*--stack[-_]size)/);
  return given === null ? 984 : Number(given[1]);
}

const bytes = window.byteLength - offset;
const length = bytes - (bytes % 16);

/** `handlers`, an object with a function for each of `names`, as a list in the order of the names. */
function inOrder(names, handlers) {
  return names.map((name) => handlers[name]);
}

module.exports = {
  inOrder,
  native,
  realm,
  /** What native code and this side call by the same letters and numbers. */
  constants,
  /** Calls the function whose address is in the target slot. */
  call,
  /** The window's views. A slot has 16 bytes, its value in the low ones. */
  i32: new Int32Array(window, offset, length / 4),
  i64: new BigInt64Array(window, offset, length / 8),
  f32: new Float32Array(window, offset, length / 4),
  f64: new Float64Array(window, offset, length / 8),
  /** The slot after those of arguments and results. */
  TARGET: slots,
};
