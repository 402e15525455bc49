'use strict';
// V8's own WebAssembly, whatever the global of that name is by now.

/** The namespace, undefined in a process that has none (`--jitless`). */
function pristine() {
  const current = globalThis.WebAssembly;
  const isNative = (f) => /\[native code\]/.test(Function.prototype.toString.call(f));
  if (current === undefined || isNative(current.Memory)) return current;
  // A program that has put this package in its place may load it once more.
  return require('node:vm').runInNewContext('WebAssembly');
}

const v8 = pristine();

// Taken now: what a program does to the namespace later does not reach us.
const { Instance, Memory, Module } = v8 ?? {};

module.exports = {
  V8Instance: Instance,
  V8Memory: Memory,
  V8Module: Module,
  bufferOf: Memory && Object.getOwnPropertyDescriptor(Memory.prototype, 'buffer').get,
  growMemory: Memory?.prototype.grow,
  // Only newer versions have these.
  toFixedLength: Memory?.prototype.toFixedLengthBuffer,
  toResizable: Memory?.prototype.toResizableBuffer,
  importsOf: Module?.imports,
  sectionsOf: Module?.customSections,
};
