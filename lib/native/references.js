'use strict';
// Host values that wasm holds. An externref is a number, and 0 is null. In wasm it is a word with a mark, so
// that it is recognised on the stack (`ExternRef` of the engine). The group that a value was given to
// (group.js) keeps the value behind its number. So only what can reach the wasm that may hold the value
// keeps it: V8 sees whole cycles and can collect them. No two values of a realm have the same number, so
// groups join without wasm noticing, and a number alone tells which group it belongs to.
//
// Native code tells which numbers tables, globals, exceptions and the frames of running wasm may still hold.
// The others are let go when there are many, and after V8 has collected garbage, so that its next collection
// frees what wasm let go. Nobody but wasm has numbers then: what came out of wasm has become values, and what
// goes into it is not yet numbers.

const { constants, native, realm } = require('./binding');
const { Group, onJoin, root } = require('./group');

/** What the word of a host value is more than its number. */
const EXTERNREF = constants.externref;

/** Numbers are given to groups in blocks of so many. */
const BLOCK = 64;

/** Who has the block of numbers: a WeakRef to its `Values`. */
const owners = [];
const freeBlocks = [];

/** How many values there may be before those that nobody holds are looked for. */
const FEW = 1024;

/** The values of several groups, which are swept together. */
class Pool {
  /** WeakRefs to the `Values` that are there. */
  members = new Set();
  total = 0;
  limit = FEW;

  /** Whether a sweep is likely to pay. */
  get isFull() {
    return this.total >= this.limit;
  }

  /** Lets go all but the numbers of `held`, a Set. To find them took a look at so many `words`. */
  keepOnly(held, words = 0) {
    for (const reference of this.members) reference.deref()?.keepOnly(held);
    // So many values share what a look costs that none of them pays much.
    this.limit = Math.max(FEW, 2 * this.total, words / 64);
  }
}

/** The values of this thread's wasm. */
const ours = new Pool();

/** The values of one group. */
class Values {
  byNumber = new Map();
  /** The number of a value: passing one object often takes one. */
  numbers = new Map();
  free = [];
  /** What is left to do when this is garbage. */
  estate;

  constructor(pool) {
    this.estate = { reference: new WeakRef(this), pool, blocks: [], count: 0 };
    pool.members.add(this.estate.reference);
    ended.register(this, this.estate);
  }

  add(value) {
    if (this.free.length === 0) this.#takeBlock();
    const number = this.free.pop();
    this.byNumber.set(number, value);
    this.numbers.set(value, number);
    this.estate.count++;
    this.estate.pool.total++;
    return number;
  }

  #takeBlock() {
    const block = freeBlocks.pop() ?? owners.length;
    owners[block] = this.estate.reference;
    this.estate.blocks.push(block);
    // 0 is null.
    for (let k = BLOCK; k > 0; k--) this.free.push(block * BLOCK + k);
  }

  /** Lets go all but the numbers of `held`, a Set. */
  keepOnly(held) {
    // Mostly few are left, and new maps are cheaper than taking most out of the old ones.
    const { byNumber } = this;
    this.byNumber = new Map();
    this.numbers = new Map();
    const [few, others] = held.size < byNumber.size ? [held, byNumber] : [byNumber.keys(), held];
    for (const number of few) {
      if (!others.has(number)) continue;
      const value = byNumber.get(number);
      this.byNumber.set(number, value);
      this.numbers.set(value, number);
    }
    const { estate } = this;
    estate.pool.total += this.byNumber.size - estate.count;
    estate.count = this.byNumber.size;
    this.free = [];
    const blocks = estate.blocks.splice(0);
    if (estate.count === 0) {
      for (const block of blocks) freeBlocks.push(block);
      return;
    }
    for (const block of blocks) {
      estate.blocks.push(block);
      for (let number = block * BLOCK + BLOCK; number > block * BLOCK; number--) {
        if (!this.byNumber.has(number)) this.free.push(number);
      }
    }
  }

  /** Takes over what another one has. */
  absorb(other) {
    for (const [number, value] of other.byNumber) {
      this.byNumber.set(number, value);
      if (!this.numbers.has(value)) this.numbers.set(value, number);
    }
    for (const number of other.free) this.free.push(number);
    for (const block of other.estate.blocks.splice(0)) {
      owners[block] = this.estate.reference;
      this.estate.blocks.push(block);
    }
    this.estate.count += other.estate.count;
    other.estate.count = 0;
  }
}

const ended = new FinalizationRegistry(({ reference, pool, blocks, count }) => {
  pool.members.delete(reference);
  for (const block of blocks) freeBlocks.push(block);
  pool.total -= count;
});

onJoin((large, small) => {
  if (large.values === null) large.values = small.values;
  else if (small.values !== null) large.values.absorb(small.values);
  small.values = null;
});

/** For values that are on their way with an exception, and belong to no group. */
const travelling = new Group();

/** The values of a group, null if there are none. */
function known(group) {
  if (group === undefined) return travelling.values;
  return group.parent === null ? group.values : root(group).values;
}

function firstOf(group) {
  return (root(group ?? travelling).values = new Values(ours));
}

/**
 * The number for a value that is given to the wasm of `holder.group`. No user code may run between
 * this and handing the number to wasm, so that a sweep cannot come between.
 */
function toReference(value, { group }) {
  if (value === null) return 0;
  const values = known(group) ?? firstOf(group);
  const number = values.numbers.get(value);
  // The keys of a Map do not tell -0 from 0.
  if (number === undefined || (value === 0 && !Object.is(values.byNumber.get(number), value))) {
    return values.add(value);
  }
  return number;
}

/** The number as wasm has it. */
function toWord(value, holder) {
  const number = toReference(value, holder);
  return number === 0 ? 0 : EXTERNREF + number;
}

/** The value behind a number that came out of the wasm of `holder.group`. */
function fromReference(number, { group }) {
  if (number === 0) return null;
  const values = known(group);
  if (values !== null) {
    const value = values.byNumber.get(number);
    if (value !== undefined) return value;
  }
  return fromAnywhere(number);
}

/** The value behind a number, whosever it is. */
function fromAnywhere(number) {
  if (number === 0) return null;
  return owners[Math.floor((number - 1) / BLOCK)]?.deref()?.byNumber.get(number);
}

/** Lets go what wasm no longer holds, once there are enough values for that to pay. */
function sweep() {
  if (ours.isFull) release();
}

/** Tells of a collection, by an object whose only use is to be garbage. */
const collected = new FinalizationRegistry(() => {
  if (ours.total > 0) release();
  watch();
});

function watch() {
  collected.register({}, undefined);
}

watch();

function release() {
  const live = native.liveReferences(realm);
  ours.keepOnly(new Set(live.subarray(1)), live[0]);
}

/** A group for a guest on another thread, whose values `pool` keeps apart: other native code holds them. */
function guestGroup(pool) {
  const group = new Group();
  group.values = new Values(pool);
  return group;
}

module.exports = { Pool, fromAnywhere, fromReference, guestGroup, sweep, toReference, toWord };
