'use strict';
// Guests on threads of their own: what they are told, and what they tell. What a host has of one is its instance
// (thread-instance.js).
//
// Each guest has a number. Native code tells of what happens by that number (`deliver`), always on
// this thread, with arguments and results in the window. While a guest waits for an import, calls
// that the import makes go to it at once and come in between; calls by anybody else wait until
// the guest has done what was asked before. The asynchronous context tells which are which.

const { constants, inOrder, native, realm } = require('../native/binding');
const { Deadline } = require('../util/deadline');
const { coded } = require('../util/errors');

// Loaded where they are used: a command that imports nothing of JavaScript's is not called and calls nobody.
const context = () => require('../native/caller').within;
const guestValues = () => require('./guest-values');
const pipes = () => require('./pipes');
const types = () => require('../native/types');

/** Guests with something under way, by their numbers. Only their users keep the others. */
const busy = new Map();
/** All that have not ended, as weak references: their threads go on while nobody waits for the guest. */
const guests = new Map();
let last = 0;
let isOpen = false;

class GuestThread {
  /** Resolves when the instance can be called; rejects when there will be none. A command has no such moment. */
  ready;
  /** Resolves when the thread has ended; rejects if that was not in order. */
  ended;
  /** Makes what a host has of it. */
  makeInstance;
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
  #instance;
  /** What its values are converted by, once there are any. */
  #converter;
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
    this.#imports = imports.map(({ call, type }) => call && { call, ...types().signatureOf(type) });
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
    guests.set(this.#number, new WeakRef(this));
    this.#begin();
  }

  /** What a host has of it, and `caller()` gives in its imports. */
  get instance() {
    return (this.#instance ??= this.makeInstance());
  }

  get #values() {
    return (this.#converter ??= new (guestValues().GuestValues)());
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
    const frame = context().getStore();
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
    const flush = pipes().delivering.getStore() !== this.streams;
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
      returned = context().run(frame, () => call(...args));
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
    if (this.#over !== undefined || !this.#converter?.beginSweep()) return;
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
    guests.delete(this.#number);
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
      values = this.#values.convertReturned(results, value);
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

/** Called by native code: what happened to the guest with this number. */
function deliver(number, what, index, last) {
  const guest = busy.get(number) ?? guests.get(number)?.deref();
  // One that nobody has any more ends.
  if (guest === undefined) guests.delete(number);
  else EVENTS[what](guest, index, last);
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

module.exports = { CLOSED, GuestThread };
