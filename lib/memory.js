'use strict';
// WebAssembly.Memory.

const { native, realm } = require('./binding');
const { coded } = require('./errors');
const { Existing, Group, objectAt } = require('./group');
const {
  describe,
  fromAddress,
  isObject,
  isWide,
  settle,
  toAddress,
  toLimits,
} = require('./webidl');

/** How many pages there may be: at most, and to be declared. */
const NARROW = { size: 65536, type: 65536 };
const WIDE = { size: 262144, type: 2 ** 37 - 1 };

/** The private parts of a Memory. */
let find;

class Memory {
  #handle;
  #group;
  /** Whether addresses are 64 bits wide, so BigInts. */
  #wide;
  #buffer = null;

  constructor(descriptor) {
    if (descriptor instanceof Existing) {
      this.#handle = descriptor.handle;
      this.#group = descriptor.group;
      this.#wide = native.objectType(descriptor.handle) === 'w';
      return;
    }
    settle(this, new.target, Memory);
    const { initial, maximum, wide } = parse(descriptor);
    const [address, handle] = native.createMemory(realm, initial, maximum, wide);
    this.#handle = handle;
    this.#wide = wide;
    this.#group = new Group();
    objectAt(this.#group, address, () => this);
  }

  grow(delta) {
    const what = 'WebAssembly.Memory.grow()';
    const handle = this.#handle;
    const wide = this.#wide;
    const pages = toAddress(delta, wide, `${what}: Argument 0`);
    const old = pages > (wide ? WIDE : NARROW).size ? null : native.growMemory(realm, handle, pages);
    if (old === null) {
      const text = `${what}: cannot grow by ${pages} pages: over the maximum, or no memory`;
      throw coded(RangeError, 'ERR_WASI_RANGE', text);
    }
    this.#buffer = null;
    return fromAddress(old, wide);
  }

  get buffer() {
    const buffer = this.#buffer;
    // A buffer is detached as soon as its memory has grown, so its length tells.
    if (buffer !== null && buffer.byteLength !== 0) return buffer;
    const renewed = native.memoryBuffer(realm, this.#handle);
    if (buffer !== null && renewed.byteLength === 0) return buffer;
    return (this.#buffer = renewed);
  }

  static {
    find = (value) =>
      isObject(value) && #handle in value
        ? { handle: value.#handle, group: value.#group }
        : undefined;
  }
}

describe(Memory, 'WebAssembly.Memory');

function parse(descriptor) {
  const what = 'WebAssembly.Memory(): Argument 0';
  if (!isObject(descriptor)) throw new TypeError(`${what} must be a memory descriptor`);
  const wide = isWide(descriptor, what);
  const { initial, maximum } = toLimits(descriptor, wide, what);
  const shared = Boolean(descriptor.shared);
  if (shared) {
    throw new TypeError(`${what}: property 'shared': shared memories are not supported yet`);
  }
  const most = wide ? WIDE : NARROW;
  if (initial > most.size) throw new RangeError(`${what}: a memory has at most ${most.size} pages`);
  if (maximum > most.type) {
    throw new RangeError(`${what}: property 'maximum' can be at most ${most.type}`);
  }
  if (maximum < initial) {
    throw new RangeError(`${what}: 'maximum' ${maximum} is below 'initial' ${initial}`);
  }
  return { initial, maximum, wide };
}

/** The Memory for a native one. */
function memoryFor(address, handle, group) {
  return objectAt(group, address, () => new Memory(new Existing(handle, group)));
}

/** `{handle, group}` of a Memory; undefined for any other value. */
function memoryParts(value) {
  return find(value);
}

module.exports = { Memory, memoryFor, memoryParts };
