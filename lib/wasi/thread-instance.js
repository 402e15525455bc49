'use strict';
// Instances on threads of their own, as a host has them.

const { signatureOf } = require('../native/types');
const { callSite, withSite } = require('../util/call-site');
const { coded } = require('../util/errors');
const check = require('../util/validate');
const { closeable } = require('../util/webidl');
const { checkCall, checkFuel, exported } = require('./calls');
const { MemoryAccess } = require('./memory-access');
const { CLOSED } = require('./thread');

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

module.exports = { ThreadInstance };
