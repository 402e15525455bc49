'use strict';
// The bytes of an instance's memory, for hosts: the same for instances on this thread and on others.

const { native, realm } = require('../native/binding');
const { coded } = require('../util/errors');
const check = require('../util/validate');

// Loaded where it is used: memories of other threads are no objects of that class.
const memories = () => require('../webassembly/memory');

/** How much `readString` looks at first for the end of a string. */
const FIRST = 256;

class MemoryAccess {
  /** `{size(), read(offset, length), write(offset, view)}`, the second of which copies. */
  #source;

  constructor(source) {
    this.#source = source;
  }

  /** Bytes. */
  get size() {
    return this.#source.size();
  }

  /** A copy of bytes, as a Buffer. */
  read(offset, length) {
    const from = toIndex(offset, 'memory.read(): Argument 0');
    return this.#source.read(from, toIndex(length, 'memory.read(): Argument 1'));
  }

  /** Text of so many bytes, or up to the next NUL. */
  readString(offset, length = undefined, encoding = 'utf8') {
    const what = 'memory.readString()';
    const from = toIndex(offset, `${what}: Argument 0`);
    if (!Buffer.isEncoding(encoding))
      throw check.invalidValue('encoding', encoding, 'is no encoding that Buffer knows');
    if (length !== undefined) {
      return this.#source.read(from, toIndex(length, `${what}: Argument 1`)).toString(encoding);
    }
    const size = this.size;
    for (let count = FIRST; ; count *= 4) {
      const end = Math.min(from + count, size);
      const bytes = this.#source.read(from, Math.max(end - from, 0));
      const nul = bytes.indexOf(0);
      if (nul >= 0) return bytes.subarray(0, nul).toString(encoding);
      if (end >= size) {
        const text = `${what}: no NUL ends the string at ${from}, up to the end of the memory at ${size}`;
        throw coded(RangeError, 'ERR_WASI_RANGE', text);
      }
    }
  }

  /** Copies a text there, and returns its bytes. No NUL ends it, unless the text has one. */
  writeString(offset, text, encoding = 'utf8') {
    const to = toIndex(offset, 'memory.writeString(): Argument 0');
    check.isOfType('string', text, 'text');
    check.isEncoding(encoding, 'encoding');
    const bytes = Buffer.from(text, encoding);
    this.#source.write(to, bytes);
    return bytes.byteLength;
  }

  /** Copies bytes there, or text as UTF-8. Returns how many bytes. */
  write(offset, bytes) {
    const to = toIndex(offset, 'memory.write(): Argument 0');
    const view = toView(bytes);
    this.#source.write(to, view);
    return view.byteLength;
  }
}

function toView(bytes) {
  if (typeof bytes === 'string') return Buffer.from(bytes);
  if (ArrayBuffer.isView(bytes)) return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  throw new TypeError('memory.write(): Argument 1 must be a string or a view of bytes');
}

/** A place or a number of bytes; a BigInt where addresses have 64 bits. */
function toIndex(value, what) {
  const number = typeof value === 'bigint' ? Number(value) : Math.trunc(+value);
  if (number >= 0 && number <= Number.MAX_SAFE_INTEGER) return number + 0;
  const advice = number < 0 ? ': an address from wasm is signed, and `>>> 0` makes it what it is' : '';
  throw new TypeError(`${what} must be an integer from 0 to 2^53 - 1, not ${value}${advice}`);
}

/** Access to a memory of this thread. */
function accessTo(memory) {
  const handle = memories().handleWithoutBuffer(memory);
  if (handle !== undefined) {
    return new MemoryAccess({
      size: () => native.memorySize(handle),
      read: (offset, length) => native.readMemory(realm, handle, offset, length),
      write: (offset, bytes) => native.writeMemory(realm, handle, offset, bytes),
    });
  }
  const view = (offset, length) => {
    const { buffer } = memory;
    if (offset + length > buffer.byteLength) {
      const text = `outside of the memory, which has ${buffer.byteLength} bytes`;
      throw coded(RangeError, 'ERR_WASI_RANGE', text);
    }
    return Buffer.from(buffer, offset, length);
  };
  return new MemoryAccess({
    size: () => memory.buffer.byteLength,
    read: (offset, length) => Buffer.from(view(offset, length)),
    write: (offset, bytes) => view(offset, bytes.byteLength).set(bytes),
  });
}

module.exports = { MemoryAccess, accessTo };
