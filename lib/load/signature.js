'use strict';
// Typed functions of a library: strings and bytes where wasm has numbers.
//
// The signature says what JavaScript sees; the wasm type of the export says how it is passed:
//
//     a string or bytes as a parameter   i32 i32   address and length
//                                        i32       the address of a text that ends with NUL (strings)
//                                        i64       address << 32 | length
//     as the result                      i32 i32   two results: address and length
//                                        i64       address << 32 | length
//                                        i32       the address of a text that ends with NUL (strings)
//                                        none, and a first parameter i32 more: the address where the
//                                                  function stores address and length, as C returns a struct
//
// `cstring` is always the text that ends with NUL, where both forms occur in one function.

const { i32 } = require('../native/binding');
const { recordOf } = require('../native/functions');
const { signatureOf } = require('../native/types');
const { coded } = require('../util/errors');
const check = require('../util/validate');
const { toBytes } = require('../util/conversions');

/** Texts up to this many units are converted here, which is faster than a call of native code. */
const SHORT = 32;

/** The codes of errors that end a library: a trap, of the stack too, and `proc_exit`. */
const ENDS = new Set(['ERR_WASI_TRAP', 'ERR_WASI_EXIT']);

/** Bytes of an address and a length that a function stores. */
const AREA = 8;

/** Numbers: the wasm type, what may be given for one, and what comes out. */
const NUMBERS = {
  i32: { wasm: 'i32', lower: integer(-(2 ** 31), 2 ** 31 - 1), lift: (value) => value },
  u32: { wasm: 'i32', lower: integer(0, 2 ** 32 - 1), lift: (value) => value >>> 0 },
  i64: { wasm: 'i64', lower: wide(-(2n ** 63n), 2n ** 63n - 1n), lift: (value) => value },
  u64: { wasm: 'i64', lower: wide(0n, 2n ** 64n - 1n), lift: (value) => BigInt.asUintN(64, value) },
  f32: { wasm: 'f32', lower: float, lift: (value) => value },
  f64: { wasm: 'f64', lower: float, lift: (value) => value },
  bool: { wasm: 'i32', lower: boolean, lift: (value) => value !== 0 },
};

const TEXTS = ['string', 'bytes', 'cstring'];
const NAMES = [...Object.keys(NUMBERS), ...TEXTS];

/**
 * The function `f` of a library with strings and bytes. `signature`: `{params, result, freeParams,
 * freeResult}`. The host copies results. What it allocated for parameters it frees, unless `freeParams` is
 * false because the function takes them over; a result is the library's own, unless `freeResult` says that it
 * was allocated for the caller.
 */
function typed(heap, name, f, signature) {
  const what = `lib.fn('${name}')`;
  const { params, result, freeParams, freeResult } = checked(signature);
  const wasm = signatureOf(recordOf(f).signature);
  const plan = planOf(wasm, params, result);
  if (plan === undefined) throw unlike(what, wasm, params, result);
  const area = plan.result.form === 'area';
  const hasTexts = plan.params.some(({ form }) => form !== undefined);
  if ((hasTexts || plan.result.form !== undefined) && !heap.hasMemory) {
    const text = `${what}: the library exports no memory, where strings and bytes could be`;
    throw coded(Error, 'ERR_WASI_NO_LIBRARY', text);
  }
  if (hasTexts || area) heap.needs('alloc');
  if (freeResult) heap.needs('free');

  const steps = plan.params.map(({ type, form }, index) => {
    const argument = `argument ${index} of ${name}`;
    return form === undefined
      ? numberStep(NUMBERS[type], argument)
      : textStep(type, form, argument, freeParams);
  });
  const lift = liftOf(plan.result, heap, what, freeResult);
  const { length } = steps;
  const call = length === 1 && !area ? callWithOne(f, steps[0]) : callWithAny(f, steps, area);
  const wrapper = (...given) => {
    heap.check();
    if (given.length < length) throw missing(name, length, given.length);
    const mark = heap.mark;
    const before = heap.extra.length;
    try {
      return call(heap, given, lift);
    } catch (error) {
      // After a trap nothing of the library can be relied on, its allocator least.
      if (ENDS.has(error?.code)) heap.trap = error;
      throw error;
    } finally {
      if (heap.extra.length > before) heap.release(before);
      heap.unwind(mark);
    }
  };
  return Object.defineProperties(wrapper, { name: { value: name }, length: { value: length } });
}

/** The function of one parameter, which most are: with no list of arguments. */
function callWithOne(f, { lower, hasLength }) {
  return (heap, given, lift) => {
    const word = lower(heap, given[0]);
    return lift(hasLength ? f(word, heap.length) : f(word));
  };
}

function callWithAny(f, steps, area) {
  return (heap, given, lift) => {
    const args = [];
    const place = area ? room(heap, AREA) : 0;
    if (area) args.push(place);
    for (let k = 0; k < steps.length; k++) {
      const { lower, hasLength } = steps[k];
      args.push(lower(heap, given[k]));
      if (hasLength) args.push(heap.length);
    }
    const returned = args.length === 1 ? f(args[0]) : args.length === 2 ? f(args[0], args[1]) : f(...args);
    return lift(returned, place);
  };
}

function missing(name, length, count) {
  const text = `The function "${name}" takes ${length} argument${length === 1 ? '' : 's'}. Received ${count}`;
  return coded(TypeError, 'ERR_MISSING_ARGS', text);
}

/** The address of so many bytes that the call alone uses. */
function room(heap, size) {
  const taken = heap.take(size);
  return taken !== 0 ? taken : heap.allocateExtra(size);
}

// ---- what the signature says

function checked(signature) {
  check.isObject(signature, 'signature');
  const { params = [], result, freeParams = true, freeResult = false } = signature;
  for (const key of Object.keys(signature)) {
    if (['params', 'result', 'freeParams', 'freeResult'].includes(key)) continue;
    const known = 'a signature has params, result, freeParams and freeResult';
    throw check.invalidValue(`signature.${key}`, signature[key], `is not known: ${known}`);
  }
  check.isArray(params, 'signature.params');
  params.forEach((type, index) => isType(type, `signature.params[${index}]`));
  const none = result === undefined || result === null || result === 'void';
  if (!none) isType(result, 'signature.result');
  check.isOfType('boolean', freeParams, 'signature.freeParams');
  check.isOfType('boolean', freeResult, 'signature.freeResult');
  if (freeResult && !TEXTS.includes(result)) {
    const reason = `is for a result of ${TEXTS.join(', ')}; there is nothing to free of ${result}`;
    throw check.invalidValue('signature.freeResult', freeResult, reason);
  }
  return { params, result: none ? undefined : result, freeParams, freeResult };
}

function isType(type, name) {
  if (NAMES.includes(type)) return;
  throw check.invalidValue(name, type, `must be one of ${NAMES.join(', ')}`);
}

/** How each is passed: `{params: [{type, form}], result: {type, form}}`; undefined if nothing fits. */
function planOf({ params, results }, types, result) {
  const have = params.map(({ name }) => name);
  const form = resultForm(
    results.map(({ name }) => name),
    result,
  );
  if (form === undefined) return undefined;
  const rest = form === 'area' ? have.slice(1) : have;
  if (form === 'area' && have[0] !== 'i32') return undefined;
  // Where an address stands alone in one way and with a length in another, all must be of one kind.
  for (const single of [false, true]) {
    const plan = paramForms(rest, types, single);
    if (plan !== undefined) return { params: plan, result: { type: result, form: form || undefined } };
  }
  return undefined;
}

/** The form of a result; '' for numbers and nothing, undefined if it does not fit. */
function resultForm(results, type) {
  const [first, second] = results;
  if (type === undefined) return results.length === 0 ? '' : undefined;
  if (!TEXTS.includes(type)) return results.length === 1 && first === NUMBERS[type].wasm ? '' : undefined;
  if (results.length === 1 && first === 'i32') return type === 'bytes' ? undefined : 'nul';
  if (type === 'cstring') return undefined;
  if (results.length === 1 && first === 'i64') return 'packed';
  if (results.length === 2 && first === 'i32' && second === 'i32') return 'pair';
  return results.length === 0 ? 'area' : undefined;
}

function paramForms(have, types, single) {
  let at = 0;
  const forms = [];
  for (const type of types) {
    if (!TEXTS.includes(type)) {
      if (have[at++] !== NUMBERS[type].wasm) return undefined;
      forms.push({ type, form: undefined });
    } else if (have[at] === 'i64' && type !== 'cstring') {
      at += 1;
      forms.push({ type, form: 'packed' });
    } else if (type === 'cstring' || (single && type === 'string')) {
      if (have[at++] !== 'i32') return undefined;
      forms.push({ type, form: 'nul' });
    } else {
      if (have[at++] !== 'i32' || have[at++] !== 'i32') return undefined;
      forms.push({ type, form: 'pair' });
    }
  }
  return at === have.length ? forms : undefined;
}

function unlike(what, { params, results }, types, result) {
  const names = (list) => list.map(({ name }) => name).join(', ');
  const asked = `(${types.join(', ')}) -> ${result ?? 'nothing'}`;
  const text = `${what}: the export is (${names(params)}) -> (${names(results)}), which cannot be called as ${asked}`;
  const advice =
    'a string or bytes is address and length, an i64 of both, or the address of a text that ends with NUL';
  return coded(TypeError, 'ERR_WASI_SIGNATURE', `${text}; ${advice}`);
}

// ---- parameters

// A step has `lower`, which makes the word that is passed for a value. With `hasLength` another one follows: the bytes
// of the value, which are in `heap.length` then.

function numberStep({ lower }, argument) {
  return { lower: (heap, value) => lower(value, argument), hasLength: false };
}

/** Puts a text or bytes into the library's memory. The host frees it, unless the function takes it over. */
function textStep(type, form, argument, freeParams) {
  const isText = type !== 'bytes';
  const end = form === 'nul' ? 1 : 0;
  const place = freeParams ? room : (heap, size) => heap.allocate(size);
  const lower = (heap, value) => {
    let length;
    let address;
    if (isText) {
      check.isOfType('string', value, argument);
      if (end !== 0 && value.includes('\0')) {
        throw check.invalidValue(
          argument,
          value,
          'must not contain NUL, which ends the text for the library',
        );
      }
      // A unit of UTF-16 has at most three bytes in UTF-8.
      const size = value.length <= SHORT && freeParams ? 3 * value.length : Buffer.byteLength(value);
      address = place(heap, size + end);
      const bytes = heap.checked(address, address + size + end, argument);
      length = writeText(bytes, address, value);
      if (end !== 0) bytes[address + length] = 0;
    } else {
      const source = toView(value, argument, heap);
      length = source.byteLength;
      address = place(heap, length);
      heap.checked(address, address + length, argument).set(source, address);
    }
    if (form === 'packed') return (BigInt(address) << 32n) | BigInt(length);
    heap.length = length;
    return address;
  };
  return { lower, hasLength: form === 'pair' };
}

/** Writes a text as UTF-8, with U+FFFD for what is none, and returns its bytes. */
function writeText(bytes, address, text) {
  const { length } = text;
  if (length > SHORT) return bytes.write(text, address, 'utf8');
  for (let k = 0; k < length; k++) {
    const unit = text.charCodeAt(k);
    if (unit > 0x7f) return k + bytes.write(text.slice(k), address + k, 'utf8');
    bytes[address + k] = unit;
  }
  return length;
}

/** The bytes of an argument. Those in the library's own memory are copied: it may grow before they are used. */
function toView(value, argument, heap) {
  let bytes;
  try {
    bytes = toBytes(value, argument);
  } catch {
    throw check.invalidType(argument, 'an instance of Uint8Array, another view, or an ArrayBuffer', value);
  }
  return bytes.buffer === heap.bytes().buffer ? Buffer.from(bytes) : bytes;
}

// ---- results

/** What makes the result of what the function returned; `area` is where it stored address and length. */
function liftOf({ type, form }, heap, what, freeResult) {
  if (form === undefined) return type === undefined ? () => undefined : NUMBERS[type].lift;
  const take = (address, length, bytes) => {
    const value =
      type === 'bytes' ? copy(bytes, address, address + length) : readText(bytes, address, address + length);
    if (freeResult && address !== 0) heap.free(address, length + (form === 'nul' ? 1 : 0));
    return value;
  };
  const from = (address, length) => take(address, length, heap.checked(address, address + length, what));
  switch (form) {
    case 'pair':
      return ([address, length]) => from(address >>> 0, length >>> 0);
    case 'packed':
      // The halves of the result are still in its slot: nothing has run since.
      return () => from(i32[1] >>> 0, i32[0] >>> 0);
    case 'area':
      return (_, area) => {
        const bytes = heap.checked(area, area + AREA, what);
        return from(bytes.readUInt32LE(area), bytes.readUInt32LE(area + 4));
      };
    default:
      return (returned) => {
        const address = returned >>> 0;
        if (address === 0) return null;
        const bytes = heap.checked(address, address + 1, what);
        const end = endOf(bytes, address);
        if (end >= 0) return take(address, end - address, bytes);
        const text = `${what}: no NUL ends the text at ${address}, up to the end of the memory at ${bytes.length}`;
        throw coded(RangeError, 'ERR_WASI_RANGE', text);
      };
  }
}

/** Where the text that starts here ends, by the NUL behind it; -1 if there is none. */
function endOf(bytes, start) {
  // A short one is looked for here: the call of native code takes longer.
  const near = Math.min(start + SHORT, bytes.length);
  for (let at = start; at < near; at++) if (bytes[at] === 0) return at;
  return bytes.indexOf(0, near);
}

function copy(bytes, start, end) {
  return Buffer.from(bytes.subarray(start, end));
}

/** A text of UTF-8. Short ones are put together of pieces: one call for eight units, and no more joints than needed. */
function readText(bytes, start, end) {
  const otherwise = () => bytes.toString('utf8', start, end);
  if (end - start > SHORT) return otherwise();
  let text = '';
  let at = start;
  for (; at + 8 <= end; at += 8) {
    const a = bytes[at];
    const b = bytes[at + 1];
    const c = bytes[at + 2];
    const d = bytes[at + 3];
    const e = bytes[at + 4];
    const f = bytes[at + 5];
    const g = bytes[at + 6];
    const h = bytes[at + 7];
    if ((a | b | c | d | e | f | g | h) > 0x7f) return otherwise();
    text += String.fromCharCode(a, b, c, d, e, f, g, h);
  }
  if (at + 4 <= end) {
    const a = bytes[at];
    const b = bytes[at + 1];
    const c = bytes[at + 2];
    const d = bytes[at + 3];
    if ((a | b | c | d) > 0x7f) return otherwise();
    text += String.fromCharCode(a, b, c, d);
    at += 4;
  }
  for (; at < end; at++) {
    const unit = bytes[at];
    if (unit > 0x7f) return otherwise();
    text += String.fromCharCode(unit);
  }
  return text;
}

// ---- numbers

function integer(least, most) {
  return (value, argument) => {
    if (value === (value | 0) && value >= least && value <= most) return value;
    check.isInteger(value, argument, least, most);
    return value;
  };
}

function wide(least, most) {
  return (value, argument) => {
    const given = typeof value === 'number' && Number.isSafeInteger(value) ? BigInt(value) : value;
    if (typeof given !== 'bigint') throw check.invalidType(argument, 'a BigInt or a safe integer', value);
    if (given >= least && given <= most) return BigInt.asIntN(64, given);
    throw check.outOfRange(argument, `>= ${least} && <= ${most}`, value);
  };
}

function float(value, argument) {
  check.isOfType('number', value, argument);
  return value;
}

function boolean(value, argument) {
  check.isOfType('boolean', value, argument);
  return value ? 1 : 0;
}

module.exports = { typed };
