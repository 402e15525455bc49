'use strict';
// Node-API guests: a module with an addon's imports becomes the addon's exports.

const { native, realm } = require('../native/binding');

/** The most threads that do asynchronous work of one module. */
const MOST_WORKERS = 1024;

let isKept = false;

/** Has what was compiled by then kept when the process exits, however soon that is. */
function keepAtExit() {
  if (isKept) return;
  isKept = true;
  process.once('exit', () => native.keepGuests(realm));
}

/** Whether a module, of which this is the handle, is a guest. */
const isGuest = (handle) => native.isNapiGuest(handle);

/**
 * What a guest exports: its `module.exports`. Beside that, not enumerable and only where the guest has nothing
 * of these names: `close()`, and `Symbol.dispose`. `given` is what it may reach: `program()` makes that, and `close()`
 * lets go of what that is made of.
 */
function guest(module, given, { url, threads, asyncWorkPoolSize }, what) {
  let exports;
  let handle;
  let context;
  try {
    const program = given.program();
    ({ context } = program);
    const wanted = { url, threads: threads ?? program.threadLimit, pool: asyncWorkPoolSize ?? poolSize() };
    ({ exports, guest: handle } = native.loadGuest(realm, what, module, context, program.limits, wanted));
  } catch (error) {
    given.close();
    throw error;
  }
  keepAtExit();
  const close = () => {
    if (!native.closeGuest(realm, handle)) {
      const { coded } = require('../util/errors');
      const text = 'the module runs; close it when its call has returned';
      throw coded(Error, 'ERR_WASI_BUSY', `close(): ${text}`);
    }
    native.closeWasi(context);
    given.close();
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

module.exports = { MOST_WORKERS, guest, isGuest };
