'use strict';
// What instances on this thread and on others say of calls by a host: `instance.call()`.

const { native } = require('../native/binding');
const { checkDeadline } = require('../util/deadline');
const { coded } = require('../util/errors');
const { checkKeys } = require('../util/keys');
const check = require('../util/validate');

/** The exported function of this name. */
function exported(exports, name) {
  check.isOfType('string', name, 'name');
  const called = exports?.[name];
  if (typeof called === 'function') return called;
  const functions = Object.keys(exports ?? {}).filter((key) => typeof exports[key] === 'function');
  const shown = functions.length > 20 ? [...functions.slice(0, 20), '...'] : functions;
  const text = functions.length === 0 ? 'it exports no functions' : `it exports ${shown.join(', ')}`;
  throw check.invalidValue('name', name, `is no exported function of the instance: ${text}`);
}

function checkCall(args, options) {
  check.isArray(args, 'args');
  check.isObject(options, 'options');
  checkKeys('call', options, 'options');
  checkDeadline(options);
  const { fuel } = options;
  if (fuel !== undefined) check.isInteger(fuel, 'options.fuel', 0, Number.MAX_SAFE_INTEGER);
}

function checkFuel(parts) {
  if (native.countsFuel(parts.handle)) return;
  const text = 'options.fuel is given, but the module does not count its operators: ';
  throw coded(Error, 'ERR_WASI_OPTION', `${text}compile it with compile(bytes, { fuel: true })`);
}

module.exports = { checkCall, checkFuel, exported };
