'use strict';
// The values between JavaScript and a guest on a thread of its own. They lie in the window, as for instances on this
// thread.

const { i32 } = require('../native/binding');
const { Pool, guestGroup } = require('../native/references');
const { typeNamed } = require('../native/types');
const { list } = require('../native/wrappers');

/** The values that go to one guest and come back. */
class GuestValues {
  #pool = new Pool();
  #holder = { group: guestGroup(this.#pool) };
  /** The numbers of host values that were handed out while the guest looks for those it holds. */
  #since = null;

  convert(types, values) {
    return types.map((type, k) => {
      if (isBound(type)) throw new TypeError('a function reference cannot go to another thread');
      return type.convert(values[k], this.#holder);
    });
  }

  /** The same of what a function of JavaScript's has returned. */
  convertReturned(types, value) {
    return this.convert(types, types.length < 2 ? [value] : list(value, types.length));
  }

  /** Leaves converted values in the window. */
  store(types, values) {
    types.forEach((type, k) => {
      type.store(k, values[k], this.#holder);
      if (type.isHostValue) this.#since?.add(i32[4 * k]);
    });
  }

  load(types) {
    return types.map((type, k) => {
      if (isBound(type)) throw new TypeError('a function reference cannot leave its thread');
      return type.load(k, this.#holder);
    });
  }

  /** Whether it is time to look which host values the guest holds; `endSweep` must follow then. */
  beginSweep() {
    if (this.#since !== null || !this.#pool.isFull) return false;
    this.#since = new Set();
    return true;
  }

  /** Lets go of what the guest does not hold: of nothing, if that could not be told. */
  endSweep(held) {
    if (held === undefined) this.#pool.limit *= 2;
    else this.#pool.keepOnly(new Set([...held, ...this.#since]));
    this.#since = null;
  }
}

/** Whether values of the type belong to one thread. */
function isBound(type) {
  return type.isTyped || type === typeNamed('funcref');
}

module.exports = { GuestValues };
