'use strict';
// Who keeps whom alive.
//
// Wasm objects that can reach each other live together in one native group, which any handle to
// a member keeps alive. A group here is the JavaScript side of one: every JavaScript object for
// a member refers to it, and it refers to what wasm may call or need (import functions, instance
// handles). So native code keeps no JavaScript value alive, and V8 can collect cycles through
// import functions that refer back to the instance. Groups join here whenever they join there.

class Group {
  parent = null;
  kept = [];
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

/** Makes one group of two. False if they were one already. */
function join(a, b) {
  let large = root(a);
  let small = root(b);
  if (large === small) return false;
  if (large.kept.length < small.kept.length) [large, small] = [small, large];
  for (const value of small.kept) large.kept.push(value);
  small.kept = null;
  small.parent = large;
  return true;
}

module.exports = { Group, keep, join };
