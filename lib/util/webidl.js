'use strict';
// The conversions and property attributes that Web IDL asks for.

function isObject(value) {
  return (typeof value === 'object' && value !== null) || typeof value === 'function';
}

/** `[EnforceRange] unsigned long`. */
function toUint32(value, what) {
  const number = Number(asNumber(value));
  const integer = Math.trunc(number);
  if (!(integer >= 0 && integer <= 0xffffffff)) {
    throw new TypeError(`${what} must be an integer from 0 to 4294967295, not ${number}`);
  }
  return integer + 0;
}

/** ToNumber: unlike `Number()` it refuses a BigInt. */
function asNumber(value) {
  return +value;
}

/** The bytes of a buffer source, as they are now. */
function toBytes(value, what) {
  if (ArrayBuffer.isView(value)) {
    return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  }
  try {
    return new Uint8Array(toBuffer(value));
  } catch {
    throw new TypeError(`${what} must be an ArrayBuffer or a view of one`);
  }
}

const byteLength = Object.getOwnPropertyDescriptor(ArrayBuffer.prototype, 'byteLength').get;
const sharedByteLength = Object.getOwnPropertyDescriptor(SharedArrayBuffer.prototype, 'byteLength').get;

/** `value` if it is an ArrayBuffer or a shared one, of whatever realm; throws otherwise. */
function toBuffer(value) {
  try {
    byteLength.call(value);
  } catch {
    sharedByteLength.call(value);
  }
  return value;
}

/**
 * An address, or a number of pages or elements, of a memory or table: `[EnforceRange] unsigned
 * long`, or a BigInt of 64 bits where it is wide. As a number, which is exact where it matters:
 * nothing has 2^53 bytes.
 */
function toAddress(value, wide, what) {
  if (!wide) return toUint32(value, what);
  // ToBigInt, which refuses a number as `BigInt()` does not.
  const integer = BigInt.asIntN(Number.MAX_SAFE_INTEGER, value);
  if (integer < 0n || integer >= 2n ** 64n) {
    throw new TypeError(`${what} must be a BigInt from 0 to 2^64 - 1, not ${integer}`);
  }
  return Number(integer);
}

/** The other way: an address as JavaScript sees it. */
function fromAddress(number, wide) {
  return wide ? BigInt(number) : number;
}

/** The property `address` of a descriptor: whether addresses are 64 bits wide. */
function isWide({ address }, what) {
  if (address === undefined) return false;
  const name = `${address}`;
  if (name !== 'i32' && name !== 'i64') {
    throw new TypeError(`${what}: property 'address' must be 'i32' or 'i64', not '${name}'`);
  }
  return name === 'i64';
}

/** The properties `initial` and `maximum` of a descriptor. */
function toLimits(descriptor, wide, what) {
  const given = descriptor.initial;
  if (given === undefined) throw new TypeError(`${what}: property 'initial' is required`);
  const initial = toAddress(given, wide, `${what}: property 'initial'`);
  const most = descriptor.maximum;
  const maximum = most === undefined ? undefined : toAddress(most, wide, `${what}: property 'maximum'`);
  return { initial, maximum };
}

/**
 * Private parts that can be put on any object, also on one that V8 has made: `put(object, parts)`,
 * and `of(value)`, which is undefined for any other value.
 */
function privateParts() {
  class Parts extends function (object) {
    return object;
  } {
    #parts;

    constructor(object, parts) {
      super(object);
      this.#parts = parts;
    }

    static of(value) {
      return isObject(value) && #parts in value ? value.#parts : undefined;
    }
  }
  return { put: (object, parts) => void new Parts(object, parts), of: Parts.of };
}

/**
 * Gives an object the prototype of newTarget's realm where newTarget has none to give. Web IDL
 * has it so; the language itself falls back on Object.prototype.
 */
function settle(object, newTarget, Class) {
  if (newTarget === Class || isObject(newTarget.prototype)) return;
  let { prototype } = Class;
  try {
    const Function = Object.getPrototypeOf(object).constructor.constructor;
    const theirs = Function('return globalThis')().WebAssembly?.[Class.name]?.prototype;
    if (isObject(theirs)) prototype = theirs;
  } catch {
    // Code from strings is forbidden there; our own is as good.
  }
  Object.setPrototypeOf(object, prototype);
}

const { values: iterate } = Array.prototype;

/**
 * An object with the prototype of `object` that nothing can clone or post, as V8's objects of these
 * classes. What serializers take of an ordinary object is its properties, and so nothing of ours;
 * of an iterator they take nothing, on any version, and it looks like any other object.
 */
function uncloneable(object) {
  return Object.setPrototypeOf(Reflect.apply(iterate, [], []), Object.getPrototypeOf(object));
}

/**
 * Makes `instanceof` of a class look at what just came from another thread. It arrives as an object of
 * V8's class: `arrived(value)` makes one of ours of it, or tells that the class takes it as it is.
 */
function recognize(Class, arrived) {
  const ordinary = Function.prototype[Symbol.hasInstance];
  const value = {
    [Symbol.hasInstance](value) {
      const taken = isObject(value) && arrived(value);
      return ordinary.call(this, value) || (taken === true && this === Class);
    },
  }[Symbol.hasInstance];
  Object.defineProperty(Class, Symbol.hasInstance, { value });
}

/** Gives a class the attributes of a Web IDL interface. */
function describe(Class, name) {
  for (const holder of [Class, Class.prototype]) {
    for (const [key, property] of Object.entries(Object.getOwnPropertyDescriptors(holder))) {
      const member = holder === Class ? property.writable && key !== 'name' : key !== 'constructor';
      if (member) Object.defineProperty(holder, key, { enumerable: true });
    }
  }
  tag(Class.prototype, name);
}

/** Makes `close` what `using` calls, too; as a method that does not show in listings. */
function closeable(Class) {
  const { close } = Class.prototype;
  const attributes = { value: close, writable: true, enumerable: false, configurable: true };
  Object.defineProperty(Class.prototype, 'close', attributes);
  if (Symbol.dispose !== undefined) Object.defineProperty(Class.prototype, Symbol.dispose, attributes);
}

function tag(object, name) {
  Object.defineProperty(object, Symbol.toStringTag, { value: name, configurable: true });
}

module.exports = {
  closeable,
  describe,
  fromAddress,
  isObject,
  isWide,
  privateParts,
  recognize,
  settle,
  tag,
  toAddress,
  toBytes,
  toLimits,
  toUint32,
  uncloneable,
};
