'use strict';
// A library, which WASI calls a reactor, as its user wants it: its exports, its memory, and functions with
// strings and bytes.

const { exported } = require('../wasi/calls');
const { memoryOf } = require('../wasi/library');
const { Heap } = require('./heap');
const { typed } = require('./signature');

/**
 * The exports of an instance that `WASI.instantiate()` made, each under its name. Beside them, not enumerable
 * and before exports of these names:
 *
 * - `exports`: the exports alone
 * - `memory`: reading and writing its memory
 * - `fn(name, signature)`, `alloc(size)`, `free(address, size)`
 * - `close()`
 *
 * `names` tells which exports allocate and free.
 */
function reactor(instance, names, close) {
  const { exports, memory } = instance;
  const heap = new Heap(memoryOf(exports), exports, names);
  const beside = {
    exports,
    memory,
    fn(name, signature) {
      heap.check();
      return typed(heap, name, exported(exports, name), signature);
    },
    alloc: (size) => heap.allocate(size),
    free: (address, size = 0) => heap.free(address, size),
    close() {
      if (heap.closed) return;
      heap.closed = true;
      close();
    },
  };
  const library = { ...exports };
  const attributes = { writable: true, enumerable: false, configurable: true };
  for (const [name, value] of Object.entries(beside)) {
    Object.defineProperty(library, name, { value, ...attributes });
  }
  if (Symbol.dispose !== undefined) {
    Object.defineProperty(library, Symbol.dispose, { value: beside.close, ...attributes });
  }
  return library;
}

module.exports = { reactor };
