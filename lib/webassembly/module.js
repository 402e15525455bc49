'use strict';
// WebAssembly.Module.

const { native, realm } = require('../native/binding');
const { toBytes } = require('../util/conversions');
const { Deadline, checkDeadline } = require('../util/deadline');
const { coded } = require('../util/errors');
const { describe, isObject, privateParts, recognize, settle, uncloneable } = require('../util/webidl');
const compiling = require('./compiling');
const { V8Module, sectionsOf } = require('./v8');

const { describeParts } = compiling;

/** The private parts of a module, as `describeParts` has them. */
const { put, of } = privateParts();

class Module {
  constructor(bytes, options = undefined) {
    settle(this, new.target, Module);
    return compileSync(bytes, 'WebAssembly.Module()', options, Object.getPrototypeOf(this));
  }

  /**
   * The module from what `serialize()` gave, without compiling it. The code in it is run as it is: only for
   * bytes that nobody else could write.
   */
  static deserialize(bytes) {
    const what = 'WebAssembly.Module.deserialize()';
    return moduleFor(describeParts(native.deserialize(realm, what, toBytes(bytes, `${what}: Argument 0`))));
  }

  /** The module with its code, for `deserialize()` in a process of the same version, on the same kind of machine. */
  serialize() {
    const what = 'WebAssembly.Module.prototype.serialize()';
    return native.serialize(realm, what, partsOf(this, what).handle);
  }

  static exports(module) {
    const list = partsOf(module, 'WebAssembly.Module.exports()').exports();
    return list.map(({ name, kind }) => ({ name, kind }));
  }

  static imports(module) {
    const list = partsOf(module, 'WebAssembly.Module.imports()').imports();
    return list.map(({ module, name, kind }) => ({ module, name, kind }));
  }

  static customSections(module, sectionName) {
    const { handle } = partsOf(module, 'WebAssembly.Module.customSections()');
    if (sectionName === undefined) {
      throw new TypeError('WebAssembly.Module.customSections(): Argument 1 is required');
    }
    const name = `${sectionName}`;
    // A name in a module is UTF-8, so none is equal to half a character, which would arrive as U+FFFD.
    return name.isWellFormed() ? native.customSections(handle, name) : [];
  }
}

describe(Module, 'WebAssembly.Module');
// The interface has no such methods, so they are not enumerable.
Object.defineProperty(Module, 'deserialize', { enumerable: false });
Object.defineProperty(Module.prototype, 'serialize', { enumerable: false });
recognize(Module, (value) => void find(value));

/**
 * The sections by which a module of V8's stands for one of ours: which one, and its bytes.
 */
const [WHICH, BYTES] = native.carrierSections();

/**
 * The Module with these parts. It is a module of V8's with our prototype. It has nothing but sections that say
 * which of ours it stands for, so it can be posted to other threads, which have it at once.
 */
function moduleFor(parts, prototype = Module.prototype) {
  const module = Object.setPrototypeOf(carrier(parts.handle), prototype);
  put(module, parts);
  return module;
}

function carrier(handle) {
  // Without V8's WebAssembly nothing could be posted anyway.
  if (V8Module === undefined) return uncloneable(Module.prototype);
  const bytes = native.carrierOf(realm, handle, true);
  try {
    return new V8Module(bytes);
  } catch {
    // With its bytes it is larger than V8 takes. Without them it can be posted as long as somebody keeps it.
    return new V8Module(native.carrierOf(realm, handle, false));
  }
}

/**
 * Makes one of ours of a module that was posted here; the parts, undefined for any other value. If
 * everybody else has let go of it, the thread that made it included, it is compiled anew.
 */
function adopted(value) {
  let which;
  try {
    [which] = sectionsOf(value, WHICH);
  } catch {
    return undefined;
  }
  if (which === undefined) return undefined;
  const find = (bytes) => native.carriedModule(realm, new Uint8Array(which), bytes);
  const handle = find() ?? find(new Uint8Array(sectionsOf(value, BYTES)[0] ?? 0));
  if (handle === null) {
    const text = 'one of its size must be kept where it was compiled until it has been used here';
    throw coded(Error, 'ERR_WASI_MODULE_GONE', `a posted module has been let go: ${text}`);
  }
  put(Object.setPrototypeOf(value, Module.prototype), describeParts(handle));
  return of(value);
}

function find(value) {
  return of(value) ?? (isObject(value) ? adopted(value) : undefined);
}

/** The private parts of a module. */
function partsOf(value, what) {
  const parts = find(value);
  if (parts === undefined) {
    throw new TypeError(`${what}: Argument 0 must be a WebAssembly.Module of wasi-native`);
  }
  return parts;
}

function isModule(value) {
  return find(value) !== undefined;
}

/** Compiles on other threads, until `options.signal` fires. The bytes are copied before this returns. */
async function compile(bytes, what, options = undefined, forGuest = false) {
  const signal = options?.signal;
  checkDeadline({ signal });
  const deadline = new Deadline({ signal }, what);
  try {
    return moduleFor(await compiling.compileBytes(bytes, what, options, deadline.passed, forGuest));
  } finally {
    deadline.end();
  }
}

/** Makes all of a module's code on other threads, and what the cache has of it. */
function finish(module, what, onProgress = undefined) {
  return compiling.finish(partsOf(module, what), what, onProgress);
}

/** Compiles bytes on this thread. */
function compileSync(bytes, what, options = undefined, prototype = Module.prototype) {
  return moduleFor(compiling.compileBytesSync(bytes, what, options), prototype);
}

function validate(bytes) {
  return native.validate(realm, toBytes(bytes, 'WebAssembly.validate(): Argument 0'));
}

module.exports = {
  Module,
  compile,
  compileSync,
  finish,
  isModule,
  moduleFor,
  partsOf,
  validate,
};
