'use strict';
// One JavaScript object for each native one, found again by the native one's address.

/** Holds its values weakly. */
class Cache {
  #references = new Map();
  #dead = new FinalizationRegistry((key) => {
    // A new object may have the address by now.
    if (this.#references.get(key)?.deref() === undefined) this.#references.delete(key);
  });

  get(key) {
    return this.#references.get(key)?.deref();
  }

  set(key, value) {
    this.#references.set(key, new WeakRef(value));
    this.#dead.register(value, key);
  }
}

module.exports = { Cache };
