'use strict';
// Which instance calls an import.

const { AsyncLocalStorage } = require('node:async_hooks');

/**
 * The import under way in this asynchronous context, of an instance on a thread of its own:
 * `{guest, number, isOpen}`.
 */
const within = new AsyncLocalStorage();

/** The owner of the import that runs now for an instance on this thread (see `Linking`). */
const here = { owner: undefined };

/**
 * The instance whose wasm called the imported function that runs now; undefined outside of one. For an
 * instance with a thread of its own it is so until the promise of the function settles, and in what
 * the function began; for one on this thread until the function returns.
 */
function caller() {
  // An import on this thread's stack is further in than one that waits.
  return (here.owner ?? within.getStore()?.guest)?.instance;
}

module.exports = { caller, here, within };
