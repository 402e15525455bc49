'use strict';
// WebAssembly.Global.

const { native, realm } = require('../native/binding');
const { convert, load, store, sweep } = require('../native/functions');
const { Existing, Group, objectAt } = require('../native/group');
const { describe, isObject, privateParts, settle, uncloneable } = require('../util/webidl');

const LETTERS = {
  i32: 'i',
  i64: 'l',
  f32: 'f',
  f64: 'd',
  v128: 'x',
  anyfunc: 'r',
  funcref: 'r',
  externref: 'e',
};
const DEFAULTS = { i: 0, l: 0n, f: 0, d: 0, r: null, e: undefined };

/**
 * The private parts of a Global: its native `handle`, the `letter` of its type, whether it is
 * `mutable`, and its `group`, with which a function in the global is linked.
 */
const { put, of: globalParts } = privateParts();

class Global {
  constructor(descriptor, v = undefined) {
    const global = uncloneable(this);
    if (descriptor instanceof Existing) {
      const { handle, group } = descriptor;
      const [letter, mutable] = native.objectType(handle);
      put(global, { handle, letter, mutable: mutable === 'm', group });
      return global;
    }
    settle(global, new.target, Global);
    const { letter, mutable } = parse(descriptor);
    const parts = { handle: undefined, letter, mutable, group: new Group() };
    putValue(parts, v === undefined ? DEFAULTS[letter] : v);
    const [address, handle] = native.createGlobal(realm, letter, mutable);
    parts.handle = handle;
    put(global, parts);
    return objectAt(parts.group, address, () => global);
  }

  get value() {
    return valueOf(partsOf(this, 'get WebAssembly.Global.value'));
  }

  set value(value) {
    const what = 'set WebAssembly.Global.value';
    const parts = partsOf(this, what);
    if (!parts.mutable) throw new TypeError(`${what}: the global is not mutable`);
    putValue(parts, value);
    native.globalSet(realm, parts.handle);
  }

  valueOf() {
    return valueOf(partsOf(this, 'WebAssembly.Global.valueOf()'));
  }
}

describe(Global, 'WebAssembly.Global');

function partsOf(value, what) {
  const parts = globalParts(value);
  if (parts === undefined) throw new TypeError(`${what}: the receiver must be a WebAssembly.Global`);
  return parts;
}

function valueOf(parts) {
  native.globalGet(realm, parts.handle);
  return load(parts.letter, 0, parts);
}

/** Leaves the value in the window for native code. */
function putValue(parts, value) {
  const converted = convert(parts.letter, value, parts);
  sweep();
  store(parts.letter, 0, converted, parts);
}

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

module.exports = { Global, globalFor, globalParts };
