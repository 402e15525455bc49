'use strict';
// WASI: node:wasi's class over our host.

const { native, realm } = require('../native/binding');
const { callSite, withSite } = require('../util/call-site');
const { Exit, LinkError, coded, notStarted } = require('../util/errors');
const { checkGiven, isThreadSpawn } = require('../webassembly/imports');
const { checkImports, checkKeys } = require('../util/keys');
const { bufferOf, importsOf } = require('../webassembly/v8');
const { EXTENSIONS, MODULES } = require('../native/wasi-modules');
const { parse } = require('./options');
const { Program } = require('./program');
const { run, spawn } = require('./run');
const { roleOf } = require('./role');
const { expectLater, moduleOf } = require('./source');
const { checkOpened, checkWasi, isOn } = require('./permission');
const check = require('../util/validate');
const { closeable } = require('../util/webidl');

// Loaded where they are used: who only calls `run` has no modules of JavaScript's, and no instances on this thread.
const callers = () => require('../native/caller');
const instances = () => require('../webassembly/instance');
const libraries = () => require('./library');
const memories = () => require('../webassembly/memory');
const modules = () => require('../webassembly/module');
const wasiFunctions = () => require('../native/wasi-functions');

/** A program of a `WASI` object for a module on this thread that is no instance of JavaScript's: `{program, limits}`. */
let programHere;

class WASI {
  static {
    programHere = (wasi) => {
      wasi.#checkOnThisThread();
      const { program, threadLimits } = wasi.#parsed;
      return {
        program: new Program(wasi.#ingredients(), atOnce(program)),
        limits: native.programLimits(threadLimits, wasi.#template),
        threadLimit: threadLimits.threads,
      };
    };
  }

  /** What each of its programs is made of. */
  #template;
  /** The program on this thread. It is made when somebody asks for its imports. */
  #program = null;
  #parsed;
  #moduleName;
  #started = false;
  #hasSpawned = false;
  #memory = null;
  /** The bytes of the memory, made anew when its buffer is. */
  #view = null;

  constructor(options = {}) {
    check.isObject(options, 'options');
    const parsed = parse(options);
    checkWasi();
    this.#parsed = parsed;
    this.#moduleName = MODULES[options.version];
    this.#template = native.wasiTemplate(realm, parsed.native, parsed.memories);
    if (isOn()) this.#checkOpened();
    native.checkTemplate(realm, this.#template, atOnce(parsed.program));
    // Who only calls `run` has no use for a program on this thread.
    const define = (value) => {
      const attributes = { writable: true, enumerable: true, configurable: true };
      Object.defineProperty(this, 'wasiImport', { value, ...attributes });
      return value;
    };
    const get = () => define(this.#here().imports);
    Object.defineProperty(this, 'wasiImport', { get, set: define, enumerable: true, configurable: true });
  }

  /** The same directories that were checked are those that programs get. */
  #checkOpened() {
    try {
      checkOpened(this.#parsed.native.preopens, native.openedPaths(this.#template));
    } catch (error) {
      native.closeTemplate(this.#template);
      throw error;
    }
  }

  /** The program on this thread: its context and its imports. */
  #here() {
    return (this.#program ??= this.#make());
  }

  #make() {
    const { trace, program, threadLimits, returnOnExit } = this.#parsed;
    // All instances that are linked with this object are one program.
    const limits = native.programLimits(threadLimits, this.#template);
    const { threads } = threadLimits;
    const made = new Program(this.#ingredients(), atOnce(program));
    const { context } = made;
    const imports = {};
    const extensions = {};
    const places = { [this.#moduleName]: imports, [EXTENSIONS]: extensions };
    const output = callbacksOf(program, context);
    const tell = trace && (() => made.takeLines().forEach((line) => trace(line)));
    const flush = output && (tell ? () => (output.flush(), tell()) : output.flush);
    const after = (name) => (name === 'fd_write' && flush ? flush : tell);
    wasiFunctions().addFunctions(realm, context, places, {
      view: () => this.#bytes(),
      after,
      limits,
      threads,
    });
    if (!returnOnExit && imports.proc_exit !== undefined) {
      // The process ends in the call itself, before any JavaScript could catch it.
      const exit = (code) => {
        output?.end();
        process.exit(code);
      };
      imports.proc_exit = wasiFunctions().standFor(exit, imports.proc_exit);
    }
    // Calls from JavaScript and from V8's instances are refused, too: they have no memory before.
    native.holdWasi(context, !this.#started);
    return { context, imports, extensions, output, takeOutput: () => made.takeOutput() };
  }

  /** With `stdin: 'pipe'`: the writable stream that is the program's standard input. */
  get stdin() {
    const [{ given, stream }] = this.#parsed.program.stdio;
    return given === 'pipe' ? stream : null;
  }

  /** Runs a command on a thread of its own: `{code, stdout, stderr}`. */
  async run(source, options = undefined) {
    expectLater(source);
    return withSite(callSite(this.run), run(this.#ingredients(), source, options));
  }

  /** An instance with a thread of its own: `{module, instance, exports}`. */
  async spawn(source, imports = undefined, options = undefined) {
    expectLater(source);
    this.#hasSpawned = true;
    return withSite(callSite(this.spawn), spawn(this.#ingredients(), source, imports, options));
  }

  /** An instance with the functions of this object among its imports. */
  async instantiate(source, imports = {}, options = {}) {
    expectLater(source);
    checkImports(imports, 'imports');
    check.isObject(options, 'options');
    checkKeys('instantiate', options, 'options');
    const module = await moduleOf(source, 'WASI.instantiate()');
    return this.#instantiate(module, imports, options);
  }

  /** The same, on this thread and at once. */
  instantiateSync(source, imports = {}, options = {}) {
    checkImports(imports, 'imports');
    check.isObject(options, 'options');
    checkKeys('instantiateSync', options, 'options');
    const { Module, isModule } = modules();
    return this.#instantiate(isModule(source) ? source : new Module(source), imports, options);
  }

  #instantiate(module, imports, { data }) {
    const what = 'WASI.instantiate()';
    this.#checkOnThisThread();
    const parts = modules().partsOf(module, what);
    const role = roleOf(parts, what, 'ERR_WASI_NO_LIBRARY');
    const { context } = this.#here();
    const importObject = wasiFunctions().withOurs(this.getImportObject(), imports);
    const startsThreads = parts.imports().some(isThreadSpawn) && imports.wasi === undefined;
    if (startsThreads && role !== 'command') {
      const text = `${what}: the module is a library that starts threads (wasi.thread-spawn)`;
      throw coded(LinkError, 'ERR_WASI_LINK', `${text}; make the instance by wasi.spawn()`);
    }
    const isOurs = (wanted) => startsThreads && (isThreadSpawn(wanted) || wanted.type === 's');
    const wanted = parts.imports().filter((wanted) => !isOurs(wanted));
    wanted.forEach((wanted) => checkGiven(wanted, importObject[wanted.module], what));
    // The start function of a library may call what it imports, as it may on a thread of its own.
    if (role !== 'command') native.holdWasi(context, false);
    try {
      const instance = libraries().makeLibrary(module, importObject, { context, data }, (instance) => {
        const { _initialize, memory } = instance.exports;
        if (role === 'command' || memories().memoryParts(memory) === undefined) return false;
        // Each instance works on its own memory; the first is that of whoever else calls the functions.
        if (!this.#started) this.initialize(instance);
        else _initialize?.();
        return _initialize !== undefined;
      });
      return { module, instance, exports: instance.exports };
    } finally {
      native.holdWasi(context, !this.#started);
    }
  }

  #ingredients() {
    return { parsed: this.#parsed, template: this.#template, moduleName: this.#moduleName };
  }

  /** What was captured of the output of `start`, and not taken yet: `{stdout, stderr}`. */
  takeOutput() {
    if (this.#program === null && this.#hasSpawned) {
      const text = 'no program of this WASI object is on this thread';
      const advice = 'each instance that spawn() made has its output taken by its own takeOutput()';
      throw coded(Error, 'ERR_WASI_NOT_STARTED', `${text}: ${advice}`);
    }
    return this.#here().takeOutput();
  }

  /** What its programs have taken until now, and what it took to make modules. Times are in milliseconds. */
  metrics() {
    const compile = native.compileMetrics();
    const taken = native.wasiMetrics(this.#template);
    const counted = taken.functions.map((name, index) => {
      const [count, errors, time] = taken.calls.slice(3 * index, 3 * index + 3);
      return [name, { count, errors, time }];
    });
    return {
      compile: { modules: compile.compiled, bytes: compile.bytes, time: compile.milliseconds },
      cache: { hits: compile.fromCache, directory: native.cacheDirectory(realm) },
      programs: { started: taken.started, running: taken.running, time: taken.milliseconds },
      memory: { bytes: taken.memory, peak: taken.mostMemory },
      calls: this.#parsed.native.countCalls ? Object.fromEntries(counted) : null,
    };
  }

  /** Closes the descriptors of the program on this thread, and what others would get. */
  close() {
    if (this.#program !== null) native.closeWasi(this.#program.context);
    native.closeTemplate(this.#template);
  }

  /** The imports that a WASI module asks for. */
  getImportObject() {
    const { extensions } = this.#here();
    const imports = { [this.#moduleName]: this.wasiImport };
    // As in node:wasi there is nothing else to see, unless it was asked for. It is there all the
    // same: so that linking can say what is not granted.
    const enumerable = Object.keys(extensions).length > 0;
    Object.defineProperty(imports, EXTENSIONS, { value: extensions, enumerable });
    return imports;
  }

  /** What a module asks for: what of it this program is granted, what not, and what is not ours. */
  capabilities(module) {
    const what = 'WASI.capabilities()';
    const { isModule, partsOf } = modules();
    if (!isModule(module) && !isV8Module(module)) {
      throw check.invalidType('module', 'an instance of Module, of wasi-native or of V8', module);
    }
    const imports = isModule(module) ? partsOf(module, what).imports() : importsOf(module);
    const wanted = imports.filter(({ kind }) => kind === 'function');
    const pairs = wanted.flatMap(({ module, name }) => [module, name]);
    const grants = native.wasiReport(this.#template, pairs);
    const report = { granted: [], refused: [], stubbed: [], unknown: [] };
    wanted.forEach(({ module, name }, index) => {
      if (isThreadSpawn(wanted[index])) {
        const { threads } = this.#parsed.threadLimits;
        report[threads > 0 ? 'granted' : 'stubbed'].push('wasi.thread-spawn');
        return;
      }
      const ours = module === this.#moduleName || module === EXTENSIONS;
      report[ours ? grants[index] : 'unknown'].push(`${module}.${name}`);
    });
    return report;
  }

  /**
   * Lets this program hand descriptors to the one of `other`, which it knows by `name`. This keeps neither
   * alive: a program that does not run has no use for descriptors.
   */
  linkDescriptors(name, other) {
    check.isOfType('string', name, 'name');
    if (typeof other !== 'object' || other === null || !(#program in other)) {
      throw check.invalidType('other', 'an instance of WASI', other);
    }
    native.wasiLink(this.#here().context, name, other.#here().context);
  }

  /** Runs a command's `_start` and returns its exit code. */
  start(instance) {
    this.finalizeBindings(instance);
    const { _start, _initialize } = instance.exports;
    check.isOfType('function', _start, 'instance.exports._start');
    check.isUndefined(_initialize, 'instance.exports._initialize');
    let code = 0;
    try {
      callWithThreads(_start, instances().teamOf(instance));
    } catch (error) {
      if (!(error instanceof Exit)) throw this.#withOutput(error);
      code = error.exitCode;
      // A thread has exited: the program's own call of `proc_exit` would not have returned.
      if (!this.#parsed.returnOnExit) process.exit(code);
    }
    if (this.#program === null) return code;
    const { context, output } = this.#program;
    output?.end();
    // A program that has exited has its code, even if JavaScript on the way has caught the exit.
    return native.wasiExitCode(context) ?? code;
  }

  /** The error with what was captured up to the limit. The same can still be taken. */
  #withOutput(error) {
    if (error?.code !== 'ERR_WASI_LIMIT' || this.#program === null) return error;
    ['stdout', 'stderr'].forEach((name, index) => {
      const captured = native.peekOutput(realm, this.#program.context, index + 1);
      if (captured !== null) error[name] = captured;
    });
    return error;
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
    check.isObject(options, 'options');
    checkKeys('finalizeBindings', options, 'options');
    this.#checkOnThisThread();
    const { memory = instance?.exports?.memory } = options;
    if (this.#started) {
      const text = 'WASI instance has already started';
      throw coded(Error, 'ERR_WASI_ALREADY_STARTED', text);
    }
    check.isObject(instance, 'instance');
    check.isObject(instance.exports, 'instance.exports');
    if (memories().memoryParts(memory) === undefined && !isV8Memory(memory)) {
      const name = options.memory === undefined ? 'instance.exports.memory' : 'options.memory';
      throw check.invalidType(name, 'a WebAssembly.Memory object', memory);
    }
    this.#memory = memory;
    this.#started = true;
    if (this.#program !== null) native.holdWasi(this.#program.context, false);
  }

  /** Refuses options that only hold for programs on threads of their own. */
  #checkOnThisThread() {
    const needed = 'use wasi.run() or wasi.spawn()';
    this.#parsed.program.stdio.forEach((stream, number) => {
      if (!needsLoop(stream)) return;
      const name = ['stdin', 'stdout', 'stderr'][number];
      const text = `options.${name} is a stream, which needs this event loop`;
      throw coded(Error, 'ERR_WASI_OPTION', `${text}: ${needed}`);
    });
    for (const name of ['stack', 'fuel']) {
      if (this.#parsed.threadLimits[name] === undefined) continue;
      const text = `options.limits.${name} only holds for a program on a thread of its own`;
      throw coded(Error, 'ERR_WASI_OPTION', `${text}: ${needed}`);
    }
  }

  /**
   * The bytes that the functions work on when JavaScript or an instance of V8's calls them: a view, or the
   * handle of a memory of which JavaScript can have no view.
   */
  #bytes() {
    // An instance that was made here calls for itself, whichever was the first.
    const memory = libraries().libraryMemory(callers().here.owner?.instance) ?? this.#memory;
    if (memory === null) throw notStarted();
    const handle = memories().handleWithoutBuffer(memory);
    if (handle !== undefined) return handle;
    const { buffer } = memory;
    if (this.#view === null || this.#view.buffer !== buffer) this.#view = new Uint8Array(buffer);
    return this.#view;
  }
}

/**
 * For callbacks that get the output of a program on this thread: `flush` gives them what was
 * written, `end` what is left. Undefined if there are none.
 */
function callbacksOf({ stdio }, context) {
  const sinks = stdio.map((stream) => stream.openHere?.());
  if (sinks.every((sink) => sink === undefined)) return undefined;
  const each = (act) => sinks.forEach((sink, stream) => sink !== undefined && act(sink, stream));
  const flush = () =>
    each((sink, stream) => {
      const written = native.takeOutput(realm, context, stream);
      if (written.length > 0) sink.write(written);
    });
  return { flush, end: () => each((sink) => sink.end()) };
}

/** Calls a function of a program that may start threads, which end with it. */
function callWithThreads(call, team) {
  if (team === undefined) {
    call();
    return;
  }
  native.beginTeam(realm, team);
  try {
    call();
  } finally {
    // If a thread has ended the program, this throws why, in place of how this thread was stopped.
    native.endTeam(realm, team);
  }
}

function isV8Module(value) {
  try {
    importsOf(value);
    return true;
  } catch {
    return false;
  }
}

function isV8Memory(value) {
  try {
    bufferOf.call(value);
    return true;
  } catch {
    return false;
  }
}

/** A stream moves in turns of the event loop, which a program on this thread stops. */
function needsLoop({ kind, openHere }) {
  return kind === 'source' || (kind === 'sink' && openHere === undefined);
}

/**
 * The options of a program on this thread. Callbacks get output as it comes. Streams get nothing: `start`
 * refuses them.
 */
function atOnce({ stdio, ...others }) {
  const here = (stream) => (stream.kind === 'sink' ? { kind: 'relay' } : stream);
  return { ...others, stdio: stdio.map((stream) => (needsLoop(stream) ? { kind: 'ignore' } : here(stream))) };
}

closeable(WASI);

module.exports = { WASI, programHere };
