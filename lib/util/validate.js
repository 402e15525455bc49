'use strict';
// Checks of options and arguments with Node's own codes and words, for `WASI`.

const { inspect } = require('node:util');
const { coded } = require('./errors');

function received(value) {
  if (value === null || value === undefined) return `Received ${value}`;
  if (typeof value === 'function')
    return value.name ? `Received function ${value.name}` : 'Received a function';
  if (typeof value === 'object') {
    const name = value.constructor?.name;
    if (name) return `Received an instance of ${name}`;
    return `Received ${inspect(value, { depth: -1 })}`;
  }
  let text = inspect(value, { colors: false });
  if (text.length > 28) text = `${text.slice(0, 25)}...`;
  return `Received type ${typeof value} (${text})`;
}

/** A value as messages have it: no longer than Node's. */
function shown(value) {
  const text = inspect(value);
  return text.length > 128 ? `${text.slice(0, 128)}...` : text;
}

function invalidType(name, expected, value) {
  const noun = name.includes('.') ? 'property' : 'argument';
  const text = `The "${name}" ${noun} must be ${expected}. ${received(value)}`;
  return coded(TypeError, 'ERR_INVALID_ARG_TYPE', text);
}

function invalidValue(name, value, reason) {
  const text = `The property '${name}' ${reason}${/[?!]$/.test(reason) ? '' : '.'} Received ${shown(value)}`;
  return coded(TypeError, 'ERR_INVALID_ARG_VALUE', text);
}

function isObject(value, name) {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalidType(name, 'of type object', value);
  }
}

function isArray(value, name) {
  if (!Array.isArray(value)) throw invalidType(name, 'an instance of Array', value);
}

function isOfType(type, value, name) {
  if (typeof value !== type) throw invalidType(name, `of type ${type}`, value);
}

function isUndefined(value, name) {
  if (value !== undefined) throw invalidType(name, 'undefined', value);
}

function outOfRange(name, range, value) {
  const text = `The value of "${name}" is out of range. It must be ${range}. Received ${value}`;
  return coded(RangeError, 'ERR_OUT_OF_RANGE', text);
}

function isInteger(value, name, least, most) {
  isOfType('number', value, name);
  if (!Number.isInteger(value)) throw outOfRange(name, 'an integer', value);
  if (value < least || value > most) throw outOfRange(name, `>= ${least} && <= ${most}`, value);
}

/** A number that can be a descriptor of this process. */
function isDescriptor(value, name) {
  isInteger(value, name, 0, 2147483647);
}

function isEncoding(value, name) {
  if (!Buffer.isEncoding(value)) {
    throw invalidValue(name, value, "must be an encoding that Buffer knows, such as 'utf8'");
  }
}

function isStrings(value, name) {
  isArray(value, name);
  value.forEach((element, index) => isOfType('string', element, `${name}[${index}]`));
}

module.exports = {
  invalidType,
  invalidValue,
  isArray,
  isDescriptor,
  isEncoding,
  isInteger,
  isObject,
  isOfType,
  isStrings,
  isUndefined,
  outOfRange,
};
