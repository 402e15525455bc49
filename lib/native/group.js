'use strict';
// Who keeps whom alive.
//
// Wasm objects that can reach each other live together in one native group, which any handle to a member
// keeps alive. A group here is the JavaScript side of a native one. Every JavaScript object for a member
// refers to the group. The group refers to these objects and to what wasm may call or need (import
// functions, instance handles). So native code keeps no JavaScript value alive, and V8 can collect a group
// as a whole, even if import functions refer back to the instance. Groups join here whenever they join
// there.

class Group {
  parent = null;
  /** What members need. */
  kept = [];
  /** The JavaScript object for a member, by its address: always the same one. */
  objects = new Map();
  /** The host values that members hold (references.js), null before there is one. */
  values = null;
}

/** What else is to be joined: `(large, small)`. */
let joinValues = () => {};

/** To be set once. */
function onJoin(joinsThem) {
  joinValues = joinsThem;
}

function root(group) {
  let top = group;
  while (top.parent !== null) top = top.parent;
  // Shortens the way for the next one.
  if (group !== top) group.parent = top;
  return top;
}

/** Keeps `value` as long as any member of the group is there. */
function keep(group, value) {
  root(group).kept.push(value);
}

/** The object for the member at this address; `make` makes it if it is the first time. */
function objectAt(group, address, make) {
  const { objects } = root(group);
  let object = objects.get(address);
  if (object === undefined) objects.set(address, (object = make()));
  return object;
}

/** How much would have to be moved. */
function size({ kept, objects, values }) {
  return kept.length + objects.size + (values === null ? 0 : values.byNumber.size);
}

/** Makes one group of two. False if they were one already. */
function join(a, b) {
  let large = root(a);
  let small = root(b);
  if (large === small) return false;
  if (size(large) < size(small)) [large, small] = [small, large];
  for (const value of small.kept) large.kept.push(value);
  for (const [address, object] of small.objects) large.objects.set(address, object);
  joinValues(large, small);
  small.kept = small.objects = null;
  small.parent = large;
  return true;
}

/** A native object on its way into the constructor of its class. Users cannot make one. */
class Existing {
  constructor(handle, group, address) {
    this.handle = handle;
    this.group = group;
    this.address = address;
  }
}

module.exports = { Existing, Group, join, keep, objectAt, onJoin, root };
