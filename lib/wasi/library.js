'use strict';
// Instances that `WASI.instantiate` makes on this thread: what a host of plugins wants beside the
// interface of WebAssembly. Those with threads of their own have the same (thread.js).

const { native, realm } = require('../native/binding');
const { AbortError, timeoutError } = require('../util/deadline');
const { coded } = require('../util/errors');
const { Instance, link } = require('../webassembly/instance');
const { checkCall, checkFuel, exported } = require('./calls');
const { accessTo } = require('./memory-access');
const { Memory } = require('../webassembly/memory');

/** What an instance has: `{linking, module, context, data, memory}`. It is there before its exports. */
const records = new WeakMap();

class LibraryInstance extends Instance {
  /** Whatever the host wants to know of it where an import asks `caller()`. */
  get data() {
    return records.get(this).data;
  }

  set data(value) {
    records.get(this).data = value;
  }

  /** The memory that it exports as `memory`, or the only one; undefined if there is none. */
  get memory() {
    const record = records.get(this);
    const { exports } = this;
    if (exports === undefined) return undefined;
    if (record.memory === undefined) {
      const memory = memoryOf(exports);
      record.memory = memory && accessTo(memory);
    }
    return record.memory;
  }

  /** Calls an export, which may take so long and use so much fuel. */
  call(name, args = [], options = {}) {
    const { linking, context } = records.get(this);
    const called = exported(this.exports, name);
    checkCall(args, options);
    const { timeout, signal, fuel } = options;
    if (signal?.aborted) throw new AbortError(signal.reason);
    if (fuel !== undefined) checkFuel(linking.module);
    if (timeout === undefined && signal === undefined && fuel === undefined) return called(...args);
    const budget = native.beginBudget(realm, context, timeout, fuel);
    const spend = () => native.spendBudget(budget);
    signal?.addEventListener('abort', spend, { once: true });
    let outcome;
    let spent;
    try {
      outcome = { value: called(...args) };
    } catch (error) {
      outcome = { error };
    } finally {
      signal?.removeEventListener?.('abort', spend);
      spent = native.endBudget(realm, budget);
    }
    if (spent) {
      const reason = signal?.aborted
        ? new AbortError(signal.reason)
        : timeoutError(`the call of "${name}"`, timeout);
      if (!signal?.aborted)
        Object.defineProperty(reason, 'cause', { value: outcome.error, writable: true, configurable: true });
      throw reason;
    }
    if ('error' in outcome) throw outcome.error;
    return outcome.value;
  }

  /** Has all that the instance defines be as it was when it was made. */
  reset() {
    const { linking } = records.get(this);
    if (!native.resetInstance(realm, linking.handle)) {
      throw coded(Error, 'ERR_WASI_BUSY', 'instance.reset(): wasm runs that may use the instance');
    }
  }
}

/** An instance with the imports of `imports`, on this thread. `start(instance)` readies it. */
function makeLibrary(module, imports, { context, data }, start) {
  const linking = link('WASI.instantiate()', module, imports);
  linking.owner.strict = true;
  linking.begin = (instance) => {
    linking.owner.instance = instance;
    records.set(instance, { linking, context, data, memory: undefined });
  };
  const instance = new LibraryInstance(linking);
  const runs = start(instance);
  // Where no code has run, the module itself tells what there was.
  if (runs || native.hasStart(linking.module.handle)) native.keepInstance(realm, linking.handle);
  return instance;
}

/** The memory that an instance made here exports for WASI, undefined for any other value. */
function libraryMemory(instance) {
  const memory = records.has(instance) ? instance.exports?.memory : undefined;
  return memory instanceof Memory ? memory : undefined;
}

/** The memory that an instance exports as `memory`, or the only one. */
function memoryOf(exports) {
  const memories = Object.entries(exports).filter(([, value]) => value instanceof Memory);
  const [, memory] =
    memories.find(([name]) => name === 'memory') ?? (memories.length === 1 ? memories[0] : []);
  return memory;
}

module.exports = { libraryMemory, makeLibrary, memoryOf };
