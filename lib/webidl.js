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
const sharedByteLength = Object.getOwnPropertyDescriptor(
  SharedArrayBuffer.prototype,
  'byteLength'
).get;

/** `value` if it is an ArrayBuffer or a shared one, of whatever realm; throws otherwise. */
function toBuffer(value) {
  try {
    byteLength.call(value);
  } catch {
    sharedByteLength.call(value);
  }
  return value;
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

function tag(object, name) {
  Object.defineProperty(object, Symbol.toStringTag, { value: name, configurable: true });
}

module.exports = { isObject, toUint32, toBytes, describe, tag };
