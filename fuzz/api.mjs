// The JavaScript interface in random order, here and on V8's own namespace: each call has the same outcome on both. What
// calls return goes into the next ones: functions into tables, globals into imports, memories into other instances.

import { createRequire } from 'node:module';

import { Random } from './random.mjs';

const require = createRequire(import.meta.url);
const wn = require('..');

const SEEDS = [
  `(module (memory (export "memory") 1 3) (table (export "table") 2 5 funcref)
     (global (export "global") (mut i32) (i32.const 7))
     (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
     (func (export "wide") (param i64 f64) (result i64 f64) (local.get 0) (local.get 1))
     (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
     (func (export "call") (param i32) (result i32) (call_indirect (param i32 i32) (result i32)
       (i32.const 1) (i32.const 2) (local.get 0)))
     (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
     (elem (i32.const 0) 0))`,
  `(module (import "m" "memory" (memory 1 4)) (import "m" "table" (table 1 funcref)) (import "m" "f" (func (param i32 i32) (result i32)))
     (func (export "f") (param i32 i32) (result i32) (call 0 (local.get 1) (local.get 0)))
     (func (export "store") (param i32 i32) (i32.store (local.get 0) (local.get 1)))
     (export "again" (func 0)) (export "memory" (memory 0)))`,
  `(module (import "m" "global" (global (mut i32)))
     (func (export "set") (param i32) (global.set 0 (local.get 0))) (export "global" (global 0)))`,
  `(module (import "m" "f" (func (param i32 i32) (result i32))) (func $start (drop (call 0 (i32.const 1) (i32.const 2)))) (start $start))`,
];

const ODD = [
  undefined,
  null,
  true,
  '',
  '3',
  'i32',
  1.5,
  NaN,
  -0,
  Infinity,
  5n,
  -1n,
  {},
  [],
  Symbol.iterator,
  () => 3,
];
const TYPES = ['i32', 'i64', 'f32', 'f64', 'externref', 'anyfunc', 'v128', 'none'];

/** A value for both sides. */
const both = (value) => ({ ours: value, theirs: value });

class Sequence {
  constructor(random, modules) {
    this.random = random;
    this.modules = modules;
    /** Pairs of what both sides made, by kind. */
    this.made = {
      Module: [],
      Instance: [],
      Memory: [],
      Table: [],
      Global: [],
      Function: [],
      Tag: [],
      Exception: [],
    };
    this.kinds = Object.keys(this.made);
  }

  /** Something of a kind, if there is any; sometimes of another one. */
  any(kind) {
    const wanted = this.random.chance(1, 12) ? this.random.pick(this.kinds) : kind;
    const found = this.made[wanted];
    return found.length === 0 || this.random.chance(1, 20) ? this.odd() : this.random.pick(found);
  }

  odd() {
    return both(this.random.pick(ODD));
  }

  number() {
    const { random } = this;
    if (random.chance(1, 10)) return this.odd();
    return both(random.chance(1, 10) ? random.i64() : random.chance(3, 4) ? random.below(8) : random.i32());
  }

  value() {
    const { random } = this;
    if (random.chance(1, 4)) return this.any('Function');
    return random.chance(1, 4) ? this.odd() : this.number();
  }

  /** An object of pairs, for both sides. */
  object(entries) {
    const side = (name) =>
      Object.fromEntries(Object.entries(entries).map(([key, pair]) => [key, pair[name]]));
    return { ours: side('ours'), theirs: side('theirs') };
  }

  limits(extra = {}) {
    const { random } = this;
    const entries = { initial: this.number(), ...extra };
    if (random.chance(2, 3)) entries.maximum = random.chance(1, 5) ? this.number() : both(8);
    return random.chance(1, 15) ? this.odd() : this.object(entries);
  }

  /** `{name, act(side, args), args}` of one call. */
  call() {
    const { random } = this;
    const type = () => (random.chance(1, 15) ? this.odd() : both(random.pick(TYPES)));
    const make = (name, ...args) => ({
      name: `new ${name}`,
      args,
      act: (space, ...given) => new space[name](...given),
    });
    const method = (kind, name, ...args) => ({
      name: `${kind}.${name}`,
      args: [this.any(kind), ...args],
      act: (space, self, ...given) => space[kind].prototype[name].call(self, ...given),
    });
    const get = (kind, name) => ({
      name: `${kind}.${name}`,
      args: [this.any(kind)],
      act: (space, self) => Object.getOwnPropertyDescriptor(space[kind].prototype, name).get.call(self),
    });
    const fixed = (kind, name, ...args) => ({
      name: `${kind}.${name}`,
      args: [this.any(kind), ...args],
      act: (space, ...given) => space[kind][name](...given),
    });
    const types = () => {
      const list = Array.from({ length: random.below(3) }, () => random.pick(TYPES.slice(0, 5)));
      return both({ parameters: list });
    };
    return random.pick([
      () => make('Module', both(random.pick(this.modules))),
      () => make('Instance', this.any('Module'), this.imports()),
      () => make('Memory', this.limits()),
      () => make('Table', this.limits({ element: type() }), ...(random.chance(1, 2) ? [this.value()] : [])),
      () => make('Global', this.object({ value: type(), mutable: both(random.chance(1, 2)) }), this.value()),
      () => make('Tag', types()),
      () => make('Exception', this.any('Tag'), both([random.below(5), 7n].slice(0, random.below(3)))),
      () => method('Memory', 'grow', this.number()),
      () => get('Memory', 'buffer'),
      () => get('Table', 'length'),
      () => method('Table', 'get', this.number()),
      () => method('Table', 'set', this.number(), ...(random.chance(3, 4) ? [this.value()] : [])),
      () => method('Table', 'grow', this.number(), ...(random.chance(1, 2) ? [this.value()] : [])),
      () => get('Global', 'value'),
      () => method('Global', 'valueOf'),
      () => ({
        name: 'Global.value =',
        args: [this.any('Global'), this.value()],
        act: (space, self, value) =>
          Object.getOwnPropertyDescriptor(space.Global.prototype, 'value').set.call(self, value),
      }),
      () => ({
        name: 'a function',
        args: [this.any('Function'), ...Array.from({ length: random.below(4) }, () => this.number())],
        act: (_, self, ...given) => self(...given),
      }),
      () => get('Instance', 'exports'),
      () => ({
        name: 'an export',
        args: [
          this.any('Instance'),
          both(random.pick(['memory', 'table', 'global', 'add', 'f', 'call', 'grow', 'load'])),
        ],
        act: (_, self, name) => self.exports[name],
      }),
      () => fixed('Module', 'exports'),
      () => fixed('Module', 'imports'),
      () => fixed('Module', 'customSections', this.odd()),
      () => method('Exception', 'is', this.any('Tag')),
      () => method('Exception', 'getArg', this.any('Tag'), this.number()),
    ])();
  }

  imports() {
    if (this.random.chance(1, 12)) return this.odd();
    const m = this.object({
      memory: this.any('Memory'),
      table: this.any('Table'),
      global: this.random.chance(3, 4) ? this.any('Global') : this.number(),
      f: this.any('Function'),
    });
    return this.object({ m });
  }

  /** Keeps what both sides returned for later calls. */
  keep(pair) {
    const kind =
      typeof pair.ours === 'function'
        ? 'Function'
        : this.kinds.find((name) => name !== 'Function' && pair.ours instanceof wn[name]);
    if (kind !== undefined && this.made[kind].length < 40) this.made[kind].push(pair);
  }
}

/** What came of a call, so that it can be compared. */
function outcomeOf(space, act) {
  let value;
  try {
    value = act();
  } catch (error) {
    const own = ['CompileError', 'LinkError', 'RuntimeError', 'Exception'].find(
      (name) => space[name] !== undefined && error instanceof space[name],
    );
    return { shown: `throws ${own ?? error?.constructor?.name}`, error };
  }
  return { shown: shownOf(space, value, 0), value };
}

function shownOf(space, value, depth) {
  if (typeof value === 'function') return `function ${value.name}, ${value.length}`;
  if (typeof value !== 'object' || value === null)
    return `${typeof value} ${Object.is(value, -0) ? '-0' : String(value)}`;
  const kind = ['Module', 'Instance', 'Memory', 'Table', 'Global', 'Tag', 'Exception'].find(
    (name) => value instanceof space[name],
  );
  if (kind !== undefined) return kind;
  if (value instanceof ArrayBuffer) return `ArrayBuffer ${value.byteLength}`;
  if (depth > 2) return 'an object';
  return `{${Reflect.ownKeys(value)
    .map((key) => `${String(key)}: ${shownOf(space, value[key], depth + 1)}`)
    .join()}}`;
}

/** Where we and V8 differ on purpose, or V8 of this version is not as the specification has it. */
const DIFFERS = [
  // V8 takes more values than the tag has, and leaves them out.
  (name, _, ours) => name === 'new Exception' && /must have the tag's \d+ values/.test(ours.error?.message),
  // By the specification all values are converted before anything is asked of one of them.
  (name, _, ours, theirs) =>
    /^(Table\.(set|grow)|new (Memory|Table))$/.test(name) &&
    ours.shown === 'throws TypeError' &&
    theirs.shown === 'throws RangeError',
  // The value for no elements is not looked at there.
  (name, _, ours, theirs) =>
    name === 'new Table' && theirs.value?.length === 0 && ours.shown === 'throws TypeError',
  // `undefined` for what may be left out is as if it were, by Web IDL. V8 refuses it before it looks at the size.
  (name, args, ours, theirs) =>
    /^(new (Global|Table)|Table\.grow)$/.test(name) &&
    args.at(-1).ours === undefined &&
    (ours.error === undefined || (ours.shown === 'throws RangeError' && theirs.shown === 'throws TypeError')),
];

export async function start() {
  const wabt = await require('wabt')();
  const features = { reference_types: true, bulk_memory: true, multi_value: true };
  const modules = SEEDS.map((text) => wabt.parseWat('seed.wat', text, features).toBinary({}).buffer);
  return {
    run(seed) {
      const sequence = new Sequence(new Random(seed), modules);
      for (let left = 60; left > 0; left--) {
        const { name, args, act } = sequence.call();
        const ours = outcomeOf(wn, () => act(wn, ...args.map((pair) => pair.ours)));
        const theirs = outcomeOf(WebAssembly, () => act(WebAssembly, ...args.map((pair) => pair.theirs)));
        if (ours.error?.code === 'ERR_WASI_INTERNAL')
          throw new Error(`seed ${seed}: ${name}`, { cause: ours.error });
        if (ours.shown !== theirs.shown) {
          if (DIFFERS.some((differs) => differs(name, args, ours, theirs))) return;
          const told = args.map((pair) => shownOf(wn, pair.ours, 0)).join('; ');
          const text = `seed ${seed}: ${name}(${told}) ${ours.shown} here, ${theirs.shown} on V8`;
          throw new Error(text, { cause: { ours: ours.error, theirs: theirs.error } });
        }
        if (ours.error === undefined) sequence.keep({ ours: ours.value, theirs: theirs.value });
      }
    },
  };
}
