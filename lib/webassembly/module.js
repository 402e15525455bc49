'use strict';
// WebAssembly.Module, and compiling.

const { native, realm } = require('../native/binding');
const { Deadline, checkDeadline } = require('../util/deadline');
const { CompileError, coded } = require('../util/errors');
const { checkOurKeys } = require('../util/keys');
const { isOfType } = require('../util/validate');
const { prepareThread } = require('../native/thread');
const { V8Module, sectionsOf } = require('./v8');
const {
  describe,
  isObject,
  privateParts,
  recognize,
  settle,
  toBytes,
  uncloneable,
} = require('../util/webidl');

// Loaded where it is used: few modules define shared memories.
const shared = () => require('./shared');

/** The private parts of a module: `{handle, imports(), exports(), exportsMemory(), sharedMemories()}`. */
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

function describeParts(handle) {
  let imports;
  let exports;
  let memories;
  let memory;
  const parts = {
    handle,
    imports: () => (imports ??= describeImports(handle)),
    exports: () => (exports ??= describeExports(handle)),
    exportsMemory: () => (memory ??= parts.exports().some(({ kind }) => kind === 'memory')),
    sharedMemories: () => (memories ??= describeShared(handle)),
  };
  return parts;
}

function describeImports(handle) {
  const flat = native.imports(realm, handle);
  const list = [];
  for (let k = 0; k < flat.length; k += 4) {
    list.push({ module: flat[k], name: flat[k + 1], kind: flat[k + 2], type: flat[k + 3] });
  }
  return list;
}

function describeExports(handle) {
  const flat = native.exports(realm, handle);
  const list = [];
  for (let k = 0; k < flat.length; k += 3) {
    list.push({ name: flat[k], kind: flat[k + 1], type: flat[k + 2] });
  }
  return list;
}

/** The limits of the shared memories that the module defines. */
function describeShared(handle) {
  const flat = native.sharedMemories(handle);
  const list = [];
  for (let k = 0; k < flat.length; k += 4) list.push(shared().toLimits(flat.slice(k, k + 4)));
  return list;
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

/** What to do with the results of compilations that are under way on other threads, by number. */
const underWay = new Map();
let last = 0;

function deliver(number, result) {
  const settled = underWay.get(number);
  underWay.delete(number);
  settled(result);
}

/** Compiles on other threads, until `options.signal` fires. The bytes are copied before this returns. */
async function compile(bytes, what, options = undefined) {
  const signal = options?.signal;
  checkDeadline({ signal });
  const deadline = new Deadline({ signal }, what);
  try {
    return moduleFor(await compileToParts(bytes, what, options, deadline.passed));
  } finally {
    deadline.end();
  }
}

/**
 * The same, without an object for JavaScript. `until` is a promise: when it rejects the module is not wanted any
 * more, and what is returned rejects with it. `forGuest` tells that the module's shared memories are to be ours.
 */
function compileToParts(bytes, what, options = undefined, until = undefined, forGuest = false) {
  const copied = toBytes(bytes, `${what}: Argument 0`);
  return compileWith(native.compileAsync, copied, what, options, until, forGuest);
}

/** The same of the file at an absolute path. Undefined if there is no file that can be read. */
function compileFile(path, what, options = undefined, until = undefined, forGuest = false) {
  return compileWith(native.compileFileAsync, path, what, options, until, forGuest);
}

async function compileWith(start, source, what, options, until, forGuest) {
  const follow = follower(options?.onProgress);
  const result = await beside((number, stop) => {
    start(realm, number, source, countsFuel(options), usesCache(options), forGuest);
    until?.catch(stop);
    return follow?.(() => native.compileProgress(realm, number), stop);
  });
  if (typeof result === 'string') {
    throw coded(CompileError, 'ERR_WASI_COMPILE', `${what}: ${result}`);
  }
  if (result === null) return undefined;
  if (follow !== undefined) followModule(follow, result);
  return describeParts(result);
}

/**
 * A module that can run already may not be complete. Who lets it go has no interest in that any more. (A function of its
 * own, because one within `compileWith` would keep what that has, and so the module.)
 */
function followModule(follow, module) {
  const held = new WeakRef(module);
  follow(() => {
    const handle = held.deref();
    return handle === undefined ? GONE : native.moduleProgress(handle);
  });
}

/**
 * Has something done on other threads, and gives what comes of it: a handle or a message. `start` gets its number and
 * a function that stops it with a reason, and may return what is to be called at the end.
 */
async function beside(start) {
  if (last === 0) native.openCompiler(realm, deliver);
  const number = ++last;
  let end;
  try {
    return await new Promise((resolve, reject) => {
      underWay.set(number, resolve);
      end = start(number, (reason) => {
        if (!underWay.delete(number)) return;
        native.stopCompiling(realm, number);
        reject(reason);
      });
    });
  } finally {
    underWay.delete(number);
    end?.();
  }
}

/** Makes all of a module's code on other threads, and what the cache has of it. */
async function finish(module, what, onProgress = undefined) {
  const { handle } = partsOf(module, what);
  const result = await beside((number, stop) => {
    native.finishAsync(realm, number, handle);
    return follower(onProgress)?.(() => native.moduleProgress(handle), stop);
  });
  if (typeof result === 'string') throw coded(CompileError, 'ERR_WASI_COMPILE', `${what}: ${result}`);
}

/** How often somebody is told how far a compilation is, in milliseconds. */
const TOLD_EVERY = 100;

/** What is said of a module that nobody holds any more. */
const GONE = Symbol('gone');

/**
 * A function that follows a compilation for somebody who wants to be told when it has gone on. It takes what gives the
 * bytes that are done and all there are (null if they are not known), and perhaps what gets an error of who is told. It
 * returns what ends it.
 */
function follower(onProgress) {
  if (onProgress === undefined) return undefined;
  isOfType('function', onProgress, 'options.onProgress');
  let last = -1;
  return (ask, failed = undefined) => {
    const end = () => clearInterval(timer);
    const look = () => {
      const known = ask();
      if (known === null) return;
      if (known === GONE) return end();
      const [done, total] = known;
      if (done === total) end();
      if (done === last) return;
      last = done;
      try {
        onProgress({ done, total });
      } catch (error) {
        end();
        if (failed === undefined) throw error;
        failed(error);
      }
    };
    const timer = setInterval(look, TOLD_EVERY);
    timer.unref();
    look();
    return end;
  };
}

/** Compiles bytes on this thread. */
function compileSync(bytes, what, options = undefined, prototype = Module.prototype, forGuest = false) {
  const copied = toBytes(bytes, `${what}: Argument 0`);
  prepareThread();
  const handle = native.compile(realm, what, copied, countsFuel(options), usesCache(options), forGuest);
  return moduleFor(describeParts(handle), prototype);
}

/** The module in the file at an absolute path. Undefined if there is no file that can be read. */
function compileFileSync(path, what, options = undefined, forGuest = false) {
  prepareThread();
  const handle = native.compileFile(realm, what, path, countsFuel(options), usesCache(options), forGuest);
  return handle === null ? undefined : moduleFor(describeParts(handle));
}

/** Whether the module is to count its operators, for `limits.fuel`: our own option. */
function countsFuel(options) {
  checkOurKeys('compile', options, 'options');
  return Boolean(options?.fuel);
}

/**
 * Whether the code may come from the cache of this user, and go there. Where the permission model withholds
 * the directory there is none.
 */
function usesCache(options) {
  return (options?.cache ?? true) && cacheIsAllowed();
}

let allowed;
function cacheIsAllowed() {
  if (process.permission === undefined) return true;
  const directory = native.cacheDirectory(realm);
  allowed ??= ['fs.read', 'fs.write'].every((scope) => process.permission.has(scope, directory ?? undefined));
  return allowed;
}

function validate(bytes) {
  return native.validate(realm, toBytes(bytes, 'WebAssembly.validate(): Argument 0'));
}

module.exports = {
  Module,
  compile,
  compileFile,
  compileFileSync,
  compileSync,
  compileToParts,
  describeParts,
  finish,
  isModule,
  moduleFor,
  partsOf,
  validate,
};
