'use strict';
// WebAssembly.Global.

const { native, realm } = require('../native/binding');
const { Existing, Group, objectAt } = require('../native/group');
const { pass, typeNamed, typeNames, typeOf } = require('../native/types');
const { describe, isObject, privateParts, settle, uncloneable } = require('../util/webidl');

/**
 * The private parts of a Global: its native `handle`, its `type`, whether it is
 * `mutable`, and its `group`, with which a function in the global is linked.
 */
const { put, of: globalParts } = privateParts();

class Global {
  constructor(descriptor, v = undefined) {
    const global = uncloneable(this);
    if (descriptor instanceof Existing) {
      const { handle, group } = descriptor;
      const [letter, mutable] = native.objectType(realm, handle);
      put(global, { handle, type: typeOf(letter), mutable: mutable === 'm', group });
      return global;
    }
    settle(global, new.target, Global);
    const { type, mutable } = parse(descriptor);
    const parts = { handle: undefined, type, mutable, group: new Group() };
    pass(type, v === undefined ? type.initial : v, parts);
    const [address, handle] = native.createGlobal(realm, type.letter, mutable);
    parts.handle = handle;
    put(global, parts);
    return objectAt(parts.group, address, () => global);
  }

  get value() {
    return valueOf(partsOf(this, 'get WebAssembly.Global.value'));
  }

  set value(value) {
    const what = 'set WebAssembly.Global.value';
    const parts = partsOf(this, what);
    if (!parts.mutable) throw new TypeError(`${what}: the global is not mutable`);
    pass(parts.type, value, parts);
    native.globalSet(realm, parts.handle);
  }

  valueOf() {
    return valueOf(partsOf(this, 'WebAssembly.Global.valueOf()'));
  }
}

describe(Global, 'WebAssembly.Global');

function partsOf(value, what) {
  const parts = globalParts(value);
  if (parts === undefined) throw new TypeError(`${what}: the receiver must be a WebAssembly.Global`);
  return parts;
}

function valueOf(parts) {
  native.globalGet(realm, parts.handle);
  return parts.type.load(0, parts);
}

function parse(descriptor) {
  const what = 'WebAssembly.Global(): Argument 0';
  if (!isObject(descriptor)) throw new TypeError(`${what} must be a global descriptor`);
  const mutable = Boolean(descriptor.mutable);
  const name = `${descriptor.value}`;
  const type = typeNamed(name);
  if (type === undefined) {
    throw new TypeError(`${what}: property 'value' must be one of ${typeNames.join(', ')}, not '${name}'`);
  }
  return { type, mutable };
}

/** The Global for a native one. */
function globalFor(address, handle, group) {
  return objectAt(group, address, () => new Global(new Existing(handle, group)));
}

module.exports = { Global, globalFor, globalParts };
