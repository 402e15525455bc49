'use strict';
// The errors that native code throws.

const { CompileError, Exit, LinkError, RuntimeError, coded, notStarted } = require('../util/errors');
const { addFrames } = require('./stack');

/** An answer to a call: handlers of wasm catch it, as they catch what JavaScript throws. */
const answer = (Class, code) => ({ isCatchable: true, make: (message) => coded(Class, code, message) });

/** What ends a guest: no handler of wasm catches it. */
const end = (Class, code, text = (message) => message) => ({
  isCatchable: false,
  make: (message) => coded(Class, code, text(message)),
});

/** The same, with wasm frames on its stack. */
const trap = (Class, code, text) => ({ ...end(Class, code, text), hasFrames: true });

/** The kinds of error that native code knows. */
const KINDS = {
  compile: answer(CompileError, 'ERR_WASI_COMPILE'),
  link: answer(LinkError, 'ERR_WASI_LINK'),
  range: answer(RangeError, 'ERR_WASI_RANGE'),
  memory: answer(RangeError, 'ERR_WASI_RESOURCE'),
  option: answer(Error, 'ERR_WASI_OPTION'),
  'not-started': { isCatchable: true, make: notStarted },
  file: {
    isCatchable: true,
    make: (message) => coded(Error, message.slice(0, message.indexOf(':')), message),
  },
  runtime: trap(RuntimeError, 'ERR_WASI_TRAP'),
  // The interface asks for the class, and people look for the text, of JavaScript's own.
  stack: trap(RangeError, 'ERR_WASI_TRAP', () => 'Maximum call stack size exceeded'),
  fuel: trap(RuntimeError, 'ERR_WASI_LIMIT', (message) => `${message} (limits.fuel)`),
  limit: end(RangeError, 'ERR_WASI_LIMIT'),
  resource: end(Error, 'ERR_WASI_RESOURCE'),
  busy: end(Error, 'ERR_WASI_BUSY'),
  closed: end(Error, 'ERR_WASI_CLOSED'),
  dead: end(Error, 'ERR_WASI_DEAD'),
  import: end(LinkError, 'ERR_WASI_IMPORT'),
  timeout: end(Error, 'ERR_WASI_TIMEOUT', () => 'the program did not end in time (options.timeout)'),
  // As node:wasi has it: the i32 that the program passed.
  exit: { isCatchable: false, make: (message) => new Exit(Number(message) | 0) },
  internal: end(
    Error,
    'ERR_WASI_INTERNAL',
    (message) => `a bug in wasi-native, please report it: ${message}`,
  ),
};

/** The errors that ended a guest. JavaScript between two runs of wasm may let them pass to a handler. */
const uncatchable = new WeakSet();

function isUncatchable(value) {
  return typeof value === 'object' && value !== null && uncatchable.has(value);
}

/** Makes an error; `frames` are the wasm frames of its stack, which begins below the function `top`. */
function makeError(kind, message, frames, top) {
  const { isCatchable, hasFrames, make } = KINDS[kind];
  const error = make(message);
  if (hasFrames) {
    Error.captureStackTrace(error, top);
    addFrames(error, frames);
  }
  if (!isCatchable) uncatchable.add(error);
  return error;
}

module.exports = { isUncatchable, makeError };
