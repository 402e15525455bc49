'use strict';
// The wasm frames in the stacks of JavaScript's errors. V8 sees of wasm only the glue between the two
// (wrappers.js): a wrapper where JavaScript calls wasm, a shim where wasm calls JavaScript. So the
// text of a stack gets the frames of each entry into wasm in the place of the glue around it.
//
// V8 writes the text when it is first asked for, and the frames must be known by then:
// - of a trap, native code tells them with it (errors.js);
// - of an error that leaves an import they are noted where it enters wasm (exception.js), and put in
//   where it leaves wasm;
// - of an error whose stack is read inside an import they are those of the moment, for which
//   `Error.prepareStackTrace` is ours as long as wasm is on the stack.

const path = require('node:path');
const { isNativeError } = require('node:util').types;

/** The script names of the wrappers that wrappers.js compiles. */
const SCRIPTS = { export: 'wasi-native/export/', import: 'wasi-native/import/', wasi: 'wasi-native/wasi/' };

/** The files of dist/ with the glue that is not compiled, and how its shims are called there. */
const GLUE = ['native.js', 'edge.js'].map((file) => path.join(__dirname, file));
const SHIM = 'importedFunction';

/** The line of a compiled wrapper that calls wasm, by the wrapper's number of lines before it. */
const CALLS = new Set();

/** Tells that compiled wrappers call wasm in this line. */
function callsInLine(line) {
  CALLS.add(line);
}

const FRAME = /^ {4}at /;

/**
 * What a line of a stack is: `enter` for a wrapper that has called wasm, `leave` for a shim that wasm
 * has called, `glue` for what else is ours, undefined for any other.
 */
function kindOf(line) {
  if (!FRAME.test(line)) return undefined;
  const compiled = line.indexOf(SCRIPTS.export);
  if (compiled >= 0) {
    // Converting an argument may run JavaScript, too, and there is no wasm in between.
    const place = /:(\d+):\d+\)?$/.exec(line);
    return place === null || CALLS.has(Number(place[1])) ? 'enter' : 'glue';
  }
  if (line.includes(SCRIPTS.import)) return 'leave';
  if (line.includes(SCRIPTS.wasi)) return 'glue';
  if (GLUE.some((file) => line.includes(file))) {
    if (line.includes(`${SHIM} (`)) return 'leave';
    // Wrappers are called by the number of their function.
    return /^ {4}at (\S+\.)?\d+ \(/.test(line) ? 'enter' : 'glue';
  }
  // Bun has a line for native functions.
  return /^ {4}at call \((unknown|native)\)$/.test(line) ? 'glue' : undefined;
}

/** The lines for each entry into wasm, the innermost first, of what native code tells. */
function entriesOf(frames) {
  const entries = [[]];
  for (const line of frames.trimEnd().split('\n')) {
    if (line === '') entries.push([]);
    else entries[entries.length - 1].push(line);
  }
  return entries;
}

/**
 * The text of a stack with the wasm frames in it, as many lines as `Error.stackTraceLimit` says. With
 * `inWasm` the error is of the innermost entry itself, which may have no wrapper: that of a start
 * function, or on another thread.
 */
function withFrames(text, frames, inWasm) {
  const lines = text.split('\n');
  const first = lines.findIndex((line) => FRAME.test(line));
  const atTop = inWasm && kindOf(lines[first] ?? '') === undefined;
  if (!atTop && lines.every((line) => kindOf(line) === undefined)) return text;
  const entries = entriesOf(frames);
  if (atTop) lines.splice(first < 0 ? lines.length : first, 0, ...entries.shift());
  const kinds = lines.map(kindOf);
  // An error made in an entry that is over: what is known is of the outer ones.
  const entered = kinds.filter((kind) => kind === 'enter').length;
  entries.unshift(...Array(Math.max(0, entered - entries.length)).fill([]));

  const merged = [];
  let left = false;
  let converting = false;
  lines.forEach((line, k) => {
    switch (kinds[k]) {
      case 'leave':
        left = true;
        converting = false;
        break;
      case 'glue':
        converting ||= line.includes('convertAll');
        break;
      case 'enter':
        // As above, for the wrappers that are not compiled.
        if (!converting) merged.push(...(entries.shift() ?? []));
        left = converting = false;
        break;
      default:
        if (left) merged.push(...(entries.shift() ?? []));
        left = converting = false;
        merged.push(line);
    }
  });
  if (left) merged.push(...(entries.shift() ?? []));

  const limit = Error.stackTraceLimit;
  if (typeof limit !== 'number') return merged.join('\n');
  const start = merged.findIndex((line) => FRAME.test(line));
  return start < 0 ? merged.join('\n') : merged.slice(0, start + Math.max(0, limit)).join('\n');
}

/** Puts wasm frames into the stack of an error, if it has one that can be read. */
function addFrames(error, frames, inWasm = true) {
  let stack;
  try {
    ({ stack } = error);
  } catch {
    // The program's own hook threw, which is no reason for another error than this one.
  }
  if (typeof stack !== 'string') return error;
  const value = withFrames(stack, frames, inWasm);
  if (value !== stack) Object.defineProperty(error, 'stack', { value, writable: true, configurable: true });
  return error;
}

/** The wasm frames of the moment in which an error entered wasm. */
const noted = new WeakMap();

/** Notes them for what JavaScript has thrown to wasm. */
function note({ native, realm }, value) {
  if (isNativeError(value) && !noted.has(value)) noted.set(value, native.captureFrames(realm));
}

/** Puts them in when it has left the last wasm. */
function left({ native, realm }, value) {
  const frames = isNativeError(value) ? noted.get(value) : undefined;
  if (frames === undefined || native.isInWasm(realm)) return value;
  noted.delete(value);
  return addFrames(value, native.framesText(frames), false);
}

let watching = false;

/** From now on the stack of an error that is read inside an import has wasm frames. */
function watch({ native, realm }) {
  if (watching) return;
  watching = true;
  // It writes stacks when errors are made, and asks nobody then.
  if (process.versions.bun !== undefined) return;
  const before = Object.getOwnPropertyDescriptor(Error, 'prepareStackTrace');
  if (before?.configurable === false || !Object.isExtensible(Error)) return;

  /** The program's own. */
  let hook = before?.value;
  const current = () => (before?.get === undefined ? hook : before.get.call(Error));
  /** The program's by ours, which it may have read to put it back later. */
  const behind = new WeakMap();

  function ours(hook) {
    const prepare = (error, trace) => {
      const text = typeof hook === 'function' ? hook.call(Error, error, trace) : asNode(error, trace);
      if (typeof text !== 'string') return text;
      const frames = noted.get(error) ?? native.captureFrames(realm);
      return withFrames(text, native.framesText(frames), false);
    };
    behind.set(prepare, hook);
    return prepare;
  }

  const accessors = {
    get prepareStackTrace() {
      const hook = current();
      if (!native.isInWasm(realm)) return hook;
      // What Node itself does with source maps cannot be had otherwise.
      return typeof hook !== 'function' && process.sourceMapsEnabled ? hook : ours(hook);
    },
    set prepareStackTrace(value) {
      const own = behind.has(value) ? behind.get(value) : value;
      if (before?.set === undefined) hook = own;
      else before.set.call(Error, own);
    },
  };
  const { get, set } = Object.getOwnPropertyDescriptor(accessors, 'prepareStackTrace');
  Object.defineProperty(Error, 'prepareStackTrace', { get, set, enumerable: false, configurable: true });
}

/** The text that Node writes. */
function asNode(error, trace) {
  const head = isOfNode(error)
    ? `${error.name} [${error.code}]: ${error.message}`
    : Error.prototype.toString.call(error);
  return trace.length === 0 ? head : `${head}\n    at ${trace.join('\n    at ')}`;
}

/** Whether Node made the error: then its text begins with its code, too. */
function isOfNode(error) {
  for (let object = error; object !== null; object = Object.getPrototypeOf(object)) {
    const symbols = Object.getOwnPropertySymbols(object);
    if (symbols.some(({ description }) => description === 'kIsNodeError')) return true;
  }
  return false;
}

module.exports = { SCRIPTS, SHIM, addFrames, callsInLine, left, note, watch };
