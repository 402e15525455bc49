'use strict';
// The memory of a library, and its allocator, for hosts that pass it strings and bytes.
//
// Small arguments go to a scratch area that the library gave out once, used as a stack: a call takes from its
// top and gives it back, also a call that an import makes while another one runs. So they cost no call of the
// allocator.

const { recordOf } = require('../native/functions');
const { signatureOf } = require('../native/types');
const { coded } = require('../util/errors');
const check = require('../util/validate');

/** Pairs of exports that allocate and free, as C libraries, Rust crates, components and wasm-bindgen name them. */
const PAIRS = [
  ['malloc', 'free'],
  ['alloc', 'dealloc'],
  ['alloc', 'free'],
  ['allocate', 'deallocate'],
  ['__wbindgen_malloc', '__wbindgen_free'],
  ['cabi_realloc', 'cabi_realloc'],
  ['alloc', undefined],
  ['allocate', undefined],
];

/** How an export with so many parameters is asked for `size` bytes: C, wasm-bindgen, components. */
const ALLOCATE = {
  results: 1,
  ways: {
    1: (f) => (size) => f(size) >>> 0,
    2: (f) => (size) => f(size, ALIGNMENT) >>> 0,
    4: (f) => (size) => f(0, 0, ALIGNMENT, size) >>> 0,
  },
};

/**
 * The same for giving them back. Who is told a size has allocated nothing where it is 0: an empty `Vec` of Rust
 * has an address, but no bytes behind it.
 */
const FREE = {
  results: 0,
  ways: {
    1: (f) => (address) => void f(address),
    2: (f) => (address, size) => void (size > 0 && f(address, size)),
    3: (f) => (address, size) => void (size > 0 && f(address, size, ALIGNMENT)),
    4: (f) => (address, size) => void (size > 0 && f(address, size, ALIGNMENT, 0)),
  },
};

const ALIGNMENT = 8;

/** Bytes of the scratch area. */
const SCRATCH = 4096;

class Heap {
  #memory;
  #view = Buffer.alloc(0);
  #allocate;
  #free;
  /** The address of the scratch area, and how much of it is used. */
  #scratch = 0;
  #used = 0;
  /** Addresses and sizes of what calls that are under way had no room for in the scratch area. */
  extra = [];
  /** The bytes of the value that was put into the memory last. */
  length = 0;
  /** The library was closed: nothing of it is called any more. */
  closed = false;
  /** The trap that ended it: its memory is as the trap left it. */
  trap;

  /** `names`: what `load` was told of the exports that allocate and free. */
  constructor(memory, exports, names = {}) {
    this.#memory = memory;
    [this.#allocate, this.#free] = pairOf(exports, names);
  }

  get hasMemory() {
    return this.#memory !== undefined;
  }

  get canFree() {
    return this.#free !== undefined;
  }

  /** Throws if the library has no way to `alloc` or `free`. */
  needs(way) {
    if (way === 'alloc' ? this.#allocate === undefined : this.#free === undefined) throw lacking(way);
  }

  /** The address of `size` new bytes. */
  allocate(size) {
    this.check();
    this.needs('alloc');
    // Nothing is none of an allocator's business, but an address that can be told from null.
    const address = this.#allocate(Math.max(size, 1));
    if (address === 0) {
      const text = `the library's allocator refused ${size} bytes: its memory is full`;
      throw coded(RangeError, 'ERR_WASI_RANGE', text);
    }
    return address;
  }

  free(address, size) {
    this.check();
    this.needs('free');
    this.#free(address, size);
  }

  check() {
    if (this.closed) throw coded(Error, 'ERR_WASI_CLOSED', 'the library was closed by its close()');
    if (this.trap === undefined) return;
    const text = `the library runs no more since this happened in it: ${this.trap.message}; load it again`;
    throw coded(Error, 'ERR_WASI_DEAD', text);
  }

  /** The bytes of the memory. Valid until the library runs. */
  bytes() {
    // A buffer has no length once its memory has grown.
    if (this.#view.length === 0) this.#view = Buffer.from(this.#memory.buffer);
    return this.#view;
  }

  /** The bytes of the memory, which must reach to `end`. */
  checked(address, end, what) {
    let bytes = this.bytes();
    if (end <= bytes.length) return bytes;
    // A shared buffer keeps its length when its memory grows.
    this.#view = Buffer.from(this.#memory.buffer);
    bytes = this.#view;
    if (end <= bytes.length) return bytes;
    const text = `${what}: the library gave bytes from ${address} to ${end}, past the end of its memory at ${bytes.length}`;
    throw coded(RangeError, 'ERR_WASI_RANGE', text);
  }

  /** How much of the scratch area is used, for [`unwind`]. */
  get mark() {
    return this.#used;
  }

  /** Gives back what was taken since `mark`. */
  unwind(mark) {
    this.#used = mark;
  }

  /** The address of `size` new bytes, for the call that is under way. */
  allocateExtra(size) {
    const address = this.allocate(size);
    this.extra.push(address, Math.max(size, 1));
    return address;
  }

  /**
   * Frees what was allocated so since there were `before` entries. Without a way to free, a library is one whose
   * allocator forgets all by itself; after a trap nobody knows what its allocator would do.
   */
  release(before) {
    const gone = this.extra.splice(before);
    if (!this.canFree || this.trap !== undefined) return;
    for (let k = 0; k < gone.length; k += 2) this.free(gone[k], gone[k + 1]);
  }

  /** The address of `size` bytes of the scratch area; 0 if they are not there. */
  take(size) {
    const used = this.#used;
    if (used + size > SCRATCH) return 0;
    if (this.#scratch === 0) this.#scratch = this.allocate(SCRATCH);
    // The next one begins where any type may, and is another address even after no bytes.
    this.#used = used + (size & -ALIGNMENT) + ALIGNMENT;
    return this.#scratch + used;
  }
}

/** What allocates and what frees among the exports; undefined for what is not there. */
function pairOf(exports, { alloc, free }) {
  const find = (name, kind) => (Object.hasOwn(exports, name) ? wayOf(exports[name], kind) : undefined);
  const named = (option, name, kind) => {
    check.isOfType('string', name, `options.${option}`);
    const way = find(name, kind);
    if (way !== undefined) return way;
    const counts = Object.keys(kind.ways).join(', ');
    const reason = `must name an exported function that takes ${counts} i32 and returns ${kind.results}`;
    throw check.invalidValue(`options.${option}`, name, reason);
  };
  if (alloc !== undefined || free !== undefined) {
    return [alloc && named('alloc', alloc, ALLOCATE), free && named('free', free, FREE)];
  }
  for (const [allocator, releaser] of PAIRS) {
    const allocate = find(allocator, ALLOCATE);
    const release = releaser && find(releaser, FREE);
    if (allocate !== undefined && (releaser === undefined || release !== undefined))
      return [allocate, release];
  }
  return [];
}

/** How the wasm function does it; undefined if its type is another one. */
function wayOf(value, { ways, results }) {
  const record = recordOf(value);
  if (record === undefined) return undefined;
  const type = signatureOf(record.signature);
  const isRealloc = value.length === 4;
  const fits = [...type.params, ...type.results].every(({ name }) => name === 'i32');
  return fits && type.results.length === (isRealloc ? 1 : results) ? ways[value.length]?.(value) : undefined;
}

function lacking(way) {
  const index = way === 'free' ? 1 : 0;
  const known = [...new Set(PAIRS.map((pair) => pair[index]))]
    .filter((name) => name !== undefined)
    .join(', ');
  const text = `the library exports nothing that ${index === 1 ? 'frees' : 'allocates'} memory (${known})`;
  const advice = `export such a function, or name yours by { ${way}: 'name' }`;
  return coded(Error, 'ERR_WASI_NO_ALLOCATOR', `${text}; ${advice}`);
}

module.exports = { Heap };
