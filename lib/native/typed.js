'use strict';
// References to less than all functions or all values: not null, or of one type of function. Each
// such type has a letter of its own among the characters for private use (src/node/typed.rs).

const { native, realm } = require('./binding');

const TYPED = /[\ue000-\uf8ff]/;

const known = new Map();

/** `{kind, nullable, empty}`: the letter of all such references; whether there are but nulls. */
function describe(letter) {
  if (!isTyped(letter)) {
    throw new TypeError('JavaScript cannot have a value of this WebAssembly type');
  }
  let type = known.get(letter);
  if (type === undefined) {
    const text = native.referenceType(letter);
    type = { kind: text[0], nullable: text.includes('?'), empty: text.includes('0') };
    known.set(letter, type);
  }
  return type;
}

/** Whether a signature has such types. */
function isTyped(signature) {
  return TYPED.test(signature);
}

/** `r` or `e`: how values of the type lie in the window. */
function kindOf(letter) {
  return describe(letter).kind;
}

/** Throws unless the value is of the type. `record` is what we know of a function of wasm. */
function checkTyped(letter, value, record) {
  const { kind, nullable, empty } = describe(letter);
  if (value === null) {
    if (!nullable) throw new TypeError('a reference that is not null cannot be null');
    return;
  }
  if (empty) throw new TypeError('only null is of this WebAssembly type');
  if (kind === 'e' || record === undefined) return;
  if (!native.referenceFits(realm, letter, record.address)) {
    throw new TypeError('the function is not of the type that is referred to');
  }
}

module.exports = { checkTyped, isTyped, kindOf };
