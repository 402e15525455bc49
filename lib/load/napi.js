'use strict';
// Node-API guests: a module with an addon's imports becomes the addon's exports.

const { native, realm } = require('../native/binding');
const { coded } = require('../util/errors');
const { programHere } = require('../wasi/wasi');

/** The most threads that do asynchronous work of one module. */
const MOST_WORKERS = 1024;

/**
 * What a guest exports: its `module.exports`. Beside that, not enumerable and only where the guest has nothing
 * of these names: `close()`, and `Symbol.dispose`.
 */
function guest(parts, wasi, { url, threads, asyncWorkPoolSize }, what) {
  let exports;
  let handle;
  let context;
  try {
    const { program, limits, threadLimit } = programHere(wasi);
    ({ context } = program);
    const wanted = { url, threads: threads ?? threadLimit, pool: asyncWorkPoolSize ?? poolSize() };
    ({ exports, guest: handle } = native.loadGuest(realm, what, parts.handle, context, limits, wanted));
  } catch (error) {
    wasi.close();
    throw error;
  }
  const close = () => {
    if (!native.closeGuest(realm, handle)) {
      const text = 'the module runs; close it when its call has returned';
      throw coded(Error, 'ERR_WASI_BUSY', `close(): ${text}`);
    }
    native.closeWasi(context);
    wasi.close();
  };
  const canHave = (typeof exports === 'object' && exports !== null) || typeof exports === 'function';
  if (canHave && Object.isExtensible(exports)) {
    for (const name of ['close', Symbol.dispose]) {
      if (name === undefined || name in exports) continue;
      Object.defineProperty(exports, name, { value: close, writable: true, configurable: true });
    }
  }
  return exports;
}

/** As many threads as Node has for asynchronous work. */
function poolSize() {
  const size = Number.parseInt(process.env.UV_THREADPOOL_SIZE, 10);
  return Number.isNaN(size) ? 4 : Math.min(Math.max(size, 1), MOST_WORKERS);
}

module.exports = { MOST_WORKERS, guest };
