'use strict';
// The keys of each options object of the package, and the refusal of all others: a key misspelt must
// not widen what a program may do, or leave it without an end.
//
// The descriptors of the `WebAssembly` classes are not here: the interface has other keys ignored.

const { invalidValue, isObject } = require('./validate');

/** What `load()` has of the options of `new WASI()`. */
// prettier-ignore
const CAPABILITIES = [
  'args', 'env', 'preopens', 'sockets', 'stdin', 'stdout', 'stderr', 'allow', 'deny', 'onRefused', 'now',
  'randomSeed', 'limits', 'trace', 'traceFull', 'metrics', 'coredump',
];
const LOAD = ['imports', 'alloc', 'free', 'cache', 'threads', 'asyncWorkPoolSize', ...CAPABILITIES];

const PROGRAM = ['args', 'env', 'stdin', 'stdout', 'stderr'];

/** For each options object how messages call it (`of`), and its keys. */
const OPTIONS = {
  wasi: {
    of: 'new WASI()',
    keys: ['version', 'returnOnExit', ...CAPABILITIES],
  },
  compile: {
    of: 'compile() and new Module()',
    keys: ['cache', 'fuel', 'signal', 'onProgress', 'builtins', 'importedStringConstants'],
  },
  load: { of: 'load()', keys: LOAD },
  loadAsync: { of: 'loadAsync()', keys: ['signal', ...LOAD] },
  run: { of: 'wasi.run()', keys: ['signal', 'timeout', 'imports', 'encoding', ...PROGRAM] },
  spawn: { of: 'wasi.spawn()', keys: ['signal', 'timeout', 'data'] },
  instantiate: { of: 'wasi.instantiate()', keys: ['data'] },
  instantiateSync: { of: 'wasi.instantiateSync()', keys: ['data'] },
  call: { of: 'instance.call()', keys: ['timeout', 'signal', 'fuel'] },
  finalizeBindings: { of: 'wasi.finalizeBindings()', keys: ['memory'] },
  limits: {
    of: 'options.limits',
    // prettier-ignore
    keys: [
      'descriptors', 'buffers', 'path', 'subscriptions', 'strings', 'output', 'memory', 'table', 'total', 'stack',
      'fuel', 'threads',
    ],
  },
  preopen: {
    of: 'a directory of options.preopens',
    keys: ['path', 'mode', 'read', 'write', 'create', 'remove', 'symlinks'],
  },
  socket: { of: 'a socket of options.sockets', keys: ['listen', 'connect', 'socket', 'nonblock'] },
  address: { of: 'an address of options.sockets', keys: ['host', 'port'] },
  input: { of: 'options.stdin', keys: ['input'] },
  lines: { of: 'options.stdout and options.stderr', keys: ['lines'] },
  memoryFs: { of: 'new MemoryFS()', keys: ['files', 'quota'] },
  readFile: { of: 'MemoryFS.readFile()', keys: ['encoding'] },
};

/** Where to go with what has no key, for words that people try. */
const ELSEWHERE = [[/^threads?$/, 'an instance with a thread of its own is made by wasi.spawn()']];

/** Letters of a word that are looked at. */
const LONGEST = 64;

/**
 * Refuses keys that are none of `OPTIONS[kind]`; `name` is what the message calls the object. Keys
 * that the object inherits count as they do when options are read, but for those of all objects.
 */
function checkKeys(kind, object, name) {
  const { keys } = OPTIONS[kind];
  for (const key in object) {
    if (keys.includes(key) || (key in Object.prototype && !Object.hasOwn(object, key))) continue;
    const shown = key.length > LONGEST ? `${key.slice(0, LONGEST)}...` : key;
    throw invalidValue(`${name}.${shown}`, object[key], `is not known: ${advice(kind, key)}`);
  }
}

/**
 * The same for options that the interface of WebAssembly has beside ours: it has keys ignored that it
 * does not know, so only those are refused that are misspelt or belong elsewhere.
 */
function checkOurKeys(kind, object, name) {
  if (typeof object !== 'object' || object === null) return;
  const { keys } = OPTIONS[kind];
  const isOurs = (key) =>
    !keys.includes(key) && (suggestion(key, keys) !== undefined || placesOf(key).length > 0);
  const ours = Object.entries(object).filter(([key]) => isOurs(key));
  checkKeys(kind, Object.fromEntries(ours), name);
}

/** Refuses options where imports belong: `spawn(source, { timeout: 100 })`. */
function checkImports(imports, name) {
  isObject(imports, name);
  for (const [key, value] of Object.entries(imports)) {
    if ((typeof value === 'object' && value !== null) || typeof value === 'function') continue;
    const { of, keys } = OPTIONS.spawn;
    const elsewhere = elsewhereOf(key);
    if (elsewhere === undefined && !keys.includes(key)) continue;
    const advice = elsewhere ?? `"${key}" is an option of ${of}; options come after the imports`;
    const reason = `is no module of imports: ${advice}`;
    throw invalidValue(`${name}.${key}`, value, reason);
  }
}

function elsewhereOf(key) {
  return ELSEWHERE.find(([words]) => words.test(key))?.[1];
}

/** How messages call the options objects that have such a key. */
function placesOf(key) {
  return Object.values(OPTIONS)
    .filter(({ keys }) => keys.includes(key))
    .map(({ of }) => of);
}

/** What to do about a key that is not known. */
function advice(kind, key) {
  const { of, keys } = OPTIONS[kind];
  const places = placesOf(key);
  const isOption = places.length > 0 ? `"${key}" is an option of ${listed(places)}` : undefined;
  const elsewhere = elsewhereOf(key);
  if (elsewhere !== undefined) return isOption === undefined ? elsewhere : `${elsewhere}; ${isOption}`;
  if (isOption !== undefined) return isOption;
  const meant = suggestion(key, keys);
  if (meant !== undefined) return `did you mean "${meant}"?`;
  return keys.length === 0 ? `${of} has no options` : `${of} has ${listed(keys)}`;
}

function listed(words) {
  if (words.length < 2) return words.join();
  return `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`;
}

/** Which of these words somebody meant; undefined if none is much like it. */
function suggestion(word, words) {
  const given = plain(word);
  let best;
  let least = Infinity;
  for (const candidate of words) {
    const known = plain(candidate);
    const steps = distance(given, known);
    if (
      steps < least &&
      (steps <= Math.ceil(Math.max(given.length, known.length) / 4) || shares(given, known))
    ) {
      best = candidate;
      least = steps;
    }
  }
  return best;
}

/** Whether one word stands in the other, or they begin alike. */
function shares(one, other) {
  if (Math.min(one.length, other.length) < 3) return false;
  if (one.includes(other) || other.includes(one)) return true;
  return other.length > 3 && one.startsWith(other.slice(0, 4));
}

/** A word without what people write differently. A very long one is like none. */
function plain(word) {
  return word.slice(0, LONGEST).toLowerCase().replace(/[-_ ]/g, '');
}

/** How many letters to put, take, replace or swap to get from one word to the other. */
function distance(from, to) {
  const rows = [Array.from({ length: to.length + 1 }, (_, column) => column)];
  for (let row = 1; row <= from.length; row++) {
    const [above, before] = [rows[row - 1], rows[row - 2]];
    const here = [row];
    for (let column = 1; column <= to.length; column++) {
      const same = from[row - 1] === to[column - 1];
      let steps = Math.min(above[column] + 1, here[column - 1] + 1, above[column - 1] + (same ? 0 : 1));
      if (before !== undefined && from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1]) {
        steps = Math.min(steps, before[column - 2] + 1);
      }
      here.push(steps);
    }
    rows.push(here);
  }
  return rows[from.length][to.length];
}

module.exports = { CAPABILITIES, LOAD, checkImports, checkKeys, checkOurKeys, suggestion };
