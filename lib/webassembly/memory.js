'use strict';
// WebAssembly.Memory. A shared one is an object of V8's with our prototype: V8 lets it be posted to
// other threads, and imports it. Only those of modules that V8 has not are objects of ours.

const { native, realm } = require('../native/binding');
const { coded } = require('../util/errors');
const { Existing, Group, objectAt } = require('../native/group');
const {
  adopt,
  isKnown,
  isShared,
  lacking,
  makeV8Memory,
  sharedBufferOf,
  toLimits: limitsOf,
} = require('./shared');
const { bufferOf, toFixedLength, toResizable } = require('./v8');
const { fromAddress, isWide, toAddress, toLimits } = require('../util/conversions');
const { describe, isObject, privateParts, recognize, settle, uncloneable } = require('../util/webidl');

/** How many pages there may be: at most, and to be declared. */
const NARROW = { size: 65536, type: 65536 };
const WIDE = { size: 262144, type: 2 ** 37 - 1 };

/**
 * The private parts of a Memory: its native `handle`, its `group`, whether its addresses are
 * `wide`, so BigInts, whether it is `shared` with V8, and the `buffer` that JavaScript last saw. A
 * shared one that V8 cannot have `lacks` a buffer, for the reason that this says.
 */
const { put, of: memoryParts } = privateParts();

/** Why the memory of a program with threads has no buffer. */
const OF_THREADS = 'the memory belongs to a program and its threads';

class Memory {
  constructor(descriptor) {
    const memory = uncloneable(this);
    if (descriptor instanceof Existing) {
      const { handle, group } = descriptor;
      const wide = native.objectType(realm, handle) === 'w';
      const own = native.ownShared(handle);
      const lacks = own === null ? undefined : (lacking(limitsOf(own)) ?? OF_THREADS);
      put(memory, { handle, group, wide, shared: false, buffer: null, lacks });
      notResizable(memory);
      return memory;
    }
    settle(memory, new.target, Memory);
    const limits = parse(descriptor);
    if (limits.shared) return makeShared(limits, Object.getPrototypeOf(memory));
    const { initial, maximum, wide } = limits;
    const [address, handle] = native.createMemory(realm, initial, maximum, wide);
    const group = new Group();
    put(memory, { handle, group, wide, shared: false, buffer: null });
    notResizable(memory);
    return objectAt(group, address, () => memory);
  }

  grow(delta) {
    const what = 'WebAssembly.Memory.grow()';
    const parts = partsOf(this, what);
    const pages = toAddress(delta, parts.wide, `${what}: Argument 0`);
    const { size } = parts.wide ? WIDE : NARROW;
    const old = pages > size ? null : native.growMemory(realm, parts.handle, pages);
    if (old === null) {
      const text = `${what}: cannot grow by ${pages} pages: over the maximum, or no memory`;
      throw coded(RangeError, 'ERR_WASI_RANGE', text);
    }
    parts.buffer = null;
    return fromAddress(old, parts.wide);
  }

  get buffer() {
    const parts = partsOf(this, 'WebAssembly.Memory.buffer');
    if (parts.shared) return sharedBuffer(this, parts);
    if (parts.lacks !== undefined) throw noBuffer(parts.lacks);
    const { buffer } = parts;
    // A buffer is detached as soon as its memory has grown, and has no length then.
    if (buffer !== null && buffer.byteLength !== 0) return buffer;
    return (parts.buffer = untaken(native.memoryBuffer(realm, parts.handle)));
  }
}

resizableBuffers(Memory);
describe(Memory, 'WebAssembly.Memory');
recognize(Memory, arrived);

/** The interface has no such method, so it is not enumerable. */
Object.defineProperty(Memory, 'from', {
  value: {
    from(source) {
      const memory = memoryParts(source) ? source : adopted(source);
      if (memory !== undefined) return memory;
      const what = "a SharedArrayBuffer, or a shared WebAssembly.Memory of V8's or of wasi-native";
      throw new TypeError(`WebAssembly.Memory.from(): Argument 0 must be ${what}`);
    },
  }.from,
  writable: true,
  enumerable: false,
  configurable: true,
});

/**
 * Gives the class V8's methods for buffers that grow with their memory, where V8 has them. Only V8 can make
 * such a buffer, and does so for the memories that are its own: the shared ones.
 */
function resizableBuffers({ prototype }) {
  if (toResizable === undefined) return;
  const methods = {
    toFixedLengthBuffer() {
      const { shared, buffer } = partsOf(this, 'WebAssembly.Memory.toFixedLengthBuffer()');
      return shared && buffer === null ? toFixedLength.call(this) : this.buffer;
    },
    toResizableBuffer() {
      partsOf(this, 'WebAssembly.Memory.toResizableBuffer()');
      return toResizable.call(this);
    },
  };
  for (const [name, value] of Object.entries(methods)) {
    Object.defineProperty(prototype, name, { value, writable: true, configurable: true });
  }
}

/** A memory that cannot have a resizable buffer has no method for it: programs look before they call it. */
function notResizable(memory) {
  if (toResizable !== undefined) {
    Object.defineProperty(memory, 'toResizableBuffer', {
      value: undefined,
      writable: true,
      configurable: true,
    });
  }
}

/**
 * A buffer like those of V8's memories, which `transfer()` does not take away. Where native code cannot see
 * to that, the method itself refuses.
 */
function untaken(buffer) {
  locked ??= native.locksBuffers(realm, buffer);
  if (!locked) Object.defineProperties(buffer, REFUSING);
  return buffer;
}

let locked;

const REFUSING = Object.fromEntries(
  ['transfer', 'transferToFixedLength']
    .filter((name) => name in ArrayBuffer.prototype)
    .map((name) => [name, { value: { [name]: refuse }[name], writable: true, configurable: true }]),
);

function refuse() {
  throw new TypeError('the buffer of a WebAssembly.Memory cannot be transferred');
}

function partsOf(value, what) {
  const parts = memoryParts(value);
  if (parts === undefined) throw new TypeError(`${what}: the receiver must be a WebAssembly.Memory`);
  return parts;
}

function parse(descriptor) {
  const what = 'WebAssembly.Memory(): Argument 0';
  if (!isObject(descriptor)) throw new TypeError(`${what} must be a memory descriptor`);
  const wide = isWide(descriptor, what);
  const { initial, maximum } = toLimits(descriptor, wide, what);
  const shared = Boolean(descriptor.shared);
  if (shared && maximum === undefined) {
    throw new TypeError(`${what}: property 'maximum' is required of a shared memory`);
  }
  const most = wide ? WIDE : NARROW;
  if (initial > most.size) throw new RangeError(`${what}: a memory has at most ${most.size} pages`);
  if (maximum > most.type) {
    throw new RangeError(`${what}: property 'maximum' can be at most ${most.type}`);
  }
  if (maximum < initial) {
    throw new RangeError(`${what}: 'maximum' ${maximum} is below 'initial' ${initial}`);
  }
  return { initial, maximum, wide, shared };
}

/** A new shared memory. */
function makeShared(limits, prototype = Memory.prototype) {
  const memory = Object.setPrototypeOf(makeV8Memory(limits, 'WebAssembly.Memory()'), prototype);
  const { initial, maximum, wide } = limits;
  return share(memory, memory, [initial, maximum], wide, true);
}

/**
 * Makes one of ours of a shared memory or buffer that came from another thread or from V8: the
 * same object, if it is a memory. Undefined for any other value.
 */
function adopted(source) {
  if (sharedBufferOf(source) !== undefined) {
    Object.setPrototypeOf(source, Memory.prototype);
    return share(source, source);
  }
  if (!isShared(source)) return undefined;
  if (source.byteLength === 0 || source.byteLength % 65536 !== 0) {
    const text = 'the length of a SharedArrayBuffer must be a multiple of 65536';
    throw new RangeError(`WebAssembly.Memory.from(): ${text}, not ${source.byteLength}`);
  }
  return share(Object.create(Memory.prototype), source);
}

/**
 * A memory on its way into `instanceof`: one of ours that came from another thread becomes ours here,
 * too. Any other shared one of V8's is left to V8's code, but it is taken wherever ours is, and may
 * have been ours before the thread that made it let it go.
 */
function arrived(value) {
  if (memoryParts(value) !== undefined || sharedBufferOf(value) === undefined) return false;
  if (isKnown(value)) adopted(value);
  return true;
}

function share(memory, source, limits, wide = false, isNew = false) {
  const { address, handle, group } = adopt(source, limits, wide, isNew);
  const isWideMemory = native.objectType(realm, handle) === 'w';
  const buffer = isShared(source) ? source : null;
  put(memory, { handle, group, wide: isWideMemory, shared: true, buffer });
  if (buffer !== null) notResizable(memory);
  return objectAt(group, address, () => memory);
}

/** The buffer of a shared memory, which is V8's or was given. */
function sharedBuffer(memory, parts) {
  if (parts.buffer !== null) return parts.buffer;
  const buffer = bufferOf.call(memory);
  // V8's own code may have made the memory larger.
  native.followMemory(parts.handle);
  return buffer;
}

function noBuffer(lacks) {
  const text = `${lacks}, and only V8 can make a SharedArrayBuffer; the bytes stay with instances of this thread`;
  const advice =
    'copy them by instance.memory.read() and write() of an instance that WASI.instantiate() made';
  return coded(Error, 'ERR_WASI_NO_BUFFER', `WebAssembly.Memory.buffer: ${text}: ${advice}`);
}

/** The native handle of a memory of ours that has no buffer; undefined for any other value. */
function handleWithoutBuffer(value) {
  const parts = memoryParts(value);
  return parts?.lacks === undefined ? undefined : parts.handle;
}

/** The Memory for a native one. */
function memoryFor(address, handle, group) {
  return objectAt(group, address, () => new Memory(new Existing(handle, group)));
}

module.exports = { Memory, adopted, handleWithoutBuffer, makeShared, memoryFor, memoryParts };
