'use strict';
// WebAssembly.Global.

const { native, realm } = require('./binding');
const { convert, load, store, sweep } = require('./functions');
const { Existing, Group, objectAt } = require('./group');
const { describe, isObject, settle } = require('./webidl');

const LETTERS = {
  i32: 'i', i64: 'l', f32: 'f', f64: 'd', v128: 'x', anyfunc: 'r', funcref: 'r', externref: 'e',
};
const DEFAULTS = { i: 0, l: 0n, f: 0, d: 0, r: null, e: undefined };

/** The private parts of a Global. */
let find;

class Global {
  #handle;
  #letter;
  #mutable;
  /** What a function in the global is linked with: `{group}`. */
  #holder;

  constructor(descriptor, v = undefined) {
    if (descriptor instanceof Existing) {
      const [letter, mutable] = native.objectType(descriptor.handle);
      this.#handle = descriptor.handle;
      this.#letter = letter;
      this.#mutable = mutable === 'm';
      this.#holder = { group: descriptor.group };
      return;
    }
    settle(this, new.target, Global);
    const { letter, mutable } = parse(descriptor);
    this.#letter = letter;
    this.#mutable = mutable;
    this.#holder = { group: new Group() };
    this.#put(v === undefined ? DEFAULTS[letter] : v);
    const [address, handle] = native.createGlobal(realm, letter, mutable);
    this.#handle = handle;
    objectAt(this.#holder.group, address, () => this);
  }

  get value() {
    return this.#get();
  }

  set value(value) {
    if (!this.#mutable) {
      throw new TypeError("set WebAssembly.Global.value: the global is not mutable");
    }
    this.#put(value);
    native.globalSet(realm, this.#handle);
  }

  valueOf() {
    return this.#get();
  }

  #get() {
    native.globalGet(realm, this.#handle);
    return load(this.#letter, 0, this.#holder);
  }

  #put(value) {
    const converted = convert(this.#letter, value, this.#holder);
    sweep();
    store(this.#letter, 0, converted);
  }

  static {
    find = (value) =>
      isObject(value) && #handle in value
        ? { handle: value.#handle, group: value.#holder.group }
        : undefined;
  }
}

describe(Global, 'WebAssembly.Global');

function parse(descriptor) {
  const what = 'WebAssembly.Global(): Argument 0';
  if (!isObject(descriptor)) throw new TypeError(`${what} must be a global descriptor`);
  const mutable = Boolean(descriptor.mutable);
  const type = `${descriptor.value}`;
  if (!Object.hasOwn(LETTERS, type)) {
    const types = Object.keys(LETTERS).join(', ');
    throw new TypeError(`${what}: property 'value' must be one of ${types}, not '${type}'`);
  }
  return { letter: LETTERS[type], mutable };
}

/** The Global for a native one. */
function globalFor(address, handle, group) {
  return objectAt(group, address, () => new Global(new Existing(handle, group)));
}

/** `{handle, group}` of a Global; undefined for any other value. */
function globalParts(value) {
  return find(value);
}

module.exports = { Global, globalFor, globalParts };
