'use strict';
// The WASI functions of a program as JavaScript has them, and how linking recognises them.

const { native } = require('./binding');
const { wasiFunction } = require('./functions');
const { EXTENSIONS } = require('./wasi-modules');

/** Module, name and signature of each WASI function, in the order of their numbers. */
let described;

/** Which functions are WASI's, and of which context: an instance of ours binds them natively. */
const functions = new WeakMap();

/** Of which context and module an object of imports is, to tell why one is not in it. */
const importObjects = new WeakMap();

/**
 * Puts what a context grants of each module of `places` into the object that is there. `view` gives
 * the memory's bytes; `after(name)`, if it gives a function, has that called after each call of the
 * function with this name.
 */
function addFunctions(realm, context, places, { view, after, limits, threads }) {
  const call = native.wasiCaller(realm, context);
  described ??= native.wasiFunctions(realm);
  const grants = native.wasiGrants(context);
  described.forEach(([module, name, signature], number) => {
    if (places[module] === undefined || grants[number] === 'r') return;
    const called = wasiFunction(name, signature, { number, call, view });
    const then = after(name);
    const given = then === undefined ? called : followed(called, then);
    functions.set(given, { context, module, name, limits, threads, isDirect: then === undefined });
    places[module][name] = given;
  });
  for (const [module, place] of Object.entries(places)) {
    importObjects.set(place, { context, module, limits, threads });
  }
}

/**
 * A WASI function after which another one is called, also after `proc_exit`. What that throws goes
 * to the caller like what any imported function throws, so it ends the program. It is called from
 * here rather than from native code, which holds the guest's memory.
 */
function followed(called, then) {
  return (...args) => {
    try {
      return called(...args);
    } finally {
      then();
    }
  };
}

/**
 * The imports of a `WASI` object with those that a user gives beside them. The user's functions of a module
 * of WASI come before ours, one by one.
 */
function withOurs(ours, given) {
  const both = { ...ours, ...given };
  // The extensions are not enumerable where none are granted, but linking looks at them to say why.
  for (const module of [...Object.keys(ours), EXTENSIONS]) {
    const fields = given[module];
    if (typeof fields !== 'object' || fields === null) {
      if (fields === undefined) both[module] = ours[module];
      continue;
    }
    both[module] = Object.assign(Object.create(ours[module]), fields);
    importObjects.set(both[module], importObjects.get(ours[module]));
  }
  return both;
}

/**
 * `{context, module, name, limits, threads, isDirect}` of a WASI function of ours, the last telling whether
 * native code may call it by itself; undefined for any other value.
 */
function wasiFunctionParts(value) {
  return functions.get(value);
}

/** Has a function of JavaScript stand where one of ours did: threads, which cannot call it, call ours. */
function standFor(given, ours) {
  const parts = functions.get(ours);
  if (parts !== undefined) functions.set(given, { ...parts, isDirect: false });
  return given;
}

/** `{context, module, limits, threads}` of the imports of a WASI object; undefined for any other object. */
function wasiImportsParts(value) {
  return importObjects.get(value);
}

module.exports = {
  addFunctions,
  standFor,
  wasiFunctionParts,
  wasiImportsParts,
  withOurs,
};
