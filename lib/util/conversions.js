'use strict';
// The conversions that Web IDL asks for, of arguments and of the properties of descriptors.

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

module.exports = { fromAddress, isWide, toAddress, toBytes, toLimits, toUint32 };
