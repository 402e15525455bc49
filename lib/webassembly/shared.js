'use strict';
// Shared memories. Only V8 can make a SharedArrayBuffer, so their bytes are V8's: those of one of its memories,
// or of a buffer that was given to us. A memory of V8's can also be posted to other threads, and `Atomics`
// wakes the threads that wait on it. V8 lacks some kinds of memory. The bytes of such a memory are native
// code's and stay with its instances: JavaScript gets copies.

const { constants, inOrder, native, realm } = require('../native/binding');
const { Group, keep } = require('../native/group');
const { V8Instance, V8Memory, V8Module, bufferOf, growMemory, toFixedLength } = require('./v8');

const PAGE = 65536;

/** Whether V8 has memories with addresses of 64 bits: what it posts then has them, too. */
const hasWide = isWideMemory(() => new V8Memory({ address: 'i64', initial: 0n, maximum: 0n, shared: true }));

function isWideMemory(make) {
  try {
    return typeof growMemory.call(make(), 0n) === 'bigint';
  } catch {
    return false;
  }
}

/** The most pages that V8 makes. */
const most = (wide) => (wide && hasWide ? 262144 : 65536);

/** `{initial, maximum, wide, page}` of what native code tells; all in pages but the size of one. */
function toLimits([initial, maximum, wide, page]) {
  return { initial, maximum, wide: wide === 1, page };
}

/** Why there is no memory of V8's with these limits, in words; undefined if there is one. */
function lacking({ initial, wide, page }) {
  if (V8Memory === undefined) return "this process has no WebAssembly of V8's";
  if (page !== PAGE) return `V8 has no shared memory with pages of ${page} byte${page === 1 ? '' : 's'}`;
  return initial > most(wide) ? `this V8 has no shared memory of ${initial} pages` : undefined;
}

/** A new memory of V8's; `limits` are in pages. */
function makeV8Memory({ initial, maximum: declared, wide }, what) {
  if (V8Memory === undefined) throw new RangeError(`${what}: this process has no shared memories`);
  // A memory of ours with a higher maximum cannot grow further than V8's.
  const maximum = Math.min(declared, most(wide));
  const limits =
    wide && hasWide
      ? { address: 'i64', initial: BigInt(initial), maximum: BigInt(maximum) }
      : { initial, maximum };
  try {
    return new V8Memory({ ...limits, shared: true });
  } catch (error) {
    throw new RangeError(`${what}: ${error.message}`, { cause: error });
  }
}

/** The SharedArrayBuffer of a memory of V8's; undefined for any other value. */
function sharedBufferOf(value) {
  try {
    const buffer = bufferOf.call(value);
    return isShared(buffer) ? buffer : undefined;
  } catch {
    return undefined;
  }
}

const sharedLength = Object.getOwnPropertyDescriptor(SharedArrayBuffer.prototype, 'byteLength').get;

function isShared(value) {
  try {
    sharedLength.call(value);
    return true;
  } catch {
    return false;
  }
}

/**
 * The most pages that a memory of V8's was declared with, which only linking tells: a module links
 * that asks for as much or more.
 */
function declaredMaximum(memory, wide) {
  let low = bufferOf.call(memory).byteLength / PAGE;
  let high = most(wide);
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (linksWith(memory, middle, wide)) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Whether V8 links the memory with a module that imports one of at most so many pages. */
function linksWith(memory, maximum, wide) {
  const flags = wide ? 7 : 3;
  const leb = [(maximum & 0x7f) | 0x80, ((maximum >> 7) & 0x7f) | 0x80, maximum >> 14];
  // (import "" "" (memory 0 maximum shared))
  const bytes = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 2, 9, 1, 0, 0, 2, flags, 0, ...leb];
  try {
    new V8Instance(new V8Module(Uint8Array.from(bytes)), { '': { '': memory } });
    return true;
  } catch {
    return false;
  }
}

/** What native code asks the host of a memory for, and what `Atomics.wait` answers. */
const { answers: ANSWERS, requests: REQUESTS } = constants;

/** The function that native code asks. `current` gives the memory's buffer as it is now. */
function hostOf(current, grow) {
  let words = new Int32Array(current());
  let doubleWords;
  const view = () => {
    const buffer = current();
    if (words.buffer !== buffer) {
      words = new Int32Array(buffer);
      doubleWords = undefined;
    }
    return words;
  };
  const handlers = inOrder(REQUESTS, {
    bytes: () => new Uint8Array(current()),
    grow: (delta) => (grow(delta) ? 1 : 0),
    wait32: (place, low, high, timeout) => ANSWERS.indexOf(Atomics.wait(view(), place, low | 0, timeout)),
    wait64(place, low, high, timeout) {
      const expected = BigInt.asIntN(64, (BigInt(high) << 32n) | BigInt(low));
      view();
      doubleWords ??= new BigInt64Array(words.buffer);
      return ANSWERS.indexOf(Atomics.wait(doubleWords, place, expected, timeout));
    },
    notify: (place, count) => Atomics.notify(view(), place, count),
  });
  return (request, ...args) => handlers[request](...args);
}

/**
 * The parts of a memory over a memory or a buffer of V8's: `{address, handle, group}`. Without
 * limits they are those with which it is known, or else those that V8 knows.
 */
function adopt(source, limits, wide, isNew) {
  const isBuffer = isShared(source);
  const isWide = !isBuffer && isWideMemory(() => source);
  const current = isBuffer ? () => source : () => bufferOf.call(source);
  const grow = (delta) => {
    if (isBuffer) return delta === 0;
    try {
      growMemory.call(source, isWide ? BigInt(delta) : delta);
      return true;
    } catch {
      return false;
    }
  };
  const host = hostOf(current, grow);
  const bytes = bytesOf(source);
  const take = (given, wide) => native.adoptMemory(realm, bytes, host, given, wide, isNew) ?? undefined;
  const [address, handle] =
    take(limits, wide) ?? take(isBuffer ? fixed(source) : declared(source, isWide), isWide);
  const group = new Group();
  keep(group, host);
  return { address, handle, group };
}

function fixed(buffer) {
  const pages = buffer.byteLength / PAGE;
  return [pages, pages];
}

function declared(memory, wide) {
  return [bufferOf.call(memory).byteLength / PAGE, declaredMaximum(memory, wide)];
}

/** The bytes in a buffer that does not refer to the memory: native code keeps it. */
function bytesOf(source) {
  if (isShared(source)) return new Uint8Array(structuredClone(source));
  let buffer = bufferOf.call(source);
  // V8 cannot clone those that grow with their memory, so it is that of a clone of the memory.
  if (buffer.growable) buffer = toFixedLength.call(structuredClone(source));
  return new Uint8Array(structuredClone(buffer));
}

/** Whether ours has a memory over the bytes of this one of V8's. */
function isKnown(memory) {
  return native.knowsMemory(realm, bytesOf(memory));
}

module.exports = { adopt, isKnown, isShared, lacking, makeV8Memory, sharedBufferOf, toLimits };
