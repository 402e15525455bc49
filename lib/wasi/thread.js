'use strict';
// Instances on threads of their own, as JavaScript has them.
//
// Each guest has a number. Native code tells of what happens by that number (`deliver`), always on
// this thread, with arguments and results in the window. While a guest waits for an import, calls
// that the import makes go to it at once and come in between; calls by anybody else wait until
// the guest has done what was asked before. The asynchronous context tells which are which.

const { constants, i32, inOrder, native, realm } = require('../native/binding');
const { within } = require('../native/caller');
const { callSite, withSite } = require('../util/call-site');
const { Deadline } = require('../util/deadline');
const { coded } = require('../util/errors');
const { checkCall, checkFuel, exported } = require('./calls');
const { MemoryAccess } = require('./memory-access');
const { delivering } = require('./stdio');
const { Pool, guestGroup } = require('../native/references');
const { signatureOf, typeNamed } = require('../native/types');
const { list } = require('../native/wrappers');
const check = require('../util/validate');
const { closeable } = require('../util/webidl');

/** Guests with something under way, by their numbers. Only their users keep the others. */
const busy = new Map();
let last = 0;
let isOpen = false;

class GuestThread {
  /** Resolves when the instance can be called; rejects when there will be none. A command has no such moment. */
  ready;
  /** Resolves when the thread has ended; rejects if that was not in order. */
  ended;
  /** What `caller()` gives in its imports. */
  instance;
  /** Where its output goes. */
  streams;

  #number = ++last;
  #handle;
  #imports;
  /** How many things are under way. */
  #pending = 0;
  #calls = new Map();
  #lastCall = 0;
  /** What imports threw, by frame. */
  #thrown = new Map();
  /** `{reason}` when the guest is over: what becomes of all that it had not done. */
  #over;
  #hasEnded = false;
  /** What is to be left of the fuel from the next call on. */
  #refuel;
  #deadline;
  #values = new GuestValues();
  #onReady;
  #onEnd;

  /**
   * `imports` has for each import of the module a native handle, or `{call, type}`. `plan` has the `limits`,
   * the place of an exported `command` that is all there is to do, or of a function to `initialize` that is
   * called before the guest is ready. `deadline` is told if native code finds that it has passed: this
   * thread may be too busy to look at its timers.
   */
  constructor(module, program, imports, plan, deadline) {
    if (!isOpen) {
      native.openThreads(realm, deliver);
      isOpen = true;
    }
    this.#imports = imports.map(({ call, type }) => call && { call, ...signatureOf(type) });
    this.#deadline = deadline;
    if (plan.command === undefined) {
      this.ready = new Promise((resolve, reject) => (this.#onReady = { resolve, reject }));
    }
    this.ended = new Promise((resolve, reject) => (this.#onEnd = { resolve, reject }));
    // A caller may wait for only one of the two.
    this.ready?.catch(() => {});
    this.ended.catch(() => {});
    const handles = imports.map((given) => (given.call === undefined ? given : null));
    const wanted = { ...plan, milliseconds: deadline.left };
    this.#handle = native.startThread(realm, this.#number, module.handle, program, handles, wanted);
    this.#begin();
  }

  /** Calls the function at a place among the exports, which may take so long and use so much fuel. */
  async call(place, { params, results }, args, what, { timeout, signal, fuel } = {}) {
    if (this.#over !== undefined) throw this.#over.reason;
    const values = this.#values.convert(params, args);
    const frame = this.#frame();
    return this.#ask(results, { timeout, signal }, what, (number) => {
      // A call that waits keeps its own fuel.
      const refuel = frame === undefined ? this.#refuel : undefined;
      if (frame === undefined) this.#refuel = undefined;
      this.#values.store(params, values);
      native.callThread(this.#handle, number, place, params.length, frame?.number, fuel, refuel);
    });
  }

  /** Has the guest become what it was when it was ready, when all that was asked before is done. */
  async reset() {
    if (this.#over !== undefined) throw this.#over.reason;
    if (this.#frame() !== undefined) {
      const text =
        'instance.reset(): the instance waits for the import that asks; reset it when the call is over';
      throw coded(Error, 'ERR_WASI_BUSY', text);
    }
    await this.#ask([], {}, 'reset()', (number) => native.resetThread(this.#handle, number));
  }

  /** The import of this guest that waits in this context. */
  #frame() {
    const frame = within.getStore();
    return frame?.guest === this && frame.isOpen ? frame : undefined;
  }

  /** Has `send` ask for something with a number, and settles when that is over. */
  async #ask(results, limits, what, send) {
    const deadline = new Deadline(limits, what);
    if (deadline.reason !== undefined) {
      deadline.end();
      throw deadline.reason;
    }
    const number = this.#lastCall++ >>> 0;
    // A call from the callback that gets the output cannot wait for the output.
    const flush = delivering.getStore() !== this.streams;
    const done = new Promise((resolve, reject) => {
      const call = { results, deadline, flush, resolve, reject };
      this.#calls.set(number, call);
      this.#begin();
      send(number);
      deadline.onPassed = (reason) => {
        // Otherwise the end of the call is told like any other.
        if (this.#calls.has(number) && native.cancelCall(this.#handle, number)) {
          this.#calls.delete(number);
          this.#finish();
          reject(reason);
        }
      };
    });
    try {
      return await done;
    } finally {
      deadline.end();
    }
  }

  /** What is left of the fuel for the next call. */
  get fuel() {
    return this.#refuel ?? native.threadFuel(this.#handle);
  }

  set fuel(fuel) {
    this.#refuel = fuel;
  }

  /** Ends the guest, whatever it does. All that is not done is rejected with `reason`. */
  stop(reason) {
    this.#over ??= { reason };
    native.stopThread(this.#handle);
  }

  memorySize(memory) {
    return native.threadMemorySize(this.#handle, memory);
  }

  readMemory(memory, offset, length) {
    return native.readThreadMemory(this.#handle, memory, offset, length);
  }

  writeMemory(memory, offset, bytes) {
    native.writeThreadMemory(this.#handle, memory, offset, bytes);
  }

  // ---- what native code tells

  onReady() {
    this.#onReady?.resolve();
    this.#finish();
  }

  onImport(index, number) {
    const { call, params, results } = this.#imports[index];
    const frame = { guest: this, isOpen: true, number };
    let returned;
    try {
      const args = this.#values.load(params);
      returned = within.run(frame, () => call(...args));
    } catch (error) {
      this.#fail(frame, error);
      return;
    }
    if (typeof returned?.then !== 'function') {
      this.#answer(frame, results, returned);
      return;
    }
    Promise.resolve(returned).then(
      (value) => this.#answer(frame, results, value),
      (error) => this.#fail(frame, error),
    );
  }

  onReturned(number, error) {
    const call = this.#calls.get(number);
    this.#calls.delete(number);
    let settle;
    if (error !== undefined) {
      const failure = this.#failure(error);
      settle = () => call.reject(failure);
    } else {
      try {
        const values = this.#values.load(call.results);
        settle = () => call.resolve(values.length < 2 ? values[0] : values);
      } catch (error) {
        settle = () => call.reject(error);
      }
    }
    const { reason, passed } = call.deadline;
    const flushing = call.flush && reason === undefined ? this.streams?.flush() : undefined;
    const end = () => {
      this.#finish();
      // A call whose time was over has failed, whatever it returned.
      const late = call.deadline.reason;
      if (late === undefined) settle();
      else call.reject(withCause(late, error));
    };
    if (flushing === undefined) end();
    else Promise.race([flushing, passed]).then(end, end);
    this.#sweep();
  }

  /**
   * Has the guest tell which host values it holds, if there are many. Those on their way to it are among
   * them, and what it sends comes here before its answer.
   */
  #sweep() {
    if (this.#over !== undefined || !this.#values.beginSweep()) return;
    this.#begin();
    native.sweepThread(this.#handle);
  }

  onReferences(held) {
    this.#values.endSweep(held);
    this.#finish();
  }

  onEnded(error) {
    const inOrder = error === undefined;
    this.#over ??= inOrder ? CLOSED : { reason: this.#failure(error) };
    for (const { reject } of this.#calls.values()) reject(this.#over.reason);
    this.#calls.clear();
    this.#hasEnded = true;
    this.#pending = 0;
    rest(this.#number);
    this.#onReady?.reject(this.#over.reason);
    if (inOrder) this.#onEnd.resolve();
    else this.#onEnd.reject(this.#over.reason);
  }

  // ----

  #answer(frame, results, value) {
    frame.isOpen = false;
    let values;
    try {
      const given = results.length < 2 ? [value] : list(value, results.length);
      values = this.#values.convert(results, given);
    } catch (error) {
      this.#fail(frame, error);
      return;
    }
    this.#values.store(results, values);
    native.replyToThread(this.#handle, frame.number, results.length);
    this.#sweep();
  }

  #fail(frame, error) {
    frame.isOpen = false;
    const awaited = native.replyToThread(this.#handle, frame.number, undefined);
    if (awaited) this.#thrown.set(frame.number, error);
  }

  /** What to reject with: the error, or what the import of a frame threw. */
  #failure(error) {
    if (this.#over !== undefined) return this.#over.reason;
    if (typeof error !== 'number') {
      if (error?.code === 'ERR_WASI_TIMEOUT') this.#deadline.expire();
      return this.#over?.reason ?? error;
    }
    const thrown = this.#thrown.get(error);
    this.#thrown.delete(error);
    return thrown;
  }

  #begin() {
    if (this.#pending++ > 0) return;
    if (busy.size === 0) native.holdEventLoop(realm, true);
    busy.set(this.#number, this);
  }

  #finish() {
    if (this.#hasEnded) return;
    if (--this.#pending === 0) rest(this.#number);
  }
}

/** Adds where a call was when its time was over, as the error's cause. */
function withCause(reason, error) {
  if (reason.code === 'ERR_WASI_TIMEOUT' && error instanceof Error) {
    Object.defineProperty(reason, 'cause', { value: error, writable: true, configurable: true });
  }
  return reason;
}

function rest(number) {
  if (busy.delete(number) && busy.size === 0) native.holdEventLoop(realm, false);
}

/** The values that go to one guest and come back. */
class GuestValues {
  #pool = new Pool();
  #holder = { group: guestGroup(this.#pool) };
  /** The numbers of host values that were handed out while the guest looks for those it holds. */
  #since = null;

  convert(types, values) {
    return types.map((type, k) => {
      if (isBound(type)) throw new TypeError('a function reference cannot go to another thread');
      return type.convert(values[k], this.#holder);
    });
  }

  /** Leaves converted values in the window. */
  store(types, values) {
    types.forEach((type, k) => {
      type.store(k, values[k], this.#holder);
      if (type.isHostValue) this.#since?.add(i32[4 * k]);
    });
  }

  load(types) {
    return types.map((type, k) => {
      if (isBound(type)) throw new TypeError('a function reference cannot leave its thread');
      return type.load(k, this.#holder);
    });
  }

  /** Whether it is time to look which host values the guest holds; `endSweep` must follow then. */
  beginSweep() {
    if (this.#since !== null || !this.#pool.isFull) return false;
    this.#since = new Set();
    return true;
  }

  /** Lets go of what the guest does not hold: of nothing, if that could not be told. */
  endSweep(held) {
    if (held === undefined) this.#pool.limit *= 2;
    else this.#pool.keepOnly(new Set([...held, ...this.#since]));
    this.#since = null;
  }
}

/** Whether values of the type belong to one thread. */
function isBound(type) {
  return type.isTyped || type === typeNamed('funcref');
}

/** Called by native code: what happened to the guest with this number. */
function deliver(number, what, index, last) {
  // A guest that nobody waits for has ended.
  const guest = busy.get(number);
  if (guest !== undefined) EVENTS[what](guest, index, last);
}

/** What `deliver` does, in the order of native code's numbers. */
const EVENTS = inOrder(constants.events, {
  ready: (guest) => guest.onReady(),
  import: (guest, index, frame) => guest.onImport(index, frame),
  returned: (guest, call, error) => guest.onReturned(call, error),
  references: (guest, _, held) => guest.onReferences(held),
  ended: (guest, _, error) => guest.onEnded(error),
});

/** What becomes of all that a guest that ended in order has not done. Most have done everything. */
const CLOSED = {
  get reason() {
    return coded(Error, 'ERR_WASI_CLOSED', 'the instance is closed; make a new one');
  },
};

/**
 * An exported memory of an instance on another thread. Its bytes can be copied while the instance
 * rests: no call is under way, or it waits for an import. Otherwise `ERR_WASI_BUSY` is thrown.
 */
class ThreadMemory extends MemoryAccess {
  constructor(guest, memory) {
    super({
      size: () => guest.memorySize(memory),
      read: (offset, length) => guest.readMemory(memory, offset, length),
      write: (offset, bytes) => guest.writeMemory(memory, offset, bytes),
    });
  }

  /** There is none here: the bytes belong to another thread, which writes them at any time. */
  get buffer() {
    const text = 'the memory of an instance with a thread of its own has no buffer here';
    throw coded(Error, 'ERR_WASI_OPTION', `${text}: use its methods read(), readString() and write()`);
  }
}

/** The exports of a guest: functions return promises. Tables, globals and tags stay behind. */
function exportsOf(guest, module) {
  let memories = 0;
  const entries = module.exports().map(({ name, kind, type }, place) => {
    if (kind === 'memory') return [name, new ThreadMemory(guest, memories++)];
    if (kind !== 'function') return [name, undefined];
    const what = `the call of "${name}"`;
    const signature = signatureOf(type);
    const called = (...args) => withSite(callSite(called), guest.call(place, signature, args, what));
    calls.set(called, (args, options, entry) =>
      withSite(callSite(entry), guest.call(place, signature, args, what, options)),
    );
    Object.defineProperty(called, 'name', { value: name });
    return [name, Object.defineProperty(called, 'length', { value: signature.params.length })];
  });
  const exports = Object.fromEntries(entries.filter(([, value]) => value !== undefined));
  return Object.freeze(Object.setPrototypeOf(exports, null));
}

/** The same functions as `call(args, options, entry)`. */
const calls = new WeakMap();

/** An instance on a thread of its own. Its exports return promises. */
class ThreadInstance {
  /** Whatever the host wants to know of it where an import asks `caller()`. */
  data;
  exports;
  #guest;
  #module;
  #program;
  #end;

  constructor(guest, module, { data, program, end }) {
    this.data = data;
    this.exports = exportsOf(guest, module);
    this.#guest = guest;
    this.#module = module;
    this.#program = program;
    this.#end = end;
  }

  /** The memory that it exports as `memory`, or the only one; undefined if there is none. */
  get memory() {
    const { memory } = this.exports;
    if (memory instanceof ThreadMemory) return memory;
    const memories = Object.values(this.exports).filter((value) => value instanceof ThreadMemory);
    return memories.length === 1 ? memories[0] : undefined;
  }

  /** Calls an export, which may take so long and use so much fuel. The instance goes on after that. */
  async call(name, args = [], options = {}) {
    const called = exported(this.exports, name);
    checkCall(args, options);
    if (options.fuel !== undefined) checkFuel(this.#module);
    return calls.get(called)(args, options, this.call);
  }

  /** Has it be as it was when it could first be called, when all that was asked before is done. */
  async reset() {
    return this.#guest.reset();
  }

  /** The operators that it may still pass; Infinity if they are not limited. From the next call on. */
  get fuel() {
    const { fuel } = this.#guest;
    return fuel > Number.MAX_SAFE_INTEGER ? Infinity : fuel;
  }

  set fuel(fuel) {
    checkFuel(this.#module);
    if (fuel !== Infinity) check.isInteger(fuel, 'fuel', 0, Number.MAX_SAFE_INTEGER);
    this.#guest.fuel = fuel;
  }

  /** What was captured of its output, and not taken yet: `{stdout, stderr}`. */
  takeOutput() {
    return this.#program.takeOutput();
  }

  /** Ends it, whatever it does: calls under way are rejected with `ERR_WASI_CLOSED`. */
  close() {
    this.#guest.stop(CLOSED.reason);
    this.#end?.();
  }
}

closeable(ThreadInstance);

module.exports = { GuestThread, ThreadInstance };
