'use strict';
// Functions across the edge: wasm functions as JavaScript has them, JavaScript functions as wasm calls
// them, and the addresses by which the two sides name them.

const binding = require('./binding');
const { join, objectAt } = require('./group');
const { watch } = require('./stack');
const { defineFunctions } = require('./types');
const { makers } = require('./wrappers');

const { native, realm, f64 } = binding;

/**
 * What we know of a function that stands for a wasm function: `address`, `group`, `signature`.
 * It is a private field put on the function: cheaper to make, find and collect than an entry of
 * a WeakMap.
 */
class Known extends function (object) {
  return object;
} {
  #record;

  constructor(f, record) {
    super(f);
    this.#record = record;
  }

  /** Undefined for any other value. */
  static recordOf(value) {
    return typeof value === 'function' && #record in value ? value.#record : undefined;
  }
}

const { recordOf } = Known;

/**
 * The address for a funcref. `holder` is the function it is passed to or returned to, or the
 * table or global it is put into.
 */
function toAddress(value, holder) {
  if (value === null) return 0;
  const record = recordOf(value);
  if (record === undefined) {
    throw new TypeError('a funcref must be null or a WebAssembly function');
  }
  // A table or global joins the native groups itself; between functions it is asked for.
  if (join(holder.group, record.group) && holder.address !== undefined) {
    native.linkFunctions(realm, holder.address, record.address);
  }
  return record.address;
}

/** The function at an address that wasm left in the window. */
function fromAddress(address, holder) {
  return address === 0 ? null : functionAt(address, holder.group);
}

/** The function at an address, always the same for the same address. */
function functionAt(address, group, signature, index) {
  return objectAt(group, address, () => {
    if (signature === undefined) [signature, index] = native.describeFunction(realm, address);
    const maker = makers.export(signature);
    const record = { address, group, signature, maker };
    const wrapper = named(`${index}`, maker(record));
    new Known(wrapper, record);
    return wrapper;
  });
}

defineFunctions(
  {
    convert: toAddress,
    store: (slot, address) => void (f64[2 * slot] = address),
    load: (slot, holder) => fromAddress(f64[2 * slot], holder),
    fits(letter, value) {
      const record = recordOf(value);
      return record === undefined || native.referenceFits(realm, letter, record.address);
    },
    source: {
      convert: (a) => `${a} = toAddress(${a}, holder);`,
      store: (slot, a) => `f64[${2 * slot}] = ${a};`,
      load: (slot) => `fromAddress(f64[${2 * slot}], holder)`,
    },
  },
  { toAddress, fromAddress },
);

/** The text of a function of the host's, as it is with V8's. */
const { toString } = {
  toString() {
    return `function ${this.name}() { [native code] }`;
  },
};

/**
 * Names a wrapper, which like all of them is an arrow function: it cannot be constructed. It has a
 * `toString` of its own, because that of all functions would tell our source.
 */
function named(name, wrapper) {
  Object.defineProperty(wrapper, 'name', { value: name });
  const attributes = { value: toString, writable: true, enumerable: false, configurable: true };
  return Object.defineProperty(wrapper, 'toString', attributes);
}

/** The shim through which wasm calls `f`. `holder` stands for the function at wasm's side. */
function shim(f, signature, holder) {
  watch(binding);
  const maker = (holder.maker = makers.import(signature));
  return maker(f, holder);
}

/** A WASI function as JavaScript calls it. */
function wasiFunction(name, signature, holder) {
  return named(name, makers.wasi(signature)(holder));
}

module.exports = { functionAt, recordOf, shim, wasiFunction };
