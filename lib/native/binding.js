'use strict';
// The edge to native code: all native calls of the package, the realm that this loading of it opens, and the
// argument window that both sides see. Nothing else looks at the addon.

const { addon } = require('./addon');
const { logCode } = require('./perf');

/** The native calls. Most take the realm first. */
const native = Object.freeze({
  // ---- modules
  compile: addon.compile, // Compiles bytes at once.
  compileFile: addon.compileFile, // The same of the bytes in a file; null if it cannot be read.
  validate: addon.validate, // Whether bytes are a module.
  openCompiler: addon.openCompiler, // Sets the function that is told of compilations on other threads.
  compileAsync: addon.compileAsync, // Compiles bytes on other threads, under a number.
  compileFileAsync: addon.compileFileAsync, // The same of the bytes in a file.
  compileProgress: addon.compileProgress, // How far such a compilation is: done and total.
  moduleProgress: addon.moduleProgress, // How far the code of a module is.
  finishAsync: addon.finishAsync, // Makes all code of a module on other threads, under a number.
  stopCompiling: addon.stopCompiling, // Nobody waits for the compilation with this number any more.
  cacheDirectory: addon.cacheDirectory, // Where compiled code is kept; null for nowhere.
  cachedModules: addon.cachedModules, // Of which modules it is: hash, paths, size, last use.
  serialize: addon.serialize, // A module and its code as bytes.
  deserialize: addon.deserialize, // The module of such bytes.
  imports: addon.imports, // The imports of a module, four strings each.
  exports: addon.exports, // The exports of a module, three strings each.
  customSections: addon.customSections, // Copies of the custom sections of a name.
  sharedMemories: addon.sharedMemories, // The limits of the shared memories that a module defines.
  memories: addon.memories, // The types of all memories of a module, five numbers each.
  features: addon.features, // The proposals that a module makes use of.
  hasStart: addon.hasStart, // Whether instantiating the module runs code of its own.
  countsFuel: addon.countsFuel, // Whether the module counts its operators.
  ownsSharedMemory: addon.ownsSharedMemory, // Whether the module's shared memories are ours and not V8's.
  carrierSections: addon.carrierSections, // The names of the sections by which a module of V8's stands for one of ours.
  carrierOf: addon.carrierOf, // The bytes of the module of V8's that stands for one of ours.
  carriedModule: addon.carriedModule, // The module of ours that such a one stands for.

  // ---- instances and functions
  instantiate: addon.instantiate, // Makes an instance: its handle, and what it exports.
  programLimits: addon.programLimits, // What all instances of one program may have together.
  programMemory: addon.programMemory, // A shared memory for a program and its threads.
  openTeam: addon.openTeam, // The threads of a program on this thread, and the function that starts them.
  beginTeam: addon.beginTeam, // The program begins to run.
  endTeam: addon.endTeam, // It has ended: so do its threads.
  closeInstance: addon.closeInstance, // Gives the memories of an instance back.
  keepInstance: addon.keepInstance, // Notes what an instance is now, for `resetInstance`.
  resetInstance: addon.resetInstance, // Makes an instance what it was when it was noted.
  hostFunction: addon.hostFunction, // Makes a function of wasm's from a shim.
  describeFunction: addon.describeFunction, // The signature of the function at an address, and its index.
  linkFunctions: addon.linkFunctions, // Makes one group of the groups of two functions.

  // ---- memories, tables, globals, tags
  createMemory: addon.createMemory, // Makes a memory: its address and handle.
  growMemory: addon.growMemory, // Grows a memory by pages.
  memoryBuffer: addon.memoryBuffer, // The ArrayBuffer over a memory.
  locksBuffers: addon.locksBuffers, // Whether nobody can take such a buffer away.
  memorySize: addon.memorySize, // How many bytes a memory has.
  readMemory: addon.readMemory, // A copy of bytes of a memory.
  writeMemory: addon.writeMemory, // Copies bytes into a memory.
  createTable: addon.createTable, // Makes a table of the value in the window.
  tableSize: addon.tableSize, // How many elements a table has.
  tableGet: addon.tableGet, // Puts an element into the window.
  tableSet: addon.tableSet, // Sets an element to the value in the window.
  growTable: addon.growTable, // Grows a table by elements that are the value in the window.
  createGlobal: addon.createGlobal, // Makes a global of the value in the window.
  globalGet: addon.globalGet, // Puts the value of a global into the window.
  globalSet: addon.globalSet, // Sets a global to the value in the window.
  createTag: addon.createTag, // Makes a tag whose parameters have these letters.
  objectType: addon.objectType, // The type of a memory, table, global or tag, in letters.

  // ---- shared memories
  adoptMemory: addon.adoptMemory, // A memory over bytes of V8's.
  knowsMemory: addon.knowsMemory, // Whether there is a memory over these bytes of V8's.
  followMemory: addon.followMemory, // Notes that V8 may have made a memory larger.
  ownShared: addon.ownShared, // The limits of a shared memory whose bytes are not V8's.

  // ---- values, exceptions, stacks
  referenceType: addon.referenceType, // What a letter stands for that native code gave out.
  referenceFits: addon.referenceFits, // Whether the function at an address is of the type with this letter.
  liveReferences: addon.liveReferences, // How many words were looked at, and the numbers of the host values that wasm holds.
  handleExceptions: addon.handleExceptions, // Sets the functions that say what an exception is at the other side.
  exceptionValue: addon.exceptionValue, // Puts a value that an exception carries into the window.
  isInWasm: addon.isInWasm, // Whether wasm of this realm is on the stack.
  captureFrames: addon.captureFrames, // The wasm frames that are on the stack.
  framesText: addon.framesText, // Their lines, as V8 writes them.

  // ---- what a call may take
  beginBudget: addon.beginBudget, // Begins the budget of a call: milliseconds, and fuel.
  spendBudget: addon.spendBudget, // Ends the call of a budget.
  endBudget: addon.endBudget, // The call is over: whether its budget was spent.

  // ---- WASI
  wasiFunctions: addon.wasiFunctions, // Module, name and signature of all WASI functions.
  wasiTemplate: addon.wasiTemplate, // What the programs of a `WASI` object are made of.
  checkTemplate: addon.checkTemplate, // Throws if no program can be made of a template with these options.
  openedPaths: addon.openedPaths, // Where the directories of a template lie.
  closeTemplate: addon.closeTemplate, // Closes the directories and sockets of a template.
  wasiContext: addon.wasiContext, // Makes a program.
  wasiCaller: addon.wasiCaller, // The function by which JavaScript calls the WASI functions of a program.
  wasiImport: addon.wasiImport, // A WASI function of a program, as an import.
  wasiGrants: addon.wasiGrants, // A letter for each WASI function that says what a program is granted.
  wasiReport: addon.wasiReport, // What a program would be granted of these imports, in words.
  wasiLink: addon.wasiLink, // Lets a program hand descriptors to another one.
  holdWasi: addon.holdWasi, // Sets whether the functions refuse calls because the program has not started.
  wasiExitCode: addon.wasiExitCode, // What a program gave to `proc_exit`.
  closeWasi: addon.closeWasi, // Closes the descriptors of a program.
  takeOutput: addon.takeOutput, // Takes what was captured of a program's output.
  peekOutput: addon.peekOutput, // The same, and leaves it there.
  traceLines: addon.traceLines, // Makes a list for the lines of a trace.
  takeTraceLines: addon.takeTraceLines, // Takes what is in such a list.
  descriptorPath: addon.descriptorPath, // Where the file of a descriptor lies.
  pipe: addon.pipe, // Makes a pipe: the descriptors of both ends.
  closePipe: addon.closePipe, // Closes an end of a pipe.
  pipePending: addon.pipePending, // How many bytes wait in a pipe; -1 if it has ended.
  memoryFs: addon.memoryFs, // Makes a file system in memory.
  memoryFsRead: addon.memoryFsRead, // A copy of a file of one.
  memoryFsWrite: addon.memoryFsWrite, // Writes a file of one.
  memoryFsRemove: addon.memoryFsRemove, // Removes a file of one.
  memoryFsPaths: addon.memoryFsPaths, // The paths of one.
  memoryFsUsed: addon.memoryFsUsed, // How many bytes of its quota are used.

  // ---- guests on threads of their own
  openThreads: addon.openThreads, // Sets the function that is told of what happens to guests.
  startThread: addon.startThread, // Starts a guest.
  stopThread: addon.stopThread, // Ends a guest, whatever it does.
  callThread: addon.callThread, // Asks a guest for a call, with arguments in the window.
  cancelCall: addon.cancelCall, // Ends a call or reset of a guest.
  replyToThread: addon.replyToThread, // Answers an import of a guest, with results in the window.
  resetThread: addon.resetThread, // Asks a guest for a reset.
  threadFuel: addon.threadFuel, // What is left of a guest's fuel.
  sweepThread: addon.sweepThread, // Asks a guest which host values it holds.
  threadMemorySize: addon.threadMemorySize, // How many bytes a guest's memory has.
  readThreadMemory: addon.readThreadMemory, // A copy of bytes of a guest's memory.
  writeThreadMemory: addon.writeThreadMemory, // Copies bytes into a guest's memory.
  holdEventLoop: addon.holdEventLoop, // Sets whether guests keep the event loop running.

  // ---- seeing inside
  wasiMetrics: addon.wasiMetrics, // What the programs of a template have taken.
  compileMetrics: addon.compileMetrics, // What it took to make the modules of this process.
  logCode: addon.logCode, // Tells Linux's perf of all code from now on.
  startProfile: addon.startProfile, // Samples all guests from now on, at an interval of microseconds.
  stopProfile: addon.stopProfile, // What was sampled since.

  // ---- native modules
  isNapiGuest: addon.isNapiGuest, // Whether a module is a Node-API guest.
  guestFunctions: addon.guestFunctions, // The functions that guests are served, with their parameters.
  loadGuest: addon.loadGuest, // What a guest becomes: its exports, and a handle.
  closeGuest: addon.closeGuest, // Closes a guest; false while it runs.
  keepGuests: addon.keepGuests, // Keeps what was compiled for guests; the process is about to end.

  // ---- the realm
  followStack: addon.followStack, // Lets JavaScript that wasm calls have the whole stack of the main thread.
  endWithWorker: addon.endWithWorker, // Lets the end of a Worker end its wasm.
});

/** Makes the errors that native code throws. How is loaded for the first one. */
function makeError(kind, message, frames) {
  return require('./errors').makeError(kind, message, frames, makeError);
}

logCode(addon);
const { realm, window, offset, slots, call, constants } = addon.open(makeError);
const bytes = window.byteLength - offset;
const length = bytes - (bytes % 16);

/** `handlers`, an object with a function for each of `names`, as a list in the order of the names. */
function inOrder(names, handlers) {
  return names.map((name) => {
    if (!Object.hasOwn(handlers, name))
      throw new Error(`the addon is of another version: what is "${name}"?`);
    return handlers[name];
  });
}

module.exports = {
  inOrder,
  native,
  realm,
  /** What native code and this side call by the same letters and numbers. */
  constants,
  /** Calls the function whose address is in the target slot. */
  call,
  /** The window's views. A slot has 16 bytes, its value in the low ones. */
  i32: new Int32Array(window, offset, length / 4),
  i64: new BigInt64Array(window, offset, length / 8),
  f32: new Float32Array(window, offset, length / 4),
  f64: new Float64Array(window, offset, length / 8),
  /** The slot after those of arguments and results. */
  TARGET: slots,
};
