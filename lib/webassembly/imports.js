'use strict';
// What is said of imports before an instance is made, on whatever thread that will be.

const { LinkError, coded } = require('../util/errors');
const { isObject } = require('../util/webidl');

/** Whether an import is the function by which guests start threads. */
function isThreadSpawn({ module, name, kind }) {
  return module === 'wasi' && name === 'thread-spawn' && kind === 'function';
}

/** Throws if the module starts threads of ours, each of which would have a memory of its own. */
function checkThreads(what, parts, given) {
  if (!parts.imports().some(isThreadSpawn) || given?.wasi?.['thread-spawn'] !== undefined) return;
  if (parts.imports().some(isShared)) return;
  const text = 'the module imports wasi.thread-spawn, but no shared memory for its threads';
  throw coded(LinkError, 'ERR_WASI_LINK', `${what}: ${text}; link it with --import-memory --shared-memory`);
}

/** Whether an import is a shared memory. */
function isShared({ kind, type }) {
  return kind === 'memory' && type === 's';
}

/**
 * Throws a LinkError if there is no object for the module of an import. (The interface of WebAssembly
 * has a TypeError for that, so `Instance` has.)
 */
function checkGiven({ module, name }, fields, what) {
  if (isObject(fields)) return;
  const wanted = `the module imports ${JSON.stringify(module)} ${JSON.stringify(name)}`;
  const found =
    fields === undefined
      ? 'there is no such module among the imports'
      : `that module is given as ${given(fields)}`;
  const advice = `give { ${JSON.stringify(module)}: { ${JSON.stringify(name)}: ... } }`;
  throw coded(LinkError, 'ERR_WASI_LINK', `${what}: ${wanted}, and ${found}; ${advice}`);
}

/** Throws that the import must be something else. */
function refuse({ what }, { module, name }, expected, value) {
  const field = `import ${JSON.stringify(module)} ${JSON.stringify(name)}`;
  const text = `${what}: ${field} must be ${expected}, not ${given(value)}`;
  throw coded(LinkError, 'ERR_WASI_LINK', text);
}

function given(value) {
  if (value === null) return 'null';
  if (typeof value !== 'object') return typeof value === 'undefined' ? 'undefined' : `a ${typeof value}`;
  const name = value.constructor?.name;
  return typeof name === 'string' && name !== '' ? `an instance of ${name}` : 'an object';
}

module.exports = { checkGiven, checkThreads, given, isShared, isThreadSpawn, refuse };
