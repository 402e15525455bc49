'use strict';
// WebAssembly.Table.

const { native, realm } = require('../native/binding');
const { coded } = require('../util/errors');
const { Existing, Group, objectAt } = require('../native/group');
const { pass, typeNamed, typeOf } = require('../native/types');
const { fromAddress, isWide, toAddress, toLimits } = require('../util/conversions');
const { describe, isObject, privateParts, settle, uncloneable } = require('../util/webidl');

/**
 * The private parts of a Table: its native `handle`, the `type` of its elements, whether indices
 * are 64 bits `wide`, so BigInts, and its `group`, with which functions in the table are linked.
 */
const { put, of: tableParts } = privateParts();

class Table {
  constructor(descriptor, value = undefined) {
    const table = uncloneable(this);
    if (descriptor instanceof Existing) {
      const { handle, group } = descriptor;
      const [letter, wide] = native.objectType(realm, handle);
      put(table, { handle, type: typeOf(letter), wide: wide === 'w', group });
      return table;
    }
    settle(table, new.target, Table);
    const { type, wide, initial, maximum } = parse(descriptor);
    const parts = { handle: undefined, type, wide, group: new Group() };
    pass(type, value === undefined ? type.initial : value, parts);
    const [address, handle] = native.createTable(realm, type.letter, initial, maximum, wide);
    parts.handle = handle;
    put(table, parts);
    return objectAt(parts.group, address, () => table);
  }

  get length() {
    return size(partsOf(this, 'WebAssembly.Table.length'));
  }

  get(index) {
    const what = 'WebAssembly.Table.get()';
    const parts = partsOf(this, what);
    const place = toAddress(index, parts.wide, `${what}: Argument 0`);
    if (!native.tableGet(realm, parts.handle, place)) throw outside(parts, what, place);
    return parts.type.load(0, parts);
  }

  set(index, value = undefined) {
    const what = 'WebAssembly.Table.set()';
    const parts = partsOf(this, what);
    const place = toAddress(index, parts.wide, `${what}: Argument 0`);
    pass(parts.type, arguments.length < 2 ? parts.type.initial : value, parts);
    if (!native.tableSet(realm, parts.handle, place)) throw outside(parts, what, place);
  }

  grow(delta, value = undefined) {
    const what = 'WebAssembly.Table.grow()';
    const parts = partsOf(this, what);
    const count = toAddress(delta, parts.wide, `${what}: Argument 0`);
    pass(parts.type, value === undefined ? parts.type.initial : value, parts);
    const old = native.growTable(realm, parts.handle, count);
    if (old === null) {
      const text = `${what}: cannot grow by ${count} elements: over the maximum`;
      throw coded(RangeError, 'ERR_WASI_RANGE', text);
    }
    return fromAddress(old, parts.wide);
  }
}

describe(Table, 'WebAssembly.Table');

function partsOf(value, what) {
  const parts = tableParts(value);
  if (parts === undefined) throw new TypeError(`${what}: the receiver must be a WebAssembly.Table`);
  return parts;
}

function size({ handle, wide }) {
  return fromAddress(native.tableSize(handle), wide);
}

function outside(parts, what, place) {
  const text = `${what}: no element ${place} in a table of ${size(parts)}`;
  return coded(RangeError, 'ERR_WASI_RANGE', text);
}

/** In the order that the interface's own tests ask for. */
function parse(descriptor) {
  const what = 'WebAssembly.Table(): Argument 0';
  if (!isObject(descriptor)) throw new TypeError(`${what} must be a table descriptor`);
  const element = `${descriptor.element}`;
  const type = typeNamed(element);
  if (type === undefined || type.primitive !== undefined || type.isExotic) {
    throw new TypeError(`${what}: property 'element' must be 'anyfunc' or 'externref'`);
  }
  const wide = isWide(descriptor, what);
  const { initial, maximum } = toLimits(descriptor, wide, what);
  if (maximum < initial) {
    throw new RangeError(`${what}: 'maximum' ${maximum} is below 'initial' ${initial}`);
  }
  return { type, wide, initial, maximum };
}

/** The Table for a native one. */
function tableFor(address, handle, group) {
  return objectAt(group, address, () => new Table(new Existing(handle, group)));
}

module.exports = { Table, tableFor, tableParts };
