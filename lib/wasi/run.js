'use strict';
// Programs on threads of their own: `WASI.run`. Libraries on such threads are in spawn.js.

const { native, realm } = require('../native/binding');
const { Deadline, checkDeadline } = require('./deadline');
const { Exit } = require('../util/errors');
const { Linking, checkGiven, importOf, refuse, refuseThreads } = require('../webassembly/instance');
const { checkKeys } = require('../util/keys');
const { partsOf } = require('../webassembly/module');
const { parseProgram } = require('./options');
const { commandOf } = require('./role');
const { moduleOf } = require('./source');
const { Streams } = require('./stdio');
const { Guest, ThreadInstance } = require('./thread');
const check = require('../util/validate');
const { EXTENSIONS, wasiFunctionParts } = require('../native/wasi-functions');

/** How often the lines of a trace are taken from a program that runs, in milliseconds. */
const TRACE_INTERVAL = 10;
/** How long the callback is given lines before others have their turn, in milliseconds. */
const TRACE_TURN = 5;

/** Native handles for what a module imports, and `{call, type}` for functions of this thread. */
function importsOf({ parts, what, moduleName, context, imports }) {
  const linking = new Linking(what, parts);
  refuseThreads(what, parts.imports(), imports);
  return parts.imports().map((wanted, index) => {
    const given = imports?.[wanted.module]?.[wanted.name];
    const isWasi = wanted.module === moduleName || wanted.module === EXTENSIONS;
    if (given === undefined && isWasi && wanted.kind === 'function') {
      return native.wasiImport(realm, context, what, wanted.module, wanted.name);
    }
    if (given === undefined) checkGiven(wanted, imports?.[wanted.module], what);
    if (wanted.kind === 'function') {
      if (typeof given !== 'function') refuse(linking, wanted, 'a function', given);
      const wasi = wasiFunctionParts(given);
      if (wasi === undefined) return { call: given, type: wanted.type };
      // What another program waits for on behalf of this one ends with this one.
      return native.wasiImport(realm, wasi.context, what, wasi.module, wasi.name, context);
    }
    // A memory's bytes, also shared ones, are of this thread, and go when it does.
    if (wanted.kind !== 'global' || wanted.type.endsWith('m')) {
      refuse(linking, wanted, 'a function or a value for an instance on another thread', given);
    }
    return importOf(linking, wanted, index, given);
  });
}

/**
 * One program: its context, its streams, and what it traces. `parsed` are the options of a `WASI`
 * object and `template` what they came to, then come those of the program alone. `fail` is told of errors in the host's streams and callbacks.
 */
class Program {
  context;
  streams;

  #trace;
  #lines;
  /** Lines that were taken, and how many of them have been told. */
  #taken = [];
  #told = 0;
  #timer;
  #fail;

  constructor({ parsed, template }, { stdio, ...options }, fail) {
    const { trace } = parsed;
    this.#fail = fail;
    this.#trace = trace;
    this.#lines = trace === undefined ? undefined : native.traceLines();
    this.streams = new Streams(stdio, fail);
    try {
      this.context = native.wasiContext(
        realm,
        template,
        { ...options, stdio: this.streams.options },
        this.#lines,
      );
    } catch (error) {
      this.streams.abandon();
      throw error;
    } finally {
      this.streams.handedOver();
    }
    if (trace !== undefined) {
      this.#timer = setInterval(() => this.#tell(), TRACE_INTERVAL);
      this.#timer.unref();
    }
  }

  /**
   * Gives lines to the callback, for a moment. Tells whether there are more. A callback that is slower
   * than the program holds up the program, which waits when many lines are not taken, and not whatever
   * else this thread does.
   */
  #tell() {
    const end = performance.now() + TRACE_TURN;
    if (this.#told === this.#taken.length) {
      this.#taken = native.takeTraceLines(this.#lines);
      this.#told = 0;
    }
    try {
      while (this.#told < this.#taken.length && performance.now() < end) {
        this.#trace(this.#taken[this.#told++]);
      }
    } catch (error) {
      this.#fail(error);
    }
    return this.#told < this.#taken.length;
  }

  /** Resolves when everything that the program has told is delivered. */
  async finish() {
    await this.endTrace();
    await this.streams.finish();
  }

  /** Resolves when all lines have been told. */
  async endTrace() {
    if (this.#trace === undefined) return;
    clearInterval(this.#timer);
    // What was taken may not be all there is.
    while (this.#tell() || this.#tell()) await new Promise(setImmediate);
  }

  /** Resolves when all lines have been told, which nobody has to wait for. */
  async abandon() {
    this.streams.abandon();
    await this.endTrace();
  }

  /** What was captured of standard output and error: `{stdout, stderr}`. */
  output(encoding) {
    const taken = (stream) => {
      const bytes = native.takeOutput(realm, this.context, stream);
      return bytes !== null && encoding !== undefined ? bytes.toString(encoding) : bytes;
    };
    return { stdout: taken(1), stderr: taken(2) };
  }
}

/** `WASI.run`: `wasi` is `{parsed, template, moduleName}`. */
async function run(wasi, source, options = {}) {
  const what = 'WASI.run()';
  check.isObject(options, 'options');
  checkKeys('run', options, 'options');
  checkDeadline(options);
  const { imports, encoding } = options;
  if (imports !== undefined) check.isObject(imports, 'options.imports');
  if (encoding !== undefined) check.isEncoding(encoding, 'options.encoding');
  if (options.stdin === 'pipe') {
    const reason = 'is for new WASI(), whose property stdin is its other end; give a stream here';
    throw check.invalidValue('options.stdin', 'pipe', reason);
  }
  const { parsed, moduleName } = wasi;
  const programOptions = parseProgram(options, parsed.program);
  const { fuel } = parsed.threadLimits;
  const deadline = new Deadline(options, 'the program');
  let program;
  let finished = false;
  let guest;
  let failure;
  const fail = (error) => {
    failure ??= { error };
    guest?.stop(error);
  };
  try {
    // Before compiling, so that the user's streams have somebody who listens.
    program = new Program(wasi, programOptions, fail);
    const module = await deadline.of(moduleOf(source, what, fuel !== undefined, deadline.passed));
    if (failure !== undefined) throw failure.error;
    const parts = partsOf(module, what);
    const command = commandOf(parts, what);
    const { context } = program;
    const externs = importsOf({ parts, what, moduleName, context, imports });
    guest = new Guest(parts, context, externs, parsed.threadLimits, { command, deadline });
    guest.instance = new ThreadInstance(guest, parts, { program });
    deadline.onPassed = fail;
    const code = await guest.ended.then(() => 0, exitCode);
    await deadline.of(program.finish());
    finished = true;
    if (failure !== undefined) throw failure.error;
    return { code, ...program.output(encoding) };
  } catch (error) {
    if (program !== undefined && error instanceof Error) addOutput(error, program.output(encoding));
    throw error;
  } finally {
    // Its last lines may tell why. If the time is over they come later.
    if (!finished) await deadline.of(program?.abandon()).catch(() => {});
    deadline.end();
  }
}

/** What was captured by then may tell why. */
function addOutput(error, output) {
  for (const [name, captured] of Object.entries(output)) {
    if (captured !== null) error[name] = captured;
  }
}

function exitCode(error) {
  if (error instanceof Exit) return error.exitCode;
  throw error;
}

module.exports = { Program, importsOf, run };
