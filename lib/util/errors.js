'use strict';
// The error classes of the WebAssembly namespace, and the errors that native code throws.

const { addFrames } = require('../native/stack');
const { settle } = require('./webidl');

/** A class like the native errors: callable without `new`, its name on the prototype. */
function errorClass(name) {
  const constructor = {
    [name]: function (message, options) {
      const target = new.target || constructor;
      const args = options === undefined ? [] : [options];
      const error = Reflect.construct(Error, [message, ...args], target);
      settle(error, target, constructor);
      Error.captureStackTrace(error, target);
      return error;
    },
  }[name];
  Object.setPrototypeOf(constructor, Error);
  const hidden = { writable: true, enumerable: false, configurable: true };
  const prototype = Object.create(Error.prototype, {
    constructor: { value: constructor, ...hidden },
    name: { value: name, ...hidden },
    message: { value: '', ...hidden },
  });
  Object.defineProperty(constructor, 'prototype', { value: prototype, writable: false });
  Object.defineProperty(constructor, 'length', { value: 1 });
  return constructor;
}

const CompileError = errorClass('CompileError');
const LinkError = errorClass('LinkError');
const RuntimeError = errorClass('RuntimeError');

/** What `proc_exit` throws. `WASI.start` turns it into its result. */
class Exit extends Error {
  constructor(exitCode) {
    super(`the WASI program called proc_exit(${exitCode})`);
    hide(this, 'ERR_WASI_EXIT');
    this.exitCode = exitCode;
  }
}

/** Gives an error a code that does not show among its properties: V8's errors have none. */
function hide(error, code) {
  const attributes = { value: code, writable: true, enumerable: false, configurable: true };
  return Object.defineProperty(error, 'code', attributes);
}

/** An error with a code of ours, or with one of Node's, which shows as it does there. */
function coded(Class, code, message) {
  const error = new Class(message);
  if (/^ERR_WASI_/.test(code)) return hide(error, code);
  error.code = code;
  return error;
}

/** What the functions of a `WASI` object say before it has started a program. */
function notStarted() {
  const text =
    'wasi.start() has not been called: a command is run by it, and wasi.initialize() makes a library ready';
  return coded(Error, 'ERR_WASI_NOT_STARTED', text);
}

/**
 * The errors that end a guest: no handler of wasm catches them, also when JavaScript between two
 * runs of wasm lets them pass.
 */
const uncatchable = new WeakSet();

function isUncatchable(value) {
  return typeof value === 'object' && value !== null && uncatchable.has(value);
}

/** What else native code throws is an answer to a call, as what JavaScript throws is. */
const CATCHABLE = ['compile', 'link', 'range', 'memory', 'option', 'file', 'not-started'];

/** Makes the errors that native code throws (src/node/failure.rs). */
function makeError(kind, message, frames) {
  const error = errorOf(kind, message, frames);
  if (!CATCHABLE.includes(kind)) uncatchable.add(error);
  return error;
}

function errorOf(kind, message, frames) {
  switch (kind) {
    case 'compile':
      return coded(CompileError, 'ERR_WASI_COMPILE', message);
    case 'link':
      return coded(LinkError, 'ERR_WASI_LINK', message);
    case 'runtime': {
      const error = coded(RuntimeError, 'ERR_WASI_TRAP', message);
      Error.captureStackTrace(error, makeError);
      return addFrames(error, frames);
    }
    case 'stack': {
      // The interface asks for the class, and people look for the text, of JavaScript's own.
      const text = 'Maximum call stack size exceeded';
      const error = coded(RangeError, 'ERR_WASI_TRAP', text);
      Error.captureStackTrace(error, makeError);
      return addFrames(error, frames);
    }
    case 'range':
      return coded(RangeError, 'ERR_WASI_RANGE', message);
    case 'limit':
      return coded(RangeError, 'ERR_WASI_LIMIT', message);
    case 'fuel': {
      const error = coded(RuntimeError, 'ERR_WASI_LIMIT', `${message} (limits.fuel)`);
      return addFrames(error, frames);
    }
    case 'memory':
      return coded(RangeError, 'ERR_WASI_RESOURCE', message);
    case 'resource':
      return coded(Error, 'ERR_WASI_RESOURCE', message);
    case 'busy':
      return coded(Error, 'ERR_WASI_BUSY', message);
    case 'closed':
      return coded(Error, 'ERR_WASI_CLOSED', message);
    case 'timeout':
      return coded(Error, 'ERR_WASI_TIMEOUT', 'the program did not end in time (options.timeout)');
    case 'exit':
      // As node:wasi has it: the i32 that the program passed.
      return new Exit(Number(message) | 0);
    case 'not-started':
      return notStarted();
    case 'option':
      return coded(Error, 'ERR_WASI_OPTION', message);
    case 'file':
      return coded(Error, message.slice(0, message.indexOf(':')), message);
    default:
      return coded(Error, 'ERR_WASI_INTERNAL', `a bug in wasi-native, please report it: ${message}`);
  }
}

module.exports = { CompileError, LinkError, RuntimeError, Exit, coded, isUncatchable, makeError, notStarted };
