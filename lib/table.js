'use strict';
// WebAssembly.Table.

const { native, realm } = require('./binding');
const { coded } = require('./errors');
const { convert, load, store, sweep } = require('./functions');
const { Existing, Group, objectAt } = require('./group');
const { describe, isObject, toUint32 } = require('./webidl');

const LETTERS = { anyfunc: 'r', funcref: 'r', externref: 'e' };

/** The private parts of a Table. */
let find;

class Table {
  #handle;
  #letter;
  /** What functions in the table are linked with: `{group}`. */
  #holder;

  constructor(descriptor, value = undefined) {
    if (descriptor instanceof Existing) {
      this.#handle = descriptor.handle;
      this.#letter = native.objectType(descriptor.handle);
      this.#holder = { group: descriptor.group };
      return;
    }
    const { letter, initial, maximum } = parse(descriptor);
    this.#letter = letter;
    this.#holder = { group: new Group() };
    // With one argument a table of functions starts with nulls.
    this.#put(arguments.length < 2 ? missing(letter) : value);
    const [address, handle] = native.createTable(realm, letter, initial, maximum);
    this.#handle = handle;
    objectAt(this.#holder.group, address, () => this);
  }

  get length() {
    return native.tableSize(this.#handle);
  }

  get(index) {
    const what = 'WebAssembly.Table.get()';
    const place = toUint32(index, `${what}: Argument 0`);
    if (!native.tableGet(realm, this.#handle, place)) this.#outside(what, place);
    return load(this.#letter, 0, this.#holder);
  }

  set(index, value = undefined) {
    const what = 'WebAssembly.Table.set()';
    const place = toUint32(index, `${what}: Argument 0`);
    this.#put(arguments.length < 2 ? missing(this.#letter) : value);
    if (!native.tableSet(realm, this.#handle, place)) this.#outside(what, place);
  }

  grow(delta, value = undefined) {
    const what = 'WebAssembly.Table.grow()';
    const count = toUint32(delta, `${what}: Argument 0`);
    this.#put(arguments.length < 2 ? missing(this.#letter) : value);
    const old = native.growTable(realm, this.#handle, count);
    if (old === null) {
      const text = `${what}: cannot grow by ${count} elements: over the maximum`;
      throw coded(RangeError, 'ERR_WASI_RANGE', text);
    }
    return old;
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
  return letter === 'r' ? null : undefined;
}

function parse(descriptor) {
  const what = 'WebAssembly.Table(): Argument 0';
  if (!isObject(descriptor)) throw new TypeError(`${what} must be a table descriptor`);
  const { element } = descriptor;
  const letter = Object.hasOwn(LETTERS, `${element}`) ? LETTERS[element] : undefined;
  if (letter === undefined) {
    throw new TypeError(`${what}: property 'element' must be 'anyfunc' or 'externref'`);
  }
  const { initial, maximum } = descriptor;
  if (initial === undefined) throw new TypeError(`${what}: property 'initial' is required`);
  const least = toUint32(initial, `${what}: property 'initial'`);
  const most = maximum === undefined ? undefined : toUint32(maximum, `${what}: property 'maximum'`);
  if (most < least) throw new RangeError(`${what}: 'maximum' ${most} is below 'initial' ${least}`);
  return { letter, initial: least, maximum: most };
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
