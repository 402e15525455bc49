'use strict';
// Compiling: what native code makes of bytes, on this thread or on others, and what it says of the result (its parts).
// A module of JavaScript's is made of that by module.js, for who has a use for one.

const { native, realm } = require('../native/binding');
const { CompileError, coded } = require('../util/errors');
const { checkOurKeys } = require('../util/keys');
const { isOfType } = require('../util/validate');
const { prepareThread } = require('../native/thread');

// Loaded where they are used: few modules define shared memories, and programs are mostly in files.
const shared = () => require('./shared');
const conversions = () => require('../util/conversions');

/** The parts of a module: `{handle, imports(), exports(), exportsMemory(), sharedMemories()}`. */
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

/** What to do with the results of compilations that are under way on other threads, by number. */
const underWay = new Map();
let last = 0;

function deliver(number, result) {
  const settled = underWay.get(number);
  underWay.delete(number);
  settled(result);
}

/**
 * Compiles bytes on other threads. They are copied before this returns. `until` is a promise: when it rejects the module
 * is not wanted any more, and what is returned rejects with it. `forGuest` tells that the module's shared memories are
 * to be ours.
 */
function compileBytes(bytes, what, options = undefined, until = undefined, forGuest = false) {
  const copied = conversions().toBytes(bytes, `${what}: Argument 0`);
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

/** Makes all code of the module with these parts on other threads, and what the cache has of it. */
async function finish({ handle }, what, onProgress = undefined) {
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
function compileBytesSync(bytes, what, options = undefined, forGuest = false) {
  const copied = conversions().toBytes(bytes, `${what}: Argument 0`);
  prepareThread();
  return describeParts(
    native.compile(realm, what, copied, countsFuel(options), usesCache(options), forGuest),
  );
}

/** The same of the file at an absolute path. Undefined if there is no file that can be read. */
function compileFileSync(path, what, options = undefined, forGuest = false) {
  prepareThread();
  const handle = native.compileFile(realm, what, path, countsFuel(options), usesCache(options), forGuest);
  return handle === null ? undefined : describeParts(handle);
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

module.exports = {
  compileBytes,
  compileBytesSync,
  compileFile,
  compileFileSync,
  describeParts,
  finish,
};
