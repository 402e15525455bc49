'use strict';
// One JavaScript object for each native one, found again by the native one's address.

/** Holds its values weakly. */
class Cache {
  #references = new Map();
  /** How many there may be before the dead ones are taken out. */
  #limit = 64;

  get(key) {
    return this.#references.get(key)?.deref();
  }

  /** What is there, else what `make` makes, which is then there. */
  getOrMake(key, make) {
    let value = this.get(key);
    if (value === undefined) this.set(key, (value = make()));
    return value;
  }

  set(key, value) {
    this.#references.set(key, new WeakRef(value));
    if (this.#references.size > this.#limit) this.#sweep();
  }

  #sweep() {
    for (const [key, reference] of this.#references) {
      if (reference.deref() === undefined) this.#references.delete(key);
    }
    this.#limit = Math.max(64, 2 * this.#references.size);
  }
}

/** A native object on its way into the constructor of its class. Users cannot make one. */
class Existing {
  constructor(handle, group) {
    this.handle = handle;
    this.group = group;
  }
}

module.exports = { Cache, Existing };
