'use strict';
// WebAssembly.Exception and JSTag, and what exceptions are at the other side of the edge. None of this runs in
// a call that returns.

const binding = require('../native/binding');
const { isUncatchable } = require('../native/errors');
const { Existing, Group } = require('../native/group');
const { fromAnywhere, sweep, toReference } = require('../native/references');
const { typeNamed } = require('../native/types');
const { left, note } = require('../native/stack');
const { eternalTag, homeOf, tagFor, tagParts } = require('./tag');
const { toUint32 } = require('../util/conversions');
const { describe, isObject, privateParts, settle, uncloneable } = require('../util/webidl');

const { native, realm, i32, TARGET } = binding;

/**
 * The private parts of an Exception: those of its `tag`; the payload as JavaScript `values`, or null
 * if JavaScript cannot have all of it, and then an `original`, a native exception with the payload;
 * and its `stack`.
 */
const { put, of: find } = privateParts();

class Exception {
  constructor(exceptionTag, payload, options = undefined) {
    const exception = uncloneable(this);
    if (exceptionTag instanceof Existing) {
      const { tag, values, original } = exceptionTag.handle;
      put(exception, { tag, values, original, stack: undefined });
      return exception;
    }
    settle(exception, new.target, Exception);
    const what = 'WebAssembly.Exception()';
    const tag = partsOf(exceptionTag, what);
    const given = sequence(payload, `${what}: Argument 1`);
    if (options !== undefined && options !== null && !isObject(options)) {
      throw new TypeError(`${what}: Argument 2 must be an object`);
    }
    const traceStack = Boolean(options?.traceStack);
    if (tag === jsTag) {
      throw new TypeError(`${what}: an exception with the JSTag is made by throwing a value`);
    }
    if (given.length !== tag.types.length) {
      const counts = `${tag.types.length} values, not ${given.length}`;
      throw new TypeError(`${what}: Argument 1 must have the tag's ${counts}`);
    }
    const values = given.map((value, k) => settled(tag.types[k], value, tag.holder));
    let stack;
    if (traceStack) {
      const holder = {};
      Error.captureStackTrace(holder, new.target);
      ({ stack } = holder);
    }
    put(exception, { tag, values, original: undefined, stack });
    return exception;
  }

  is(exceptionTag) {
    const what = 'WebAssembly.Exception.is()';
    const own = exceptionParts(this, what).tag;
    return partsOf(exceptionTag, what).address === own.address;
  }

  getArg(exceptionTag, index) {
    const what = 'WebAssembly.Exception.getArg()';
    const { tag: own, values, original } = exceptionParts(this, what);
    const tag = partsOf(exceptionTag, what);
    const place = toUint32(index, `${what}: Argument 1`);
    if (tag.address !== own.address) {
      throw new TypeError(`${what}: the exception has another tag`);
    }
    if (place >= own.types.length) {
      throw new RangeError(`${what}: no value ${place} among ${own.types.length}`);
    }
    if (values !== null) return values[place];
    native.exceptionValue(realm, original, place);
    return own.types[place].load(0, own.holder);
  }

  /** Where the exception was made, if that was asked for. */
  get stack() {
    return exceptionParts(this, 'WebAssembly.Exception.stack').stack;
  }
}

describe(Exception, 'WebAssembly.Exception');

function partsOf(value, what) {
  const parts = tagParts(value);
  if (parts === undefined) throw new TypeError(`${what}: Argument 0 must be a WebAssembly.Tag`);
  return parts;
}

function exceptionParts(value, what) {
  const parts = find(value);
  if (parts === undefined) {
    throw new TypeError(`${what}: the receiver must be a WebAssembly.Exception`);
  }
  return parts;
}

/** `sequence<any>`. */
function sequence(value, what) {
  if (!isObject(value) || typeof value[Symbol.iterator] !== 'function') {
    throw new TypeError(`${what} must be an iterable`);
  }
  return Array.from(value);
}

/** The value that JavaScript gets back for one that it gave. */
function settled(type, value, holder) {
  const converted = type.convert(value, holder);
  return type.primitive === undefined ? value : converted;
}

/**
 * What wasm may catch of a value that JavaScript threw: a tag, with the payload in the window; or
 * a native exception to copy; or undefined, if it passes by every handler.
 */
function caught(value) {
  if (isUncatchable(value)) return undefined;
  note(binding, value);
  sweep();
  const parts = find(value);
  if (parts === undefined) {
    i32[4 * TARGET] = 0;
    typeNamed('externref').store(0, value, jsTag.holder);
    return jsTag.handle;
  }
  const { tag, values, original } = parts;
  // A host value keeps the very object for whoever catches it in JavaScript.
  i32[4 * TARGET] = toReference(value, jsTag.holder);
  if (values === null) return original;
  const { types, holder } = tag;
  values.forEach((item, k) => types[k].store(k, types[k].convert(item, holder), holder));
  return tag.handle;
}

/**
 * What JavaScript sees of an exception that left wasm: its host value, or a new object for one
 * that wasm made. Its payload is in the window, and in `original` if JavaScript cannot have it.
 */
function seen(host, address, handle, original) {
  if (address === undefined) return left(binding, fromAnywhere(host));
  const group = homeOf(address) ?? linking ?? new Group();
  const tag = tagParts(tagFor(address, handle, group));
  const values = original === undefined ? tag.types.map((type, k) => type.load(k, tag.holder)) : null;
  const exception = new Exception(new Existing({ tag, values, original }));
  sweep();
  i32[4 * TARGET] = toReference(exception, jsTag.holder);
  return exception;
}

/** The group of the instance that is being made. */
let linking;

/** Runs `make`, in which a start function may throw with tags of an instance not yet known. */
function whileLinking(group, make) {
  const outer = linking;
  linking = group;
  try {
    return make();
  } finally {
    linking = outer;
  }
}

const JSTag = eternalTag(...native.handleExceptions(realm, caught, seen));
const jsTag = tagParts(JSTag);

module.exports = { Exception, JSTag, whileLinking };
