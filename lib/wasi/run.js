'use strict';
// Programs on threads of their own: `WASI.run` and `WASI.spawn`.

const { constants, native, realm } = require('../native/binding');
const { Exit, LinkError, coded } = require('../util/errors');
const { checkImports, checkKeys } = require('../util/keys');
const check = require('../util/validate');
const { checkGiven, checkThreads, isThreadSpawn, refuse } = require('../webassembly/imports');
const { Deadline, checkDeadline } = require('../util/deadline');
const { EXTENSIONS } = require('../native/wasi-modules');
const { parseProgram } = require('./options');
const { ThreadProgram } = require('./program');
const { commandOf, roleOf } = require('./role');
const { partsOfSource } = require('./source');
const { GuestThread } = require('./thread');

// Loaded where they are used: few programs are given imports, and those that are run have nobody to call them.
const instances = () => require('../webassembly/instance');
const threadInstances = () => require('./thread-instance');
const wasiFunctions = () => require('../native/wasi-functions');

/** What guests with threads of their own get from native code, as its numbers. */
const MEMORY = constants.ofThreads.indexOf('memory');
const THREAD_SPAWN = constants.ofThreads.indexOf('spawn');

/**
 * Native handles for what a module imports, numbers for what only guests with threads import, and
 * `{call, type}` for functions of this thread.
 */
function importsOf({ parts, what, moduleName, context, imports }) {
  checkThreads(what, parts, imports);
  return parts.imports().map((wanted, index) => {
    const given = imports?.[wanted.module]?.[wanted.name];
    const isWasi = wanted.module === moduleName || wanted.module === EXTENSIONS;
    if (given === undefined && isWasi && wanted.kind === 'function') {
      return native.wasiImport(realm, context, what, wanted.module, wanted.name);
    }
    if (given === undefined) {
      if (isThreadSpawn(wanted)) return THREAD_SPAWN;
      if (wanted.kind === 'memory' && wanted.type === 's') return MEMORY;
      checkGiven(wanted, imports?.[wanted.module], what);
    }
    if (wanted.kind === 'function') {
      if (typeof given !== 'function') refuse({ what }, wanted, 'a function', given);
      const wasi = wasiFunctions().wasiFunctionParts(given);
      if (wasi === undefined) return { call: given, type: wanted.type };
      // What another program waits for on behalf of this one ends with this one.
      return native.wasiImport(realm, wasi.context, what, wasi.module, wasi.name, context);
    }
    if (wanted.kind === 'memory' && wanted.type === 's') {
      const own = `import "${wanted.module}" "${wanted.name}": all threads of the guest share a memory of its own`;
      const advice = 'leave it out, and use that by instance.memory, or in an import by caller().memory';
      throw coded(LinkError, 'ERR_WASI_LINK', `${what}: ${own}; ${advice}`);
    }
    // A memory's bytes, also shared ones, are of this thread, and go when it does.
    if (wanted.kind !== 'global' || wanted.type.endsWith('m')) {
      refuse({ what }, wanted, 'a function or a value for an instance on another thread', given);
    }
    const { Linking, importOf } = instances();
    return importOf(new Linking(what, parts), wanted, index, given);
  });
}

/** What becomes a program on a thread of its own. `wasi` is `{parsed, template, moduleName}`. */
class Launch {
  program;
  deadline;
  #wasi;
  #what;
  #guest;
  #failure;

  /** `subject` is what the error of the deadline calls the program. */
  constructor(wasi, what, options, subject) {
    this.#wasi = wasi;
    this.#what = what;
    this.deadline = new Deadline(options, subject);
  }

  /**
   * Starts it. `planOf(parts)` tells what the guest is to do; `data` and `end` are for its instance. Returned are its
   * guest, and its module, which is made for who asks for it.
   */
  async start(source, programOptions, imports, planOf, { data, end, forGuest } = {}) {
    const { parsed, moduleName } = this.#wasi;
    const { coredump, threadLimits: limits } = parsed;
    // Before compiling, so that the user's streams have somebody who listens.
    const program = (this.program = new ThreadProgram(this.#wasi, programOptions, (error) =>
      this.fail(error),
    ));
    const { deadline } = this;
    const what = this.#what;
    const compiling = { fuel: limits.fuel !== undefined, forGuest };
    const { parts, module } = await deadline.of(partsOfSource(source, what, compiling, deadline.passed));
    this.check();
    const plan = planOf(parts);
    const externs = importsOf({ parts, what, moduleName, context: program.context, imports });
    const guest = (this.#guest = new GuestThread(
      parts,
      program.context,
      externs,
      { limits, threads: limits.threads, coredump, ...plan },
      deadline,
    ));
    guest.makeInstance = () => {
      const { ThreadInstance } = threadInstances();
      return new ThreadInstance(guest, parts, { data, program, end });
    };
    deadline.onPassed = (reason) => this.fail(reason);
    return { module, guest };
  }

  /** The program cannot go on. */
  fail(error) {
    this.#failure ??= { error };
    this.#guest?.stop(error);
  }

  /** Throws what the program failed with, if it did. */
  check() {
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}

/** `WASI.run`. */
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
  const programOptions = parseProgram(options, wasi.parsed.program);
  const launch = new Launch(wasi, what, options, 'the program');
  const { deadline } = launch;
  let finished = false;
  try {
    const planOf = (parts) => ({ command: commandOf(parts, what) });
    // Nobody else gets the module, so its code may rely on the memory's being ours.
    const { guest } = await launch.start(source, programOptions, imports, planOf, { forGuest: true });
    const code = await guest.ended.then(() => 0, exitCode);
    await deadline.of(launch.program.finish());
    finished = true;
    launch.check();
    return { code, ...launch.program.takeOutput(encoding) };
  } catch (error) {
    // What was captured by then may tell why.
    if (launch.program !== undefined && error instanceof Error) {
      for (const [name, captured] of Object.entries(launch.program.takeOutput(encoding))) {
        if (captured !== null) error[name] = captured;
      }
    }
    throw error;
  } finally {
    // The last lines of the trace may tell why. If the time is over they come later.
    if (!finished) await deadline.of(launch.program?.abandon()).catch(() => {});
    deadline.end();
  }
}

function exitCode(error) {
  if (error instanceof Exit) return error.exitCode;
  throw error;
}

/** `WASI.spawn`: resolves when the instance can be called. */
async function spawn(wasi, source, imports = {}, options = {}) {
  const what = 'WASI.spawn()';
  checkImports(imports, 'imports');
  check.isObject(options, 'options');
  checkKeys('spawn', options, 'options');
  checkDeadline(options);
  const launch = new Launch(wasi, what, options, 'the instance');
  const { deadline } = launch;
  try {
    const planOf = (parts) => {
      // A command is not started; its functions are there all the same.
      if (roleOf(parts, what, 'ERR_WASI_NO_LIBRARY') === 'command') return {};
      const place = parts.exports().findIndex(({ name }) => name === '_initialize');
      return { initialize: place < 0 ? undefined : place };
    };
    const end = () => {
      deadline.end();
      launch.program.finish();
    };
    const started = await launch.start(source, wasi.parsed.program, imports, planOf, {
      data: options.data,
      end,
    });
    const { module, guest } = started;
    const { instance } = guest;
    guest.streams = launch.program.streams;
    guest.ended.finally(() => deadline.end()).catch(() => {});
    await guest.ready;
    return { module: module(), instance, exports: instance.exports };
  } catch (error) {
    deadline.end();
    launch.program?.abandon();
    throw error;
  }
}

module.exports = { run, spawn };
