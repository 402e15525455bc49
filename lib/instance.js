'use strict';
// WebAssembly.Instance, and linking.

const { native, realm } = require('./binding');
const { LinkError, coded } = require('./errors');
const { convert, functionAt, recordOf, shim, store, sweep } = require('./functions');
const { globalFor, globalParts } = require('./global');
const { Group, join, keep } = require('./group');
const { memoryFor, memoryParts } = require('./memory');
const { partsOf } = require('./module');
const { tableFor, tableParts } = require('./table');
const { wasiFunctionParts, wasiImportsParts } = require('./wasi');
const { describe, isObject } = require('./webidl');

class Instance {
  #exports;

  constructor(module, importObject = undefined) {
    this.#exports = link('WebAssembly.Instance()', module, importObject);
  }

  get exports() {
    return this.#exports;
  }
}

describe(Instance, 'WebAssembly.Instance');

/** Throws unless `value` may stand for the imports of an instance. */
function checkImportObject(what, value) {
  if (value !== undefined && !isObject(value)) {
    throw new TypeError(`${what}: Argument 1 must be an object`);
  }
}

/** Instantiates and returns the exports object. */
function link(what, module, importObject) {
  const parts = partsOf(module, what);
  checkImportObject(what, importObject);
  const imports = parts.imports();
  if (imports.length > 0 && importObject === undefined) {
    throw new TypeError(`${what}: the module has imports, so Argument 1 must be an object`);
  }
  // What the instance will reach is one group with it, whatever becomes of the instance: a start
  // function that traps may have left its functions in an imported table.
  const linking = { what, module: parts, group: new Group() };
  const externs = imports.map((wanted, index) => {
    const fields = importObject[wanted.module];
    if (!isObject(fields)) {
      const text = `module ${JSON.stringify(wanted.module)} of the imports must be an object`;
      throw new TypeError(`${what}: ${text}, not ${given(fields)}`);
    }
    const value = fields[wanted.name];
    if (value === undefined) explainMissing(linking, wanted, fields);
    return IMPORT[wanted.kind](linking, wanted, index, value);
  });

  const list = native.instantiate(realm, what, parts.handle, externs);
  keep(linking.group, list[0]);

  const exports = parts.exports().map(({ name, kind, type }, index) => [
    name,
    EXPORT[kind](list[2 * index + 1], list[2 * index + 2], linking.group, type),
  ]);
  // Made as an ordinary object, because V8 keeps one that starts without a prototype as a
  // dictionary, and calls through it are then never inlined.
  return Object.freeze(Object.setPrototypeOf(Object.fromEntries(exports), null));
}

/** For each kind: the native import for a value, or a LinkError. */
const IMPORT = {
  function(linking, wanted, index, value) {
    if (typeof value !== 'function') refuse(linking, wanted, 'a function', value);
    const record = recordOf(value);
    if (record !== undefined) {
      join(linking.group, record.group);
      return record.address;
    }
    const wasi = wasiFunctionParts(value);
    // A native WASI function works on the importing instance's memory. Which memory a module
    // without one means is only known to its WASI object.
    if (wasi !== undefined && hasMemory(linking.module)) {
      return native.wasiImport(realm, wasi.context, linking.what, wasi.module, wasi.name);
    }
    const holder = { group: linking.group, address: undefined };
    const called = shim(value, wanted.type, holder);
    const [address, handle] = native.hostFunction(realm, linking.module.handle, index, called);
    holder.address = address;
    keep(linking.group, called);
    return handle;
  },

  memory: (linking, wanted, index, value) =>
    object(linking, wanted, 'a WebAssembly.Memory', value, memoryParts(value)),

  table: (linking, wanted, index, value) =>
    object(linking, wanted, 'a WebAssembly.Table', value, tableParts(value)),

  global(linking, wanted, index, value) {
    const parts = globalParts(value);
    if (parts !== undefined) return object(linking, wanted, '', value, parts);
    const [letter, mutable] = wanted.type;
    if (mutable) refuse(linking, wanted, 'a mutable WebAssembly.Global', value);
    if (letter === 'l' && typeof value !== 'bigint') {
      refuse(linking, wanted, 'a BigInt or a WebAssembly.Global', value);
    }
    if ('ifd'.includes(letter) && typeof value !== 'number') {
      refuse(linking, wanted, 'a number or a WebAssembly.Global', value);
    }
    if (letter === 'x') refuse(linking, wanted, 'a WebAssembly.Global', value);
    if (letter === 'r' && value !== null && recordOf(value) === undefined) {
      refuse(linking, wanted, 'null, a WebAssembly function or a WebAssembly.Global', value);
    }
    const converted = convert(letter, value, { group: linking.group });
    sweep();
    store(letter, 0, converted);
    return native.createGlobal(realm, letter, false)[1];
  },

  tag: (linking, wanted, index, value) => refuse(linking, wanted, 'a WebAssembly.Tag', value),
};

/** Throws if the import is a WASI function that its program is not granted. */
function explainMissing({ what }, { name }, fields) {
  const wasi = wasiImportsParts(fields);
  // What comes back is not linked: somebody took the function out.
  if (wasi !== undefined) native.wasiImport(realm, wasi.context, what, wasi.module, name);
}

function object(linking, wanted, expected, value, parts) {
  if (parts === undefined) refuse(linking, wanted, expected, value);
  join(linking.group, parts.group);
  return parts.handle;
}

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

function hasMemory(module) {
  return module.exports().some(({ kind }) => kind === 'memory');
}

/** For each kind: the JavaScript object for a native export. */
const EXPORT = {
  function: (address, index, group, type) => functionAt(address, group, type, index),
  memory: memoryFor,
  table: tableFor,
  global: globalFor,
  tag: () => undefined,
};

module.exports = { Instance, checkImportObject };
