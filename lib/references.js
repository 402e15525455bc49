'use strict';
// Host values that wasm holds. An externref is an index into this table, 0 is null. Native code
// tells which indices tables, globals and exceptions still hold; the others are let go at quiet
// moments, when no wasm frame can hold one: when the table has grown much, and after V8 has
// collected garbage, so that its next collection frees what wasm let go.

const { native, realm } = require('./binding');

const values = [null];
/** The index of a value that is in the table: passing one object often takes one place. */
const indices = new Map();
const free = [];
/** How many values the table may hold before those that nobody holds are looked for. */
let limit = 1024;

/**
 * The index for a value. No user code may run between this and handing the index to wasm, so
 * that a sweep cannot come between.
 */
function toReference(value) {
  if (value === null) return 0;
  const known = indices.get(value);
  // The keys of a Map do not tell -0 from 0.
  if (known !== undefined && Object.is(values[known], value)) return known;
  const index = free.length > 0 ? free.pop() : values.length;
  values[index] = value;
  indices.set(value, index);
  return index;
}

function fromReference(index) {
  return values[index];
}

/** Lets go what wasm no longer holds, once the table has grown enough for that to pay. */
function sweep() {
  if (values.length - free.length >= limit) release();
}

/** Tells of a collection: its only use is to be garbage. */
const collected = new FinalizationRegistry(() => {
  if (values.length - free.length > 1) release();
  watch();
});

function watch() {
  collected.register({}, undefined);
}

watch();

function release() {
  const live = native.liveReferences(realm);
  if (live === null) return;
  const kept = new Set(live);
  indices.clear();
  free.length = 0;
  for (let index = values.length - 1; index > 0; index--) {
    if (kept.has(index)) {
      indices.set(values[index], index);
    } else {
      values[index] = undefined;
      free.push(index);
    }
  }
  limit = Math.max(1024, 2 * kept.size);
}

module.exports = { toReference, fromReference, sweep };
