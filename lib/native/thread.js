'use strict';
// What the thread that wasm is going to run on has to know of it.

const { native, realm } = require('./binding');

let isReady = false;

/** Must be called before anything is compiled or run on this thread. */
function prepareThread() {
  if (isReady) return;
  isReady = true;
  // Bun's threads end in their own way, and it has no V8.
  if (process.versions.bun !== undefined) return;
  const { isMainThread } = require('node:worker_threads');
  if (isMainThread) native.followStack(realm, stackSize());
  else native.endWithWorker(realm, () => {});
}

/** The kilobytes of stack that V8 uses in the main thread. */
function stackSize() {
  const given = process.execArgv.join(' ').match(/--stack[-_]size[= ](\d+)(?!.*--stack[-_]size)/);
  return given === null ? 984 : Number(given[1]);
}

module.exports = { prepareThread };
