'use strict';
// Node-API guests: a module with an addon's imports becomes the addon's exports.

const { native, realm } = require('../native/binding');
const { coded } = require('../util/errors');
const { programHere } = require('../wasi/wasi');

/**
 * What a guest exports: its `module.exports`. Beside that, not enumerable and only where the guest has nothing
 * of these names: `close()`, and `Symbol.dispose`.
 */
function guest(parts, wasi, url, what) {
  let exports;
  let handle;
  let context;
  try {
    const { program, limits } = programHere(wasi);
    ({ context } = program);
    ({ exports, guest: handle } = native.loadGuest(realm, what, parts.handle, context, limits, url));
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

module.exports = { guest };
