'use strict';
// What the thread that wasm is going to run on has to know of it.

const { native, realm } = require('./binding');

let isReady = false;

/** Must be called before anything is compiled or run on this thread. */
function prepareThread() {
  if (isReady) return;
  isReady = true;
  if (isWorker()) native.endWithWorker(realm, () => {});
  // Bun has no V8.
  else if (process.versions.bun === undefined) native.followStack(realm, stackSize());
}

/** Node has this mark in Workers. To load `node:worker_threads` for it would take longer than all else here. */
function isWorker() {
  if (process.versions.bun === undefined) return process.chdir.disabled === true;
  return !require('node:worker_threads').isMainThread;
}

/** The kilobytes of stack that V8 uses in the main thread. */
function stackSize() {
  const given = process.execArgv.join(' ').match(/--stack[-_]size[= ](\d+)(?!.*--stack[-_]size)/);
  return given === null ? 984 : Number(given[1]);
}

module.exports = { prepareThread };
