'use strict';
// WebAssembly.Exception and JSTag, and what exceptions are at the other side of the edge
// (src/node/exceptions.rs). None of this runs in a call that returns.

const { native, realm, i32, TARGET } = require('./binding');
const { isUncatchable } = require('./errors');
const { convert, load, store } = require('./functions');
const { Existing, Group } = require('./group');
const { fromReference, toReference } = require('./references');
const { eternalTag, homeOf, tagFor, tagParts } = require('./tag');
const { describe, isObject, settle, toUint32 } = require('./webidl');

/** The private parts of an Exception. */
let find;

class Exception {
  /** The parts of its tag. */
  #tag;
  /** The payload as JavaScript values. */
  #values = null;
  /** A native exception with the same payload, if JavaScript cannot have all of it. */
  #original;
  #stack;

  constructor(exceptionTag, payload, options = undefined) {
    if (exceptionTag instanceof Existing) {
      const { tag, values, original } = exceptionTag.handle;
      this.#tag = tag;
      this.#values = values;
      this.#original = original;
      return;
    }
    settle(this, new.target, Exception);
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
    if (given.length !== tag.letters.length) {
      const counts = `${tag.letters.length} values, not ${given.length}`;
      throw new TypeError(`${what}: Argument 1 must have the tag's ${counts}`);
    }
    this.#tag = tag;
    this.#values = given.map((value, k) => settled(tag.letters[k], value, tag.holder));
    if (traceStack) {
      const holder = {};
      Error.captureStackTrace(holder, new.target);
      this.#stack = holder.stack;
    }
  }

  is(exceptionTag) {
    const own = this.#tag;
    return partsOf(exceptionTag, 'WebAssembly.Exception.is()').address === own.address;
  }

  getArg(exceptionTag, index) {
    const what = 'WebAssembly.Exception.getArg()';
    const own = this.#tag;
    const tag = partsOf(exceptionTag, what);
    const place = toUint32(index, `${what}: Argument 1`);
    if (tag.address !== own.address) {
      throw new TypeError(`${what}: the exception has another tag`);
    }
    if (place >= own.letters.length) {
      throw new RangeError(`${what}: no value ${place} among ${own.letters.length}`);
    }
    if (this.#values !== null) return this.#values[place];
    native.exceptionValue(realm, this.#original, place);
    return load(own.letters[place], 0, own.holder);
  }

  /** Where the exception was made, if that was asked for. */
  get stack() {
    return this.#stack;
  }

  static {
    find = (value) =>
      isObject(value) && #tag in value
        ? { tag: value.#tag, values: value.#values, original: value.#original }
        : undefined;
  }
}

describe(Exception, 'WebAssembly.Exception');

function partsOf(value, what) {
  const parts = tagParts(value);
  if (parts === undefined) throw new TypeError(`${what}: Argument 0 must be a WebAssembly.Tag`);
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
function settled(letter, value, holder) {
  const converted = convert(letter, value, holder);
  switch (letter) {
    case 'f':
      return Math.fround(converted);
    case 'i':
    case 'l':
    case 'd':
      return converted;
    default:
      return value;
  }
}

/**
 * What wasm may catch of a value that JavaScript threw: a tag, with the payload in the window; or
 * a native exception to copy; or undefined, if it passes by every handler.
 */
function caught(value) {
  if (isUncatchable(value)) return undefined;
  const parts = find(value);
  if (parts === undefined) {
    i32[4 * TARGET] = 0;
    store('e', 0, value);
    return jsTag.handle;
  }
  const { tag, values, original } = parts;
  // A host value keeps the very object for whoever catches it in JavaScript.
  i32[4 * TARGET] = toReference(value);
  if (values === null) return original;
  values.forEach((item, k) => store(tag.letters[k], k, convert(tag.letters[k], item, tag.holder)));
  return tag.handle;
}

/**
 * What JavaScript sees of an exception that left wasm: its host value, or a new object for one
 * that wasm made. Its payload is in the window, and in `original` if JavaScript cannot have it.
 */
function seen(host, address, handle, original) {
  if (address === undefined) return fromReference(host);
  const group = homeOf(address) ?? linking ?? new Group();
  const tag = tagParts(tagFor(address, handle, group));
  const letter = (k) => load(tag.letters[k], k, tag.holder);
  const values = original === undefined ? Array.from(tag.letters, (_, k) => letter(k)) : null;
  const exception = new Exception(new Existing({ tag, values, original }));
  i32[4 * TARGET] = toReference(exception);
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
