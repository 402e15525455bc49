'use strict';
// WebAssembly.Tag.

const { native, realm } = require('../native/binding');
const { Existing, Group, keep, objectAt } = require('../native/group');
const { typeNamed, typeNames, typesOf } = require('../native/types');
const { describe, isObject, privateParts, settle, uncloneable } = require('../util/webidl');

/**
 * The private parts of a Tag: its `address`, its native `handle`, the `types` of its parameters,
 * its `group`, undefined for one that lives as long as the realm, and a `holder` of the group for
 * what its exceptions carry: unlike that of a function it has no address.
 */
const { put, of: tagParts } = privateParts();

class Tag {
  constructor(type) {
    const tag = uncloneable(this);
    if (type instanceof Existing) {
      const { address, handle, group } = type;
      put(tag, {
        address,
        handle,
        types: typesOf(native.objectType(realm, handle)),
        group,
        holder: { group },
      });
      return tag;
    }
    settle(tag, new.target, Tag);
    const types = parse(type);
    const [address, handle] = native.createTag(realm, types.map(({ letter }) => letter).join(''));
    const group = new Group();
    put(tag, { address, handle, types, group, holder: { group } });
    settleTag(address, group);
    return objectAt(group, address, () => tag);
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
    const type = typeNamed(name);
    if (type === undefined) {
      throw new TypeError(`${what}: a parameter must be one of ${typeNames.join(', ')}, not '${name}'`);
    }
    return type;
  });
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
  const tag = new Tag(new Existing(handle, undefined, address));
  everywhere.set(address, tag);
  return tag;
}

module.exports = { Tag, eternalTag, homeOf, settleTag, tagFor, tagParts };
