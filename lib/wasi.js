'use strict';
// WASI: node:wasi's class over our host.

const { native, realm } = require('./binding');
const { Exit, coded } = require('./errors');
const { wasiFunction } = require('./functions');
const { memoryParts } = require('./memory');
const check = require('./validate');

const MODULES = { preview1: 'wasi_snapshot_preview1', unstable: 'wasi_unstable' };

/** The name and signature of each WASI function. */
let described;

/** Which functions are WASI's, and of which context: an instance of ours binds them natively. */
const functions = new WeakMap();

/** The `buffer` of V8's memories, as it was before anyone could replace the namespace. */
const v8Buffer =
  typeof WebAssembly === 'object'
    ? Object.getOwnPropertyDescriptor(WebAssembly.Memory.prototype, 'buffer').get
    : undefined;

class WASI {
  #moduleName;
  #returnOnExit = true;
  #started = false;
  #memory = null;
  /** The bytes of the memory, made anew when its buffer is. */
  #view = null;

  constructor(options = {}) {
    check.isObject(options, 'options');
    const parsed = parse(options);
    this.#moduleName = MODULES[options.version];
    this.#returnOnExit = parsed.returnOnExit;
    const context = native.wasiContext(realm, parsed.native);
    const call = native.wasiCaller(realm, context);
    const view = () => this.#bytes();
    this.wasiImport = {};
    (described ??= native.wasiFunctions()).forEach(([name, signature], number) => {
      const called = wasiFunction(name, signature, { number, call, view });
      functions.set(called, { context, name });
      this.wasiImport[name] = called;
    });
    if (!this.#returnOnExit) {
      // The process ends in the call itself, before any JavaScript could catch it.
      this.wasiImport.proc_exit = (code) => process.exit(code);
    }
  }

  /** The imports that a WASI module asks for. */
  getImportObject() {
    return { [this.#moduleName]: this.wasiImport };
  }

  /** Runs a command's `_start` and returns its exit code. */
  start(instance) {
    const exports = this.#bind(instance);
    const { _start, _initialize } = exports;
    check.isOfType('function', _start, 'instance.exports._start');
    check.isUndefined(_initialize, 'instance.exports._initialize');
    return this.#run(_start);
  }

  /** Runs a reactor's `_initialize`, if it has one; its exports may be called from then on. */
  initialize(instance) {
    const exports = this.#bind(instance);
    const { _start, _initialize } = exports;
    check.isUndefined(_start, 'instance.exports._start');
    if (_initialize !== undefined) {
      check.isOfType('function', _initialize, 'instance.exports._initialize');
      this.#run(_initialize);
    }
  }

  #bind(instance) {
    if (this.#started) {
      const text = 'WASI instance has already started';
      throw coded(Error, 'ERR_WASI_ALREADY_STARTED', text);
    }
    this.#started = true;
    check.isObject(instance, 'instance');
    check.isObject(instance.exports, 'instance.exports');
    const { memory } = instance.exports;
    if (memoryParts(memory) === undefined && !isV8Memory(memory)) {
      throw check.invalidType('instance.exports.memory', 'a WebAssembly.Memory object', memory);
    }
    this.#memory = memory;
    return instance.exports;
  }

  #run(entry) {
    try {
      entry();
    } catch (error) {
      if (!(error instanceof Exit)) throw error;
      return error.exitCode;
    }
    return 0;
  }

  /** The bytes that the functions work on when JavaScript or an instance of V8's calls them. */
  #bytes() {
    if (this.#memory === null) {
      throw coded(Error, 'ERR_WASI_NOT_STARTED', 'wasi.start() has not been called');
    }
    const { buffer } = this.#memory;
    if (this.#view === null || this.#view.buffer !== buffer) this.#view = new Uint8Array(buffer);
    return this.#view;
  }
}

function isV8Memory(value) {
  try {
    v8Buffer.call(value);
    return true;
  } catch {
    return false;
  }
}

/** Checks the options in node:wasi's order and gives them the form that native code takes. */
function parse(options) {
  const { version } = options;
  check.isOfType('string', version, 'options.version');
  if (!Object.hasOwn(MODULES, version)) {
    throw check.invalidValue('options.version', version, 'unsupported WASI version');
  }
  const args = options.args ?? [];
  if (options.args !== undefined) check.isArray(options.args, 'options.args');
  const env = [];
  if (options.env !== undefined) {
    check.isObject(options.env, 'options.env');
    for (const [name, value] of Object.entries(options.env)) {
      if (value !== undefined) env.push(name, `${value}`);
    }
  }
  const preopens = [];
  if (options.preopens !== undefined) {
    check.isObject(options.preopens, 'options.preopens');
    for (const [guest, host] of Object.entries(options.preopens)) preopens.push(guest, `${host}`);
  }
  const { stdin = 0, stdout = 1, stderr = 2, returnOnExit = true } = options;
  check.isDescriptor(stdin, 'options.stdin');
  check.isDescriptor(stdout, 'options.stdout');
  check.isDescriptor(stderr, 'options.stderr');
  check.isOfType('boolean', returnOnExit, 'options.returnOnExit');
  const stdio = [stdin, stdout, stderr];
  return { returnOnExit, native: { args: Array.from(args, String), env, preopens, stdio } };
}

/** `{context, name}` of a WASI function of ours; undefined for any other value. */
function wasiFunctionParts(value) {
  return functions.get(value);
}

module.exports = { WASI, wasiFunctionParts };
