'use strict';
// Instances on threads of their own, as JavaScript has them.
//
// Each guest has a number. Native code tells of what happens by that number (`deliver`), always on
// this thread, with arguments and results in the window. While a guest waits for an import, calls
// that the import makes go to it at once and come in between; calls by anybody else wait until
// the guest has done what was asked before. Which are which, the asynchronous context tells.

const { AsyncLocalStorage } = require('node:async_hooks');

const { native, realm } = require('./binding');
const { coded } = require('./errors');
const { convert, list, load, store } = require('./functions');
const { isTyped } = require('./typed');
const { toUint32 } = require('./webidl');

/** The import under way in this asynchronous context. */
const within = new AsyncLocalStorage();

/** Guests with something under way, by their numbers. Others are only kept by who uses them. */
const busy = new Map();
let last = 0;
let isOpen = false;

class Guest {
  /** Resolves when the instance can be called; rejects when there will be none. */
  ready;
  /** Resolves when the thread has ended; rejects if that was not in order. */
  ended;

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
  #references = new References();
  #onReady;
  #onEnd;

  /**
   * `imports` has for each import of the module a native handle, or `{call, type}`. `command` is the
   * place of the exported function that is all there is to do.
   */
  constructor(module, program, imports, limits, command) {
    if (!isOpen) {
      native.openThreads(realm, deliver);
      isOpen = true;
    }
    this.#imports = imports;
    this.ready = new Promise((resolve, reject) => (this.#onReady = { resolve, reject }));
    this.ended = new Promise((resolve, reject) => (this.#onEnd = { resolve, reject }));
    // Which of the two a caller waits for is his choice.
    this.ready.catch(() => {});
    this.ended.catch(() => {});
    const handles = imports.map((given) => (given.call === undefined ? given : null));
    this.#handle = native.startThread(
      realm, this.#number, module.handle, program, handles, limits, command
    );
    this.#begin();
  }

  /** Calls the function at a place among the exports. */
  async call(place, type, args) {
    if (this.#over !== undefined) throw this.#over.reason;
    const [params] = type.split(':');
    const values = Array.from(params, (letter, k) => this.#convert(letter, args[k]));
    const frame = within.getStore();
    const nested = frame?.guest === this && frame.isOpen;
    const number = this.#lastCall++ >>> 0;
    return new Promise((resolve, reject) => {
      this.#calls.set(number, { type, resolve, reject });
      this.#begin();
      values.forEach((value, k) => this.#store(params[k], k, value));
      native.callThread(realm, this.#handle, number, place, params.length, nested);
    });
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
      (error) => this.#fail(frame, error)
    );
  }

  onReturned(number, error) {
    const { type, resolve, reject } = this.#calls.get(number);
    this.#calls.delete(number);
    this.#finish();
    if (error !== undefined) {
      reject(this.#failure(error));
    } else {
      try {
        const [, results] = type.split(':');
        const values = Array.from(results, (letter, k) => this.#load(letter, k));
        resolve(results.length < 2 ? values[0] : values);
      } catch (error) {
        reject(error);
      }
    }
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
    this.#thrown.set(frame.number, error);
    native.replyToThread(realm, this.#handle, frame.number, undefined);
  }

  /** What to reject with: the error, or what the import of a frame threw. */
  #failure(error) {
    if (this.#over !== undefined) return this.#over.reason;
    if (typeof error !== 'number') return error;
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
    if (--this.#pending === 0) rest(this.#number);
  }
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
class ThreadMemory {
  #guest;
  #memory;

  constructor(guest, memory) {
    this.#guest = guest;
    this.#memory = memory;
  }

  /** Bytes. */
  get size() {
    return this.#guest.memorySize(this.#memory);
  }

  /** A copy of bytes, as a Buffer. */
  read(offset, length) {
    const what = 'ThreadMemory.read()';
    const from = toUint32(offset, `${what}: Argument 0`);
    return this.#guest.readMemory(this.#memory, from, toUint32(length, `${what}: Argument 1`));
  }

  write(offset, bytes) {
    const what = 'ThreadMemory.write()';
    const to = toUint32(offset, `${what}: Argument 0`);
    const given = typeof bytes === 'string' ? Buffer.from(bytes) : bytes;
    if (!ArrayBuffer.isView(given)) {
      throw new TypeError(`${what}: Argument 1 must be a string or a view of bytes`);
    }
    const view = new Uint8Array(given.buffer, given.byteOffset, given.byteLength);
    this.#guest.writeMemory(this.#memory, to, view);
  }
}

/** The exports of a guest: functions return promises. Tables, globals and tags stay behind. */
function exportsOf(guest, module) {
  let memories = 0;
  const entries = module.exports().map(({ name, kind, type }, place) => {
    if (kind === 'memory') return [name, new ThreadMemory(guest, memories++)];
    if (kind !== 'function') return [name, undefined];
    const called = (...args) => guest.call(place, type, args);
    Object.defineProperty(called, 'name', { value: name });
    return [name, Object.defineProperty(called, 'length', { value: type.indexOf(':') })];
  });
  const exports = Object.fromEntries(entries.filter(([, value]) => value !== undefined));
  return Object.freeze(Object.setPrototypeOf(exports, null));
}

module.exports = { Guest, ThreadMemory, closed, exportsOf };
