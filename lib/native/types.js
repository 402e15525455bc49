'use strict';
// The types of values, with all conversions between JavaScript and the window.
//
// Each type has a letter, and a signature is a string of them: `il:d` takes an i32 and an i64 and returns
// an f64. Native code lists the letters of the named types. A reference to less than all functions or all
// values (one that cannot be null, or is of one type of function) has a letter that native code gave out.
//
// A type has:
// - `letter` and `name`
// - `initial`: the value where none is given
// - `convert(value, holder)`: a JavaScript value as `store` takes it; may run user code
// - `store(slot, value, holder)`, `load(slot, holder)`: to and from a slot of the window. `holder` stands
//   for what has the value at wasm's side: its `group` keeps what is referred to
// - `source`: the same three as text, for compiled wrappers
// - `primitive`: what `typeof` says of its values; undefined for references
// - `isTyped`: whether it is a reference to less than all functions or all values; `isHostValue`: whether
//   references.js keeps its values; `isExotic`: whether JavaScript cannot have it

const { constants, native, realm, f32, f64, i32, i64 } = require('./binding');
const { fromReference, sweep, toWord } = require('./references');

/** The type by its letter, and by the names that descriptors give it. */
const byLetter = new Map();
const byName = new Map();

function define(name, { primitive, ...type }) {
  const [, letter] = constants.types.find(([known]) => known === name);
  const defined = { letter, name, primitive, isTyped: false, isHostValue: false, isExotic: false, ...type };
  byLetter.set(letter, defined);
  if (name === 'funcref') byName.set('anyfunc', defined);
  byName.set(name, defined);
}

/** ToBigInt64 for what is not yet a BigInt. */
function toBigInt(value) {
  return BigInt.asIntN(64, value);
}

/** Source text for values that lie in a view of the window, of which a slot has so many elements. */
function inView(view, elements, convert) {
  return {
    convert,
    store: (slot, value) => `${view}[${elements * slot}] = ${value};`,
    load: (slot) => `${view}[${elements * slot}]`,
  };
}

define('i32', {
  primitive: 'number',
  initial: 0,
  convert: (value) => value | 0,
  store: (slot, value) => void (i32[4 * slot] = value),
  load: (slot) => i32[4 * slot],
  source: inView('i32', 4, (a) => `${a} |= 0;`),
});

define('i64', {
  primitive: 'bigint',
  initial: 0n,
  convert: toBigInt,
  store: (slot, value) => void (i64[2 * slot] = value),
  load: (slot) => i64[2 * slot],
  source: inView('i64', 2, (a) => `if (typeof ${a} !== 'bigint') ${a} = toBigInt(${a});`),
});

define('f32', {
  primitive: 'number',
  initial: 0,
  convert: Math.fround,
  store: (slot, value) => void (f32[4 * slot] = value),
  load: (slot) => f32[4 * slot],
  source: inView('f32', 4, (a) => `${a} = +${a};`),
});

define('f64', {
  primitive: 'number',
  initial: 0,
  convert: (value) => +value,
  store: (slot, value) => void (f64[2 * slot] = value),
  load: (slot) => f64[2 * slot],
  source: inView('f64', 2, (a) => `${a} = +${a};`),
});

define('externref', {
  initial: undefined,
  isHostValue: true,
  convert: (value) => value,
  store: (slot, value, holder) => void (f64[2 * slot] = toWord(value, holder)),
  load: (slot, holder) => fromReference(i32[4 * slot], holder),
  source: {
    convert: () => '',
    store: (slot, a) => `f64[${2 * slot}] = toWord(${a}, holder);`,
    load: (slot) => `fromReference(i32[${4 * slot}], holder)`,
  },
});

/** Stands for whatever JavaScript cannot have. */
define('v128', { initial: undefined, isExotic: true, convert: refuse, store: refuse, load: refuse });

function refuse() {
  throw new TypeError('JavaScript cannot have a value of this WebAssembly type');
}

/**
 * Defines `funcref`, whose conversions belong to functions.js. `fits(letter, value)` tells whether a value
 * that is not null is of the type with this letter. `names` are the functions that the source text uses.
 */
function defineFunctions(conversions, names) {
  define('funcref', { initial: null, ...conversions });
  Object.assign(environment, names);
}

/** The functions that source text uses. */
const environment = { toBigInt, toWord, fromReference };

function typeOf(letter) {
  return byLetter.get(letter) ?? describe(letter);
}

function describe(letter) {
  const [base, ...marks] = native.referenceType(realm, letter);
  const all = typeOf(base);
  const nullable = marks.includes('?');
  const empty = marks.includes('0');
  const convert = (value, holder) => {
    if (value === null) {
      if (!nullable) throw new TypeError('a reference that is not null cannot be null');
    } else {
      if (empty) throw new TypeError('only null is of this WebAssembly type');
      if (all.fits?.(letter, value) === false) {
        throw new TypeError('the function is not of the type that is referred to');
      }
    }
    return all.convert(value, holder);
  };
  const type = { ...all, letter, name: 'a reference', isTyped: true, convert };
  byLetter.set(letter, type);
  return type;
}

/** Converts a value and leaves it in the window's first slot, for native code. */
function pass(type, value, holder) {
  const converted = type.convert(value, holder);
  sweep();
  type.store(0, converted, holder);
}

/** The types behind several letters. */
const typesOf = (letters) => Array.from(letters, typeOf);

/** The types of a function, `{params, results}`. */
function signatureOf(text) {
  const [params, results] = text.split(':').map(typesOf);
  return { params, results };
}

/** The type that a descriptor names; undefined if there is none of that name. */
const typeNamed = (name) => byName.get(name);

/** The names that descriptors may give. */
const typeNames = constants.types.flatMap(([name]) => (name === 'funcref' ? ['anyfunc', name] : [name]));

module.exports = {
  defineFunctions,
  environment,
  pass,
  signatureOf,
  typeNamed,
  typeNames,
  typeOf,
  typesOf,
};
