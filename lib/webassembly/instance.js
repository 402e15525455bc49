'use strict';
// WebAssembly.Instance, and linking.

const { native, realm } = require('../native/binding');
const { LinkError, coded } = require('../util/errors');
const { functionAt, recordOf, shim } = require('../native/functions');
const { prepareThread } = require('../native/thread');
const { whileLinking } = require('./exception');
const { globalFor, globalParts } = require('./global');
const { checkThreads, given, isShared, isThreadSpawn, refuse } = require('./imports');
const { Group, join, keep } = require('../native/group');
const { adopted, makeShared, memoryFor, memoryParts } = require('./memory');
const { partsOf } = require('./module');
const { lacking } = require('./shared');
const { tableFor, tableParts } = require('./table');
const { settleTag, tagFor, tagParts } = require('./tag');
const { pass, typeNamed, typeOf } = require('../native/types');
const { wasiFunctionParts, wasiImportsParts } = require('../native/wasi-functions');
const { closeable, describe, isObject, privateParts, settle, uncloneable } = require('../util/webidl');

/** The private parts of an Instance: its `exports`, its native `handle`, and its `team` of threads, if it has one. */
const { put, of } = privateParts();

class Instance {
  constructor(module, importObject = undefined) {
    const instance = uncloneable(this);
    let linking = module;
    if (!(module instanceof Linking)) {
      settle(instance, new.target, Instance);
      linking = link('WebAssembly.Instance()', module, importObject);
    }
    linking.begin(instance);
    const exports = linking.finish();
    put(instance, { exports, handle: linking.handle, team: linking.team });
    return instance;
  }

  get exports() {
    return instanceParts(this, 'WebAssembly.Instance.exports').exports;
  }

  /** Gives the memories back at once. The exported functions throw from then on. */
  close() {
    const what = 'WebAssembly.Instance.close()';
    const { handle } = instanceParts(this, what);
    if (!native.closeInstance(realm, handle)) {
      throw coded(Error, 'ERR_WASI_BUSY', `${what}: wasm runs that may use the instance`);
    }
  }
}

describe(Instance, 'WebAssembly.Instance');

// The interface has no such method, so it is not enumerable.
closeable(Instance);

function instanceParts(value, what) {
  const parts = of(value);
  if (parts === undefined) throw new TypeError(`${what}: the receiver must be a WebAssembly.Instance`);
  return parts;
}

/** Throws unless `value` may stand for the imports of an instance. */
function checkImportObject(what, value) {
  if (value !== undefined && !isObject(value)) {
    throw new TypeError(`${what}: Argument 1 must be an object`);
  }
}

/** A module whose imports have been read. */
class Linking {
  constructor(what, module) {
    this.what = what;
    this.module = module;
    // What the instance will reach is one group with it, whatever becomes of the instance: a
    // start function that traps may have left its functions in an imported table.
    this.group = new Group();
    this.externs = [];
    /** Whose the imported functions are while they run, and whether they must not return promises. */
    this.owner = { instance: undefined, strict: false };
    /** The limits of the `WASI` object whose functions are imported. */
    this.limits = undefined;
    /** The threads that the instance starts, if it is a program that can. */
    this.team = undefined;
  }

  /** Told of the instance before any code of it runs. */
  begin(instance) {
    this.owner.instance = instance;
  }

  /** Makes the native instance, runs its start function, and returns the exports object. */
  finish() {
    const { what, module, group, externs } = this;
    prepareThread();
    const shared = module.sharedMemories().map((limits) => {
      // Where V8 has no such memory, native code makes it of bytes of its own.
      if (lacking(limits) !== undefined || native.ownsSharedMemory(module.handle)) return null;
      const parts = memoryParts(makeShared(limits));
      join(group, parts.group);
      return parts.handle;
    });
    const { limits } = this;
    const make = () => native.instantiate(realm, what, module.handle, externs, shared, limits);
    const list = whileLinking(group, make);
    this.handle = list[0];
    keep(group, list[0]);

    const descriptors = module.exports();
    for (const address of list.slice(1 + 2 * descriptors.length)) settleTag(address, group);
    const exports = descriptors.map(({ name, kind, type }, index) => [
      name,
      EXPORT[kind](list[2 * index + 1], list[2 * index + 2], group, type),
    ]);
    // Made as an ordinary object, because V8 keeps one that starts without a prototype as a
    // dictionary, and calls through it are then never inlined.
    return Object.freeze(Object.setPrototypeOf(Object.fromEntries(exports), null));
  }
}

/** Reads the imports, in the order in which the module declares them. */
function link(what, module, importObject) {
  const linking = new Linking(what, partsOf(module, what));
  checkImportObject(what, importObject);
  const imports = linking.module.imports();
  if (imports.length > 0 && importObject === undefined) {
    throw new TypeError(`${what}: the module has imports, so Argument 1 must be an object`);
  }
  const threads = threadsOf(what, imports, importObject);
  if (threads !== undefined) checkThreads(what, linking.module, importObject);
  linking.externs = imports.map((wanted, index) => {
    if (threads !== undefined) {
      if (isThreadSpawn(wanted)) return null;
      if (isShared(wanted)) return ownMemory(linking, wanted, index, importObject, threads);
    }
    const fields = importObject[wanted.module];
    if (!isObject(fields)) {
      const text = `module ${JSON.stringify(wanted.module)} of the imports must be an object`;
      throw new TypeError(`${what}: ${text}, not ${given(fields)}`);
    }
    const value = fields[wanted.name];
    if (value === undefined) explainMissing(linking, wanted, fields);
    return importOf(linking, wanted, index, value);
  });
  if (threads !== undefined) openTeam(linking, importObject, threads);
  return linking;
}

/**
 * The program whose threads a module starts, as `wasiFunctionParts` has it: that of the WASI functions among its
 * imports. Undefined if it starts none, or if somebody else gives it the function for that.
 */
function threadsOf(what, imports, given) {
  if (!imports.some(isThreadSpawn) || given?.wasi?.['thread-spawn'] !== undefined) return undefined;
  const parts = ({ module, name }) =>
    wasiFunctionParts(given?.[module]?.[name]) ?? wasiImportsParts(given?.[module]);
  const program = imports.map(parts).find((found) => found !== undefined);
  if (program !== undefined) return program;
  const objects = Object.values(given ?? {}).map((fields) => wasiImportsParts(fields));
  const imported = objects.find((found) => found !== undefined);
  if (imported !== undefined) return imported;
  const text = 'the module imports wasi.thread-spawn, so it was built for wasm32-wasip1-threads';
  const advice = 'run it by wasi.run(), give it the imports of a WASI object, or give the import';
  throw coded(LinkError, 'ERR_WASI_LINK', `${what}: ${text}; ${advice}`);
}

/** The memory of a program and its threads, which JavaScript cannot give. */
function ownMemory(linking, wanted, index, importObject, { limits }) {
  const given = importObject?.[wanted.module]?.[wanted.name];
  if (given !== undefined) {
    const own = `import "${wanted.module}" "${wanted.name}": all threads of the program share a memory of its own`;
    const advice = 'leave it out, and use that by what the program exports';
    throw coded(LinkError, 'ERR_WASI_LINK', `${linking.what}: ${own}; ${advice}`);
  }
  const [, handle] = native.programMemory(realm, linking.module.handle, index, limits);
  keep(linking.group, handle);
  return handle;
}

/** Makes the threads of a program, and the import by which it starts them. */
function openTeam(linking, importObject, { context, limits, threads = 0 }) {
  const { what, module, externs } = linking;
  const imports = module.imports();
  const ofThreads = imports.map((wanted, index) => {
    if (wanted.kind !== 'function') return externs[index];
    const wasi = wasiFunctionParts(importObject?.[wanted.module]?.[wanted.name]);
    if (wasi === undefined) return null;
    return native.wasiImport(realm, wasi.context, what, wasi.module, wasi.name);
  });
  const [team, spawn] = native.openTeam(realm, module.handle, context, ofThreads, limits, threads);
  linking.team = team;
  keep(linking.group, team);
  imports.forEach((wanted, index) => {
    if (isThreadSpawn(wanted)) externs[index] = spawn;
  });
}

/** As the constructor, but the start function runs later. */
async function instantiate(what, module, importObject) {
  const linking = link(what, module, importObject);
  await undefined;
  return new Instance(linking);
}

/** The native import for a value. */
function importOf(linking, wanted, index, value) {
  return IMPORT[wanted.kind](linking, wanted, index, value);
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
    if (wasi !== undefined) {
      linking.limits ??= wasi.limits;
      linking.owner.strict = true;
    }
    if (wasi?.isDirect && linking.module.exportsMemory()) {
      return native.wasiImport(realm, wasi.context, linking.what, wasi.module, wasi.name);
    }
    const holder = { group: linking.group, address: undefined, owner: linking.owner };
    const called = shim(value, wanted.type, holder);
    const [address, handle] = native.hostFunction(realm, linking.module.handle, index, called);
    holder.address = address;
    keep(linking.group, called);
    return handle;
  },

  memory(linking, wanted, index, value) {
    const parts = memoryParts(value) ?? memoryParts(adopted(value));
    return object(linking, wanted, 'a WebAssembly.Memory', value, parts);
  },

  table: (linking, wanted, index, value) =>
    object(linking, wanted, 'a WebAssembly.Table', value, tableParts(value)),

  global(linking, wanted, index, value) {
    const parts = globalParts(value);
    if (parts !== undefined) return object(linking, wanted, '', value, parts);
    const [letter, mutable] = wanted.type;
    const type = typeOf(letter);
    if (mutable) refuse(linking, wanted, 'a mutable WebAssembly.Global', value);
    if (type.isExotic) refuse(linking, wanted, 'a WebAssembly.Global', value);
    if (type.primitive !== undefined && typeof value !== type.primitive) {
      const primitive = type.primitive === 'bigint' ? 'a BigInt' : 'a number';
      refuse(linking, wanted, `${primitive} or a WebAssembly.Global`, value);
    }
    if (type === typeNamed('funcref') && value !== null && recordOf(value) === undefined) {
      refuse(linking, wanted, 'null, a WebAssembly function or a WebAssembly.Global', value);
    }
    try {
      pass(type, value, { group: linking.group });
    } catch (error) {
      if (!type.isTyped) throw error;
      refuse(linking, wanted, 'of its type or a WebAssembly.Global', value);
    }
    return native.createGlobal(realm, letter, false)[1];
  },

  tag: (linking, wanted, index, value) =>
    object(linking, wanted, 'a WebAssembly.Tag', value, tagParts(value)),
};

/** The threads that an instance can start, undefined for any that cannot. */
function teamOf(instance) {
  return of(instance)?.team;
}

/** Throws if the import is a WASI function that its program is not granted. */
function explainMissing({ what }, { name }, fields) {
  const wasi = wasiImportsParts(fields);
  // If this does not throw, somebody took the function out.
  if (wasi !== undefined) native.wasiImport(realm, wasi.context, what, wasi.module, name);
}

function object(linking, wanted, expected, value, parts) {
  if (parts === undefined) refuse(linking, wanted, expected, value);
  // A tag that lives as long as the realm must not keep what imports it.
  if (parts.group !== undefined) join(linking.group, parts.group);
  return parts.handle;
}

/** For each kind: the JavaScript object for a native export. */
const EXPORT = {
  function: (address, index, group, type) => functionAt(address, group, type, index),
  memory: memoryFor,
  table: tableFor,
  global: globalFor,
  tag: tagFor,
};

module.exports = {
  Instance,
  Linking,
  checkImportObject,
  importOf,
  instantiate,
  link,
  teamOf,
};
