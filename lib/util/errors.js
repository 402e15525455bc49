'use strict';
// The error classes of the package, and errors with codes.

// Loaded where it is used: when there is an error.
const webidl = () => require('./webidl');

/** A class like the native errors: callable without `new`, its name on the prototype. */
function errorClass(name) {
  const constructor = {
    [name]: function (message, options) {
      const target = new.target || constructor;
      const args = options === undefined ? [] : [options];
      const error = Reflect.construct(Error, [message, ...args], target);
      webidl().settle(error, target, constructor);
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

module.exports = { CompileError, Exit, LinkError, RuntimeError, coded, notStarted };
