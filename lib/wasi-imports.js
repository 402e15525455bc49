'use strict';
// The WASI functions of a program as JavaScript has them, and how linking recognises them.

const { native } = require('./binding');
const { wasiFunction } = require('./functions');

/** The module of WASI functions for each version. */
const MODULES = { preview1: 'wasi_snapshot_preview1', unstable: 'wasi_unstable' };

const EXTENSIONS = 'wasi_native_ext';

/** Module, name and signature of each WASI function, in the order of their numbers. */
let described;

/** Which functions are WASI's, and of which context: an instance of ours binds them natively. */
const functions = new WeakMap();

/** Of which context and module an object of imports is, to tell why one is not in it. */
const importObjects = new WeakMap();

/**
 * Puts what a context grants of each module of `places` into the object that is there. `view` gives
 * the memory's bytes; `tell`, if given, is called after each call.
 */
function addFunctions(realm, context, places, { view, tell, limits }) {
  const call = native.wasiCaller(realm, context);
  described ??= native.wasiFunctions();
  const grants = native.wasiGrants(context);
  described.forEach(([module, name, signature], number) => {
    if (places[module] === undefined || grants[number] === 'r') return;
    const called = wasiFunction(name, signature, { number, call, view });
    if (tell === undefined) functions.set(called, { context, module, name, limits });
    places[module][name] = tell === undefined ? called : traced(called, tell);
  });
  for (const [module, place] of Object.entries(places)) {
    importObjects.set(place, { context, module });
  }
}

/**
 * A WASI function that tells of each call when it has ended, also by `proc_exit`. What the
 * callback throws goes to the caller like what any imported function throws, so it ends the
 * program. It is called from here rather than from native code, which holds the guest's memory.
 */
function traced(called, tell) {
  return (...args) => {
    try {
      return called(...args);
    } finally {
      tell();
    }
  };
}

/** `{context, module, name, limits}` of a WASI function of ours; undefined for any other value. */
function wasiFunctionParts(value) {
  return functions.get(value);
}

/** `{context, module}` of the imports of a WASI object; undefined for any other object. */
function wasiImportsParts(value) {
  return importObjects.get(value);
}

module.exports = { EXTENSIONS, MODULES, addFunctions, wasiFunctionParts, wasiImportsParts };
