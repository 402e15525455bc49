'use strict';
// WebAssembly.Tag.

const { native, realm } = require('./binding');
const { Existing, Group, keep, objectAt } = require('./group');
const { describe, isObject, settle } = require('./webidl');

const LETTERS = {
  i32: 'i', i64: 'l', f32: 'f', f64: 'd', v128: 'x', anyfunc: 'r', funcref: 'r', externref: 'e',
};

/** The private parts of a Tag. */
let find;

class Tag {
  #parts;

  constructor(type) {
    if (type instanceof Existing) {
      const { address, handle, group } = type;
      const letters = native.objectType(handle);
      this.#parts = { address, handle, letters, holder: { group }, group };
      return;
    }
    settle(this, new.target, Tag);
    const letters = parse(type);
    const [address, handle] = native.createTag(realm, letters);
    const group = new Group();
    this.#parts = { address, handle, letters, holder: { group }, group };
    objectAt(group, address, () => this);
    settleTag(address, group);
  }

  static {
    find = (value) => (isObject(value) && #parts in value ? value.#parts : undefined);
  }
}

describe(Tag, 'WebAssembly.Tag');

function parse(type) {
  const what = 'WebAssembly.Tag(): Argument 0';
  if (!isObject(type)) throw new TypeError(`${what} must be a tag type`);
  const { parameters } = type;
  if (!isObject(parameters) || typeof parameters[Symbol.iterator] !== 'function') {
    throw new TypeError(`${what}: property 'parameters' must be an iterable of types`);
  }
  return Array.from(parameters, (given) => {
    const name = `${given}`;
    if (!Object.hasOwn(LETTERS, name)) {
      const types = Object.keys(LETTERS).join(', ');
      throw new TypeError(`${what}: a parameter must be one of ${types}, not '${name}'`);
    }
    return LETTERS[name];
  }).join('');
}

/**
 * Where tags are at home, by address: an exception that leaves wasm names its tag so. The group
 * of a tag keeps its home; the registry does not keep the group.
 */
const homes = new Map();
const forgotten = new FinalizationRegistry((address) => {
  if (homes.get(address)?.deref() === undefined) homes.delete(address);
});

/** From now on the tag at this address is found in this group. */
function settleTag(address, group) {
  const home = { group };
  keep(group, home);
  homes.set(address, new WeakRef(home));
  forgotten.register(home, address);
}

/** The group of the tag at this address; undefined for one whose instance is just being made. */
function homeOf(address) {
  return homes.get(address)?.deref()?.group;
}

/** The Tag for a native one. */
function tagFor(address, handle, group) {
  const known = everywhere.get(address);
  if (known !== undefined) return known;
  return objectAt(group, address, () => new Tag(new Existing(handle, group, address)));
}

/** The tags that belong to no group. */
const everywhere = new Map();

/** Makes the object of a tag that lives as long as the realm. */
function eternalTag(address, handle) {
  const tag = new Tag(new Existing(handle, new Group(), address));
  everywhere.set(address, tag);
  return tag;
}

/** `{address, handle, letters, holder, group}` of a Tag; undefined for any other value. */
function tagParts(value) {
  return find(value);
}

module.exports = { Tag, eternalTag, homeOf, settleTag, tagFor, tagParts };
