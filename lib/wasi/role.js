'use strict';
// What a module is to WASI, told by its exports: a command, which is run once, or a library.

const { coded } = require('../util/errors');

// Loaded where it is used: to say what is wrong.
const types = () => require('../native/types');

/** For each export that WASI gives a meaning: what it must be. */
const MEANINGS = { _start: 'function', _initialize: 'function', memory: 'memory' };

/**
 * `'command'` or `'library'`. Throws, with this code, if an export that tells has another type than
 * WASI's: nobody would know what to call it with. (`start()` and `initialize()` call it with zeroes, as
 * node:wasi does.)
 */
function roleOf(parts, what, code) {
  const exports = parts.exports();
  for (const { name, kind, type } of exports) {
    if (!Object.hasOwn(MEANINGS, name)) continue;
    const wanted = MEANINGS[name];
    if (kind === wanted && (kind === 'memory' || type === ':')) continue;
    const expected = wanted === 'memory' ? 'be a memory' : 'be a function without parameters and results';
    const found = kind === 'function' ? `a function ${signature(type)}` : `a ${kind}`;
    const text = `${what}: the module exports ${found} as "${name}", which must ${expected} for WASI`;
    throw coded(Error, code, `${text}; rebuild it, or rename the export`);
  }
  return exports.some(({ name }) => name === '_start') ? 'command' : 'library';
}

/** A signature as people write it. */
function signature(type) {
  const { params, results } = types().signatureOf(type);
  const names = (types) => types.map(({ name }) => name).join(', ');
  return `(${names(params)}) -> (${names(results)})`;
}

/** The place of a command's `_start` among its exports. Throws if the module is none. */
function commandOf(parts, what) {
  const code = 'ERR_WASI_NO_COMMAND';
  if (roleOf(parts, what, code) === 'command')
    return parts.exports().findIndex(({ name }) => name === '_start');
  const text = `${what}: the module is no command: it exports no function _start. `;
  throw coded(Error, code, `${text}For a library there is wasi.instantiate()`);
}

module.exports = { commandOf, roleOf };
