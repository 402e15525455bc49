'use strict';
// Instances on threads of their own, as JavaScript has them.
//
// Each guest has a number. Native code tells of what happens by that number (`deliver`), always on
// this thread, with arguments and results in the window. While a guest waits for an import, calls
// that the import makes go to it at once and come in between; calls by anybody else wait until
// the guest has done what was asked before. Which are which, the asynchronous context tells.

const { native, realm } = require('../native/binding');
const { within } = require('../native/caller');
const { callSite, withSite } = require('../util/call-site');
const { Deadline } = require('./deadline');
const { coded } = require('../util/errors');
const { convert, list, load, store } = require('../native/functions');
const { checkCall, checkFuel, exported } = require('./library');
const { MemoryAccess } = require('./memory-access');
const { delivering } = require('./stdio');
const { isTyped } = require('../native/typed');
const check = require('../util/validate');
const { closeable } = require('../util/webidl');

/** Guests with something under way, by their numbers. Others are only kept by who uses them. */
const busy = new Map();
let last = 0;
let isOpen = false;

class Guest {
  /** Resolves when the instance can be called; rejects when there will be none. */
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
  #references = new References();
  #onReady;
  #onEnd;

  /**
   * `imports` has for each import of the module a native handle, or `{call, type}`. `command` is the
   * place of the exported function that is all there is to do, `initialize` of one that is called
   * before it is ready. `deadline` is told if native code finds that it has passed: this thread may be
   * too busy to look at its timers.
   */
  constructor(module, program, imports, limits, { command, initialize, deadline }) {
    if (!isOpen) {
      native.openThreads(realm, deliver);
      isOpen = true;
    }
    this.#imports = imports;
    this.#deadline = deadline;
    this.ready = new Promise((resolve, reject) => (this.#onReady = { resolve, reject }));
    this.ended = new Promise((resolve, reject) => (this.#onEnd = { resolve, reject }));
    // Which of the two a caller waits for is his choice.
    this.ready.catch(() => {});
    this.ended.catch(() => {});
    const handles = imports.map((given) => (given.call === undefined ? given : null));
    this.#handle = native.startThread(
      realm,
      this.#number,
      module.handle,
      program,
      handles,
      limits,
      command,
      initialize,
      deadline.left,
    );
    this.#begin();
  }

  /** Calls the function at a place among the exports, which may take so long and use so much fuel. */
  async call(place, type, args, what, { timeout, signal, fuel } = {}) {
    if (this.#over !== undefined) throw this.#over.reason;
    const [params] = type.split(':');
    const values = Array.from(params, (letter, k) => this.#convert(letter, args[k]));
    const frame = this.#frame();
    return this.#ask(type, { timeout, signal }, what, (number) => {
      // What a call that waits has left is its own affair.
      const refuel = frame === undefined ? this.#refuel : undefined;
      if (frame === undefined) this.#refuel = undefined;
      values.forEach((value, k) => this.#store(params[k], k, value));
      native.callThread(realm, this.#handle, number, place, params.length, frame?.number, fuel, refuel);
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
    await this.#ask(':', {}, 'reset()', (number) => native.resetThread(this.#handle, number));
  }

  /** The import of this guest that waits in this context. */
  #frame() {
    const frame = within.getStore();
    return frame?.guest === this && frame.isOpen ? frame : undefined;
  }

  /** Has `send` ask for something with a number, and settles when that is over. */
  async #ask(type, limits, what, send) {
    const deadline = new Deadline(limits, what);
    if (deadline.reason !== undefined) {
      deadline.end();
      throw deadline.reason;
    }
    const number = this.#lastCall++ >>> 0;
    // Of who is called by the output itself the output cannot be waited for.
    const flush = delivering.getStore() !== this.streams;
    const done = new Promise((resolve, reject) => {
      const call = { type, deadline, flush, resolve, reject };
      this.#calls.set(number, call);
      this.#begin();
      send(number);
      deadline.onPassed = (reason) => {
        // Otherwise it is told like any other end.
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
    return native.threadMemorySize(realm, this.#handle, memory);
  }

  readMemory(memory, offset, length) {
    return native.readThreadMemory(realm, this.#handle, memory, offset, length);
  }

  writeMemory(memory, offset, bytes) {
    native.writeThreadMemory(realm, this.#handle, memory, offset, bytes);
  }

  // ---- what native code tells

  onReady() {
    this.#onReady.resolve();
    this.#finish();
  }

  onImport(index, number) {
    const { call, type } = this.#imports[index];
    const [params, results] = type.split(':');
    const frame = { guest: this, isOpen: true, number };
    let returned;
    try {
      const args = Array.from(params, (letter, k) => this.#load(letter, k));
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
        const [, results] = call.type.split(':');
        const values = Array.from(results, (letter, k) => this.#load(letter, k));
        settle = () => call.resolve(results.length < 2 ? values[0] : values);
      } catch (error) {
        settle = () => call.reject(error);
      }
    }
    const { reason, passed } = call.deadline;
    const flushing = call.flush && reason === undefined ? this.streams?.flush() : undefined;
    const end = () => {
      this.#finish();
      // What was over before it was done has failed, whatever came of it.
      const late = call.deadline.reason;
      if (late === undefined) settle();
      else call.reject(withCause(late, error));
    };
    if (flushing === undefined) end();
    else Promise.race([flushing, passed]).then(end, end);
    // No call is under way, so no frame holds a value.
    if (this.#pending === 0 && this.#over === undefined && this.#references.isFull()) {
      this.#begin();
      native.sweepThread(this.#handle);
    }
  }

  onReferences(held) {
    this.#references.sweep(held);
    this.#finish();
  }

  onEnded(error) {
    const inOrder = error === undefined;
    this.#over ??= { reason: inOrder ? closed() : this.#failure(error) };
    const { reason } = this.#over;
    for (const { reject } of this.#calls.values()) reject(reason);
    this.#calls.clear();
    this.#hasEnded = true;
    this.#pending = 0;
    rest(this.#number);
    this.#onReady.reject(reason);
    if (inOrder) this.#onEnd.resolve();
    else this.#onEnd.reject(reason);
  }

  // ----

  #answer(frame, results, value) {
    frame.isOpen = false;
    let values;
    try {
      const given = results.length < 2 ? [value] : list(value, results.length);
      values = Array.from(results, (letter, k) => this.#convert(letter, given[k]));
    } catch (error) {
      this.#fail(frame, error);
      return;
    }
    values.forEach((value, k) => this.#store(results[k], k, value));
    native.replyToThread(realm, this.#handle, frame.number, results.length);
  }

  #fail(frame, error) {
    frame.isOpen = false;
    const awaited = native.replyToThread(realm, this.#handle, frame.number, undefined);
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

  #convert(letter, value) {
    if (letter === 'r' || isTyped(letter)) {
      throw new TypeError('a function reference cannot go to another thread');
    }
    return convert(letter, value);
  }

  #store(letter, slot, value) {
    if (letter === 'e') store('i', slot, this.#references.indexOf(value));
    else store(letter, slot, value);
  }

  #load(letter, slot) {
    if (letter === 'r' || isTyped(letter)) {
      throw new TypeError('a function reference cannot leave its thread');
    }
    return letter === 'e' ? this.#references.at(load('i', slot)) : load(letter, slot);
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

/** Where a call was when its time was over, for whoever wants to know. */
function withCause(reason, error) {
  if (reason.code === 'ERR_WASI_TIMEOUT' && error instanceof Error) {
    Object.defineProperty(reason, 'cause', { value: error, writable: true, configurable: true });
  }
  return reason;
}

function rest(number) {
  if (busy.delete(number) && busy.size === 0) native.holdEventLoop(realm, false);
}

/** How many host values a guest may have before those that it holds no longer are looked for. */
const FEW = 1024;

/** The host values that one guest has. */
class References {
  #values = [null];
  #indices = new Map([[null, 0]]);
  #free = [];
  #limit = FEW;
  /** Those that were handed out while the guest looks for the ones it holds. */
  #since = null;

  indexOf(value) {
    let index = this.#indices.get(value);
    // The keys of a Map do not tell -0 from 0.
    if (index === undefined || !Object.is(this.#values[index], value)) {
      index = this.#free.length > 0 ? this.#free.pop() : this.#values.length;
      this.#values[index] = value;
      this.#indices.set(value, index);
    }
    this.#since?.add(index);
    return index;
  }

  at(index) {
    return this.#values[index];
  }

  /** Whether it is time to look which ones the guest holds; `sweep` must follow then. */
  isFull() {
    if (this.#since !== null || this.#values.length - this.#free.length < this.#limit) return false;
    this.#since = new Set();
    return true;
  }

  /** Lets go of what the guest does not hold: of nothing, if that could not be told. */
  sweep(held) {
    if (held === undefined) {
      this.#since = null;
      this.#limit *= 2;
      return;
    }
    const kept = new Set([0, ...held, ...this.#since]);
    this.#since = null;
    this.#indices.clear();
    this.#free.length = 0;
    this.#values.forEach((value, index) => {
      if (kept.has(index)) {
        this.#indices.set(value, index);
      } else {
        this.#values[index] = undefined;
        this.#free.push(index);
      }
    });
    this.#limit = Math.max(FEW, 2 * kept.size);
  }
}

/** Called by native code: what happened to the guest with this number. */
function deliver(number, what, index, last) {
  const guest = busy.get(number);
  // One that nobody waits for has ended.
  if (guest === undefined) return;
  switch (what) {
    case 0:
      guest.onReady();
      break;
    case 1:
      guest.onImport(index, last);
      break;
    case 2:
      guest.onReturned(index, last);
      break;
    case 4:
      guest.onReferences(last);
      break;
    default:
      guest.onEnded(last);
  }
}

function closed() {
  return coded(Error, 'ERR_WASI_CLOSED', 'the instance is closed; make a new one');
}

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

  /** There is none here: the bytes are of another thread, which writes them while we look. */
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
    const called = (...args) => withSite(callSite(called), guest.call(place, type, args, what));
    calls.set(called, (args, options, entry) =>
      withSite(callSite(entry), guest.call(place, type, args, what, options)),
    );
    Object.defineProperty(called, 'name', { value: name });
    return [name, Object.defineProperty(called, 'length', { value: type.indexOf(':') })];
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
    return this.#program.output();
  }

  /** Ends it, whatever it does: calls under way are rejected with `ERR_WASI_CLOSED`. */
  close() {
    this.#guest.stop(closed());
    this.#end?.();
  }
}

closeable(ThreadInstance);

module.exports = { Guest, ThreadInstance, ThreadMemory, closed };
