'use strict';
// WASI: node:wasi's class over our host.

const { native, realm } = require('./binding');
const { Exit, coded } = require('./errors');
const { wasiFunction } = require('./functions');
const { memoryParts } = require('./memory');
const { isModule, partsOf } = require('./module');
const { MODULES, parse } = require('./options');
const check = require('./validate');

const EXTENSIONS = 'wasi_native_ext';

/** Module, name and signature of each WASI function, in the order of their numbers. */
let described;

/** Which functions are WASI's, and of which context: an instance of ours binds them natively. */
const functions = new WeakMap();

/** Of which context and module an object of imports is, to tell why one is not in it. */
const importObjects = new WeakMap();

/** The `buffer` of V8's memories, as it was before anyone could replace the namespace. */
const v8Buffer =
  typeof WebAssembly === 'object'
    ? Object.getOwnPropertyDescriptor(WebAssembly.Memory.prototype, 'buffer').get
    : undefined;
const v8Imports = typeof WebAssembly === 'object' ? WebAssembly.Module.imports : undefined;

class WASI {
  #context;
  #moduleName;
  #extensions = {};
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
    const lines = parsed.trace === undefined ? undefined : native.traceLines();
    this.#context = native.wasiContext(realm, parsed.native, parsed.memories, lines);
    this.wasiImport = {};
    this.#addFunctions(parsed.trace && teller(parsed.trace, lines));
  }

  /** Puts what the program is granted into `wasiImport` and the extensions. */
  #addFunctions(tell) {
    const context = this.#context;
    const call = native.wasiCaller(realm, context);
    const view = () => this.#bytes();
    const places = { [this.#moduleName]: this.wasiImport, [EXTENSIONS]: this.#extensions };
    described ??= native.wasiFunctions();
    const grants = native.wasiGrants(context);
    described.forEach(([module, name, signature], number) => {
      if (places[module] === undefined || grants[number] === 'r') return;
      const called = wasiFunction(name, signature, { number, call, view });
      if (tell === undefined) functions.set(called, { context, module, name });
      places[module][name] = tell === undefined ? called : traced(called, tell);
      if (name === 'proc_exit' && grants[number] === 'g' && !this.#returnOnExit) {
        // The process ends in the call itself, before any JavaScript could catch it.
        places[module][name] = (code) => process.exit(code);
      }
    });
    for (const [module, place] of Object.entries(places)) {
      importObjects.set(place, { context, module });
    }
  }

  /** The imports that a WASI module asks for. */
  getImportObject() {
    const imports = { [this.#moduleName]: this.wasiImport };
    // As in node:wasi there is nothing else to see, unless it was asked for. It is there all the
    // same: so that linking can say what is not granted.
    const enumerable = Object.keys(this.#extensions).length > 0;
    Object.defineProperty(imports, EXTENSIONS, { value: this.#extensions, enumerable });
    return imports;
  }

  /** What a module asks for: what of it this program is granted, what not, and what is not ours. */
  capabilities(module) {
    const what = 'WASI.capabilities()';
    const imports = isV8Module(module) ? v8Imports(module) : partsOf(module, what).imports();
    const wanted = imports.filter(({ kind }) => kind === 'function');
    const pairs = wanted.flatMap(({ module, name }) => [module, name]);
    const grants = native.wasiReport(this.#context, pairs);
    const report = { granted: [], refused: [], stubbed: [], unknown: [] };
    wanted.forEach(({ module, name }, index) => {
      const ours = module === this.#moduleName || module === EXTENSIONS;
      report[ours ? grants[index] : 'unknown'].push(`${module}.${name}`);
    });
    return report;
  }

  /**
   * Lets this program hand descriptors to the one of `other`, which it knows by `name`. Neither is
   * kept alive by it: who has no program that runs has no use for descriptors.
   */
  link(name, other) {
    check.isOfType('string', name, 'name');
    if (typeof other !== 'object' || other === null || !(#context in other)) {
      throw check.invalidType('other', 'an instance of WASI', other);
    }
    native.wasiLink(this.#context, name, other.#context);
  }

  /** Runs a command's `_start` and returns its exit code. */
  start(instance) {
    this.finalizeBindings(instance);
    const { _start, _initialize } = instance.exports;
    check.isOfType('function', _start, 'instance.exports._start');
    check.isUndefined(_initialize, 'instance.exports._initialize');
    try {
      _start();
    } catch (error) {
      if (!(error instanceof Exit)) throw error;
      return error.exitCode;
    }
    return 0;
  }

  /** Runs a reactor's `_initialize`, if it has one; its exports may be called from then on. */
  initialize(instance) {
    this.finalizeBindings(instance);
    const { _start, _initialize } = instance.exports;
    check.isUndefined(_start, 'instance.exports._start');
    if (_initialize === undefined) return;
    check.isOfType('function', _initialize, 'instance.exports._initialize');
    // A reactor that exits instead of becoming ready has failed, so `Exit` goes to the caller.
    _initialize();
  }

  /** Binds the memory, as `start` and `initialize` do first, and runs nothing. */
  finalizeBindings(instance, options = {}) {
    const { memory = instance?.exports?.memory } = options;
    if (this.#started) {
      const text = 'WASI instance has already started';
      throw coded(Error, 'ERR_WASI_ALREADY_STARTED', text);
    }
    check.isObject(instance, 'instance');
    check.isObject(instance.exports, 'instance.exports');
    if (memoryParts(memory) === undefined && !isV8Memory(memory)) {
      const name = options.memory === undefined ? 'instance.exports.memory' : 'options.memory';
      throw check.invalidType(name, 'a WebAssembly.Memory object', memory);
    }
    this.#memory = memory;
    this.#started = true;
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

/** Gives the lines that were traced to the user's callback. */
function teller(trace, lines) {
  return () => native.takeTraceLines(lines).forEach((line) => trace(line));
}

/**
 * A WASI function that tells of each call when it has ended, also by `proc_exit`. What the
 * callback throws goes to the caller like what any imported function throws, so it ends the
 * program. It is called from here rather than from native code, which holds the guest's memory.
 */
function traced(called, tell) {
  return (...args) => {
    try {
      return called(...args);
    } finally {
      tell();
    }
  };
}

function isV8Module(value) {
  if (isModule(value)) return false;
  try {
    v8Imports(value);
    return true;
  } catch {
    return false;
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

/** `{context, module, name}` of a WASI function of ours; undefined for any other value. */
function wasiFunctionParts(value) {
  return functions.get(value);
}

/** `{context, module}` of the imports of a WASI object; undefined for any other object. */
function wasiImportsParts(value) {
  return importObjects.get(value);
}

module.exports = { WASI, wasiFunctionParts, wasiImportsParts };
