'use strict';
// Functions across the boundary: wasm functions as JavaScript calls them, JavaScript functions
// as wasm calls them.
//
// Arguments and results lie in the window (binding.js). The rule that makes one window enough:
// everything that can run user code, so every conversion, comes before the first store; from
// there to the call, and from the call to the last load, no user code runs.
//
// Addresses are doubles whose bits are the address. So one store passes one, which the processor
// can forward to the load at the other side; two halves would stall it. Nothing computes with them.
//
// A signature is a string like `il:d`: i32 and i64 to f64. The letters: i l f d for the numbers,
// r for funcref, e for externref, x for what JavaScript cannot have, and characters of their own for
// references to less than all functions or values (typed.js).

const binding = require('./binding');
const { here } = require('./caller');
const { coded } = require('../util/errors');
const { join, objectAt } = require('./group');
const { toReference, fromReference, sweep } = require('./references');
const { SCRIPTS, SHIM, callsInLine, watch } = require('./stack');
const { checkTyped, isTyped, kindOf } = require('./typed');

const { native, realm, call, i32, i64, f32, f64, TARGET } = binding;

/**
 * What we know of a function that stands for a wasm function: `address`, `group`, `signature`.
 * It is a private field put on the function: cheaper to make, find and collect than an entry of
 * a WeakMap.
 */
class Known extends function (object) {
  return object;
} {
  #record;

  constructor(f, record) {
    super(f);
    this.#record = record;
  }

  /** Undefined for any other value. */
  static recordOf(value) {
    return typeof value === 'function' && #record in value ? value.#record : undefined;
  }
}

const { recordOf } = Known;

/** ToBigInt64 for what is not yet a BigInt. */
function toBigInt(value) {
  return BigInt.asIntN(64, value);
}

/**
 * The address for a funcref. `holder` is the function it is passed to or returned to, or the
 * table or global it is put into.
 */
function toAddress(value, holder) {
  if (value === null) return 0;
  const record = recordOf(value);
  if (record === undefined) {
    throw new TypeError('a funcref must be null or a WebAssembly function');
  }
  // A table or global joins the native groups itself; between functions it is asked for.
  if (join(holder.group, record.group) && holder.address !== undefined) {
    native.linkFunctions(realm, holder.address, record.address);
  }
  return record.address;
}

/** The function at the address in a window slot. */
function fromAddress(slot, holder) {
  const address = f64[2 * slot];
  return address === 0 ? null : functionAt(address, holder.group);
}

/** The function at an address, always the same for the same address. */
function functionAt(address, group, signature, index) {
  return objectAt(group, address, () => {
    if (signature === undefined) [signature, index] = native.describeFunction(realm, address);
    const maker = makers.export(signature);
    const record = { address, group, signature, maker };
    const wrapper = named(`${index}`, maker(record));
    new Known(wrapper, record);
    return wrapper;
  });
}

// ---- single values, for tables, globals, and where signatures are not compiled

/** Converts a JavaScript value to a value of this type; may run user code. */
function convert(letter, value, holder) {
  switch (letter) {
    case 'i':
      return value | 0;
    case 'l':
      return toBigInt(value);
    case 'f':
    case 'd':
      return +value;
    case 'r':
      return toAddress(value, holder);
    case 'e':
      return value;
    default:
      checkTyped(letter, value, recordOf(value));
      return convert(kindOf(letter), value, holder);
  }
}

/** Stores a converted value into a slot, for the wasm of `holder`. */
function store(letter, slot, value, holder) {
  switch (letter) {
    case 'i':
      i32[4 * slot] = value;
      break;
    case 'l':
      i64[2 * slot] = value;
      break;
    case 'f':
      f32[4 * slot] = value;
      break;
    case 'd':
    case 'r':
      f64[2 * slot] = value;
      break;
    case 'e':
      i32[4 * slot] = toReference(value, holder);
      i32[4 * slot + 1] = 0;
      break;
    default:
      store(kindOf(letter), slot, value, holder);
  }
}

/** The value in a slot. */
function load(letter, slot, holder) {
  switch (letter) {
    case 'i':
      return i32[4 * slot];
    case 'l':
      return i64[2 * slot];
    case 'f':
      return f32[4 * slot];
    case 'd':
      return f64[2 * slot];
    case 'r':
      return fromAddress(slot, holder);
    case 'e':
      return fromReference(i32[4 * slot], holder);
    default:
      return load(kindOf(letter), slot, holder);
  }
}

/** The values of an iterable, which must be as many as the function has results. */
function list(iterable, count) {
  const iterate = iterable?.[Symbol.iterator];
  if (typeof iterate !== 'function') {
    throw new TypeError(`a function with ${count} results must return an iterable`);
  }
  const values = [...{ [Symbol.iterator]: () => iterate.call(iterable) }];
  if (values.length !== count) {
    throw new TypeError(`a function with ${count} results returned ${values.length} values`);
  }
  return values;
}

/**
 * Refuses a promise as the result of an import that wasm cannot wait for, where `holder.owner` says so.
 * The interface of WebAssembly makes a number of it, as of any object: 0.
 */
function refusePromise(value, { owner }) {
  if (!owner?.strict || typeof value?.then !== 'function') return;
  const text = 'an imported function returned a promise, and an instance on this thread cannot wait for it';
  const advice =
    'give it a thread of its own: wasi.spawn() in place of instantiate(), wasi.run() in place of start()';
  throw coded(TypeError, 'ERR_WASI_ASYNC_IMPORT', `${text}; ${advice}`);
}

function refuse() {
  throw new TypeError('JavaScript cannot call a function with v128 or exnref values, or be called');
}

// ---- wrappers, compiled once for each signature

/** Calls wasm. */
const CALL = 'call();';

/** Source text for the parts of a wrapper. */
const source = {
  names: (params) => Array.from(params, (_, index) => `a${index}`).join(', '),

  /** Converts the variables a0, a1... in place. One alone can be converted by its store. */
  convert: (letters) =>
    Array.from(letters, (letter, k) => {
      switch (letter) {
        case 'i':
          return letters.length > 1 ? `a${k} |= 0;` : '';
        case 'l':
          return letters.length > 1 ? `if (typeof a${k} !== 'bigint') a${k} = toBigInt(a${k});` : '';
        case 'r':
          return `a${k} = toAddress(a${k}, holder);`;
        case 'e':
          return '';
        default:
          return letters.length > 1 ? `a${k} = +a${k};` : '';
      }
    }).join(' '),

  store: (letters) =>
    Array.from(letters, (letter, k) => {
      switch (letter) {
        case 'i':
          return `i32[${4 * k}] = a${k};`;
        case 'l':
          return `i64[${2 * k}] = a${k};`;
        case 'f':
          return `f32[${4 * k}] = a${k};`;
        case 'd':
        case 'r':
          return `f64[${2 * k}] = a${k};`;
        default:
          return `i32[${4 * k}] = toReference(a${k}, holder); i32[${4 * k + 1}] = 0;`;
      }
    }).join(' '),

  loads: (letters) =>
    Array.from(letters, (letter, k) => {
      switch (letter) {
        case 'i':
          return `i32[${4 * k}]`;
        case 'l':
          return `i64[${2 * k}]`;
        case 'f':
          return `f32[${4 * k}]`;
        case 'd':
          return `f64[${2 * k}]`;
        case 'r':
          return `fromAddress(${k}, holder)`;
        default:
          return `fromReference(i32[${4 * k}], holder)`;
      }
    }).join(', '),

  results: (letters) => {
    if (letters.length === 0) return '';
    const loads = source.loads(letters);
    return letters.length === 1 ? `return ${loads};` : `return [${loads}];`;
  },

  sweep: (letters) => (letters.includes('e') ? 'sweep();' : ''),

  /** A wasm function for JavaScript. */
  export: (params, results) => `
    return (holder) => {
      const address = holder.address;
      return (${source.names(params)}) => {
        ${source.convert(params)}
        ${source.sweep(params)}
        ${source.store(params)}
        f64[${2 * TARGET}] = address;
        ${CALL}
        ${source.results(results)}
      };
    };`,

  /** A WASI function for JavaScript: `holder.number` is its number, `holder.call` calls it. */
  wasi: (params, results) => `
    return (holder) => (${source.names(params)}) => {
      ${source.convert(params)}
      const view = holder.view();
      ${source.store(params)}
      i32[${4 * TARGET}] = holder.number;
      holder.call(view);
      ${source.results(results)}
    };`,

  /** A JavaScript function for wasm: the shim takes and leaves everything in the window. */
  import: (params, results) => {
    const variables = source.names(results);
    const cannotWait = /[ilfd]/.test(results) ? `if (typeof r === 'object') refusePromise(r, holder);` : '';
    const take = ['', 'let a0 = r;', `let [${variables}] = list(r, ${results.length});`][
      Math.min(results.length, 2)
    ];
    return `
    return (f, holder) => () => {
      const outer = here.owner;
      here.owner = holder.owner;
      let r;
      try {
        r = f(${source.loads(params)});
      } finally {
        here.owner = outer;
      }
      ${cannotWait}
      ${take}
      ${source.convert(results)}
      ${source.sweep(results)}
      ${source.store(results)}
    };`;
  },
};

// prettier-ignore
const environment = {
  call, here, refusePromise, i32, i64, f32, f64, toBigInt, toAddress, fromAddress, toReference, fromReference,
  sweep, list,
};

/** Declares them. V8 takes a constant for what it is, and a parameter for what it may become. */
const declarations = `const { ${Object.keys(environment).join(', ')} } = environment;`;

/**
 * The same wrappers without compiling: for processes that refuse code from strings. Plain loops over
 * the letters, because anything finer costs several times the call.
 */
const interpreted = {
  export: (params, results) => (holder) =>
    withLength(params.length, (...args) => {
      convertAll(params, args, holder);
      storeAll(params, args, holder);
      f64[2 * TARGET] = holder.address;
      call();
      return loadResults(results, holder);
    }),

  wasi: (params, results) => (holder) =>
    withLength(params.length, (...args) => {
      convertAll(params, args, holder);
      const view = holder.view();
      storeAll(params, args, holder);
      i32[4 * TARGET] = holder.number;
      holder.call(view);
      return loadResults(results, holder);
    }),

  // By its name stacks tell the shim.
  import: (params, results) => (f, holder) =>
    ({
      [SHIM]: () => {
        const args = [];
        for (let k = 0; k < params.length; k++) args.push(load(params[k], k, holder));
        const outer = here.owner;
        here.owner = holder.owner;
        let returned;
        try {
          returned = f(...args);
        } finally {
          here.owner = outer;
        }
        if (results.length === 0) return;
        if (typeof returned === 'object' && /[ilfd]/.test(results)) refusePromise(returned, holder);
        const values = results.length === 1 ? [returned] : list(returned, results.length);
        convertAll(results, values, holder);
        storeAll(results, values, holder);
      },
    })[SHIM],
};

function convertAll(letters, values, holder) {
  for (let k = 0; k < letters.length; k++) values[k] = convert(letters[k], values[k], holder);
}

/** Converted ones. */
function storeAll(letters, values, holder) {
  if (letters.includes('e')) sweep();
  for (let k = 0; k < letters.length; k++) store(letters[k], k, values[k], holder);
}

function withLength(length, wrapper) {
  return Object.defineProperty(wrapper, 'length', { value: length });
}

/** The text of a function of the host's, as it is with V8's. */
const { toString } = {
  toString() {
    return `function ${this.name}() { [native code] }`;
  },
};

/**
 * Names a wrapper, which like all of them is an arrow function: it cannot be constructed. It has a
 * `toString` of its own, because that of all functions would tell our source.
 */
function named(name, wrapper) {
  Object.defineProperty(wrapper, 'name', { value: name });
  const attributes = { value: toString, writable: true, enumerable: false, configurable: true };
  return Object.defineProperty(wrapper, 'toString', attributes);
}

function loadResults(results, holder) {
  if (results.length === 0) return undefined;
  if (results.length === 1) return load(results, 0, holder);
  return Array.from(results, (letter, k) => load(letter, k, holder));
}

let canCompile = true;

/** How many lines `Function` puts before the text of a function. */
const HEADER = 2;

/** The maker of wrappers of this kind and signature. */
function make(kind, signature) {
  const [params, results] = signature.split(':');
  if (signature.includes('x')) {
    return kind === 'import' ? () => refuse : () => withLength(params.length, () => refuse());
  }
  if (canCompile && !isTyped(signature)) {
    try {
      const text = `'use strict';${declarations}${source[kind](params, results)}
        //# sourceURL=${SCRIPTS[kind]}${signature}`;
      if (kind === 'export') callsInLine(HEADER + text.slice(0, text.indexOf(CALL)).split('\n').length);
      return new Function('environment', text)(environment);
    } catch (error) {
      if (!(error instanceof EvalError)) throw error;
      canCompile = false;
    }
  }
  return interpreted[kind](params, results);
}

/** How many makers are kept though no function of theirs is there. */
const RECENT = 256;

/**
 * The maker for a signature. It is there as long as a function that it made, which keeps it, so that
 * functions of one signature share their code; and a while longer.
 */
function cached(kind) {
  const made = new Map();
  const recent = [];
  const forgotten = new FinalizationRegistry((signature) => {
    if (made.get(signature)?.deref() === undefined) made.delete(signature);
  });
  return (signature) => {
    const known = made.get(signature)?.deref();
    if (known !== undefined) return known;
    const maker = make(kind, signature);
    made.set(signature, new WeakRef(maker));
    forgotten.register(maker, signature);
    if (recent.push(maker) > RECENT) recent.shift();
    return maker;
  };
}

const makers = { export: cached('export'), import: cached('import'), wasi: cached('wasi') };

/** The shim through which wasm calls `f`. `holder` stands for the function at wasm's side. */
function shim(f, signature, holder) {
  watch(binding);
  const maker = (holder.maker = makers.import(signature));
  return maker(f, holder);
}

/** A WASI function as JavaScript calls it. */
function wasiFunction(name, signature, holder) {
  return named(name, makers.wasi(signature)(holder));
}

module.exports = {
  convert,
  functionAt,
  list,
  load,
  recordOf,
  shim,
  store,
  sweep,
  wasiFunction,
};
