'use strict';
// WebAssembly.Memory.

const { native, realm } = require('./binding');
const { coded } = require('./errors');
const { Existing, Group, objectAt } = require('./group');
const { describe, isObject, toUint32 } = require('./webidl');

const MAX_PAGES = 65536;

/** The private parts of a Memory. */
let find;

class Memory {
  #handle;
  #group;
  #buffer = null;

  constructor(descriptor) {
    if (descriptor instanceof Existing) {
      this.#handle = descriptor.handle;
      this.#group = descriptor.group;
      return;
    }
    const { initial, maximum } = limits(descriptor);
    const [address, handle] = native.createMemory(realm, initial, maximum);
    this.#handle = handle;
    this.#group = new Group();
    objectAt(this.#group, address, () => this);
  }

  grow(delta) {
    const pages = toUint32(delta, 'WebAssembly.Memory.grow(): Argument 0');
    const handle = this.#handle;
    const old = native.growMemory(realm, handle, pages);
    if (old === null) {
      throw coded(
        RangeError,
        'ERR_WASI_RANGE',
        `WebAssembly.Memory.grow(): cannot grow by ${pages} pages: over the maximum, or no memory`
      );
    }
    this.#buffer = null;
    return old;
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

function limits(descriptor) {
  const what = 'WebAssembly.Memory(): Argument 0';
  if (!isObject(descriptor)) throw new TypeError(`${what} must be a memory descriptor`);
  const { initial, maximum, shared } = descriptor;
  if (initial === undefined) throw new TypeError(`${what}: property 'initial' is required`);
  const least = toUint32(initial, `${what}: property 'initial'`);
  const most = maximum === undefined ? undefined : toUint32(maximum, `${what}: property 'maximum'`);
  if (shared) {
    throw new TypeError(`${what}: property 'shared': shared memories are not supported yet`);
  }
  if (least > MAX_PAGES || most > MAX_PAGES) {
    throw new RangeError(`${what}: a memory has at most ${MAX_PAGES} pages`);
  }
  if (most < least) throw new RangeError(`${what}: 'maximum' ${most} is below 'initial' ${least}`);
  return { initial: least, maximum: most };
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
