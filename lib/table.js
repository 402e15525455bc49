'use strict';
// WebAssembly.Table.

const { native, realm } = require('./binding');
const { coded } = require('./errors');
const { convert, load, store, sweep } = require('./functions');
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

const LETTERS = { anyfunc: 'r', funcref: 'r', externref: 'e' };

/** The private parts of a Table. */
let find;

class Table {
  #handle;
  #letter;
  /** Whether indices are 64 bits wide, so BigInts. */
  #wide;
  /** What functions in the table are linked with: `{group}`. */
  #holder;

  constructor(descriptor, value = undefined) {
    if (descriptor instanceof Existing) {
      const [letter, wide] = native.objectType(descriptor.handle);
      this.#handle = descriptor.handle;
      this.#letter = letter;
      this.#wide = wide === 'w';
      this.#holder = { group: descriptor.group };
      return;
    }
    settle(this, new.target, Table);
    const { letter, wide, initial, maximum } = parse(descriptor);
    this.#letter = letter;
    this.#wide = wide;
    this.#holder = { group: new Group() };
    this.#put(value === undefined ? missing(letter) : value);
    const [address, handle] = native.createTable(realm, letter, initial, maximum, wide);
    this.#handle = handle;
    objectAt(this.#holder.group, address, () => this);
  }

  get length() {
    return fromAddress(native.tableSize(this.#handle), this.#wide);
  }

  get(index) {
    const what = 'WebAssembly.Table.get()';
    const handle = this.#handle;
    const place = toAddress(index, this.#wide, `${what}: Argument 0`);
    if (!native.tableGet(realm, handle, place)) this.#outside(what, place);
    return load(this.#letter, 0, this.#holder);
  }

  set(index, value = undefined) {
    const what = 'WebAssembly.Table.set()';
    const handle = this.#handle;
    const place = toAddress(index, this.#wide, `${what}: Argument 0`);
    this.#put(arguments.length < 2 ? missing(this.#letter) : value);
    if (!native.tableSet(realm, handle, place)) this.#outside(what, place);
  }

  grow(delta, value = undefined) {
    const what = 'WebAssembly.Table.grow()';
    const handle = this.#handle;
    const count = toAddress(delta, this.#wide, `${what}: Argument 0`);
    this.#put(value === undefined ? missing(this.#letter) : value);
    const old = native.growTable(realm, handle, count);
    if (old === null) {
      const text = `${what}: cannot grow by ${count} elements: over the maximum`;
      throw coded(RangeError, 'ERR_WASI_RANGE', text);
    }
    return fromAddress(old, this.#wide);
  }

  #put(value) {
    const converted = convert(this.#letter, value, this.#holder);
    sweep();
    store(this.#letter, 0, converted);
  }

  #outside(what, place) {
    const text = `${what}: no element ${place} in a table of ${this.length}`;
    throw coded(RangeError, 'ERR_WASI_RANGE', text);
  }

  static {
    find = (value) =>
      isObject(value) && #handle in value
        ? { handle: value.#handle, group: value.#holder.group }
        : undefined;
  }
}

describe(Table, 'WebAssembly.Table');

/** What an element is when nothing was given. */
function missing(letter) {
  return letter === 'e' ? undefined : null;
}

function parse(descriptor) {
  const what = 'WebAssembly.Table(): Argument 0';
  if (!isObject(descriptor)) throw new TypeError(`${what} must be a table descriptor`);
  const wide = isWide(descriptor, what);
  const element = `${descriptor.element}`;
  if (!Object.hasOwn(LETTERS, element)) {
    throw new TypeError(`${what}: property 'element' must be 'anyfunc' or 'externref'`);
  }
  const { initial, maximum } = toLimits(descriptor, wide, what);
  if (maximum < initial) {
    throw new RangeError(`${what}: 'maximum' ${maximum} is below 'initial' ${initial}`);
  }
  return { letter: LETTERS[element], wide, initial, maximum };
}

/** The Table for a native one. */
function tableFor(address, handle, group) {
  return objectAt(group, address, () => new Table(new Existing(handle, group)));
}

/** `{handle, group}` of a Table; undefined for any other value. */
function tableParts(value) {
  return find(value);
}

module.exports = { Table, tableFor, tableParts };
