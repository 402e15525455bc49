'use strict';
// What makes the wrappers of functions across the edge: wasm functions as JavaScript calls them, and
// JavaScript functions as wasm calls them.
//
// Arguments and results lie in the window (binding.js). The rule that makes one window enough:
// everything that can run user code, so every conversion, comes before the first store. From there to
// the call, and from the call to the last load, no user code runs.
//
// Addresses are doubles whose bits are the address. So one store passes one, which the processor
// can forward to the load at the other side; two halves would stall it. Nothing computes with them.

const { call, i32, i64, f32, f64, TARGET } = require('./binding');
const { here } = require('./caller');
const { coded } = require('../util/errors');
const { sweep } = require('./references');
const { SCRIPTS, SHIM, callsInLine } = require('./stack');
const { environment, signatureOf } = require('./types');

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
 * Refuses a promise as the result of an import, where `holder.owner` says that wasm cannot wait for it.
 * The interface of WebAssembly makes a number of it, as of any object: 0.
 */
function refusePromise(value, { owner }) {
  if (!owner?.strict || typeof value?.then !== 'function') return;
  const text = 'an imported function returned a promise, and an instance on this thread cannot wait for it';
  const advice =
    'give it a thread of its own: wasi.spawn() in place of instantiate(), wasi.run() in place of start()';
  throw coded(TypeError, 'ERR_WASI_ASYNC_IMPORT', `${text}; ${advice}`);
}

const isNumber = ({ primitive }) => primitive !== undefined;
const isHostValue = (type) => type.isHostValue;

function refuse() {
  throw new TypeError('JavaScript cannot call a function with v128 or exnref values, or be called');
}

// ---- compiled, once for each signature

/** Calls wasm. */
const CALL = 'call();';

/** Source text for the parts of a wrapper, for lists of types. */
const source = {
  names: (types) => types.map((_, k) => `a${k}`).join(', '),

  /** Converts the variables a0, a1... in place. One number alone is converted by its store. */
  convert(types) {
    if (types.length === 1 && isNumber(types[0])) return '';
    return types.map((type, k) => type.source.convert(`a${k}`)).join(' ');
  },

  store: (types) => types.map((type, k) => type.source.store(k, `a${k}`)).join(' '),

  loads: (types) => types.map((type, k) => type.source.load(k)).join(', '),

  results(types) {
    if (types.length === 0) return '';
    const loads = source.loads(types);
    return types.length === 1 ? `return ${loads};` : `return [${loads}];`;
  },

  sweep: (types) => (types.some(isHostValue) ? 'sweep();' : ''),

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
  import(params, results) {
    const variables = source.names(results);
    const cannotWait = results.some(isNumber) ? `if (typeof r === 'object') refusePromise(r, holder);` : '';
    const takes = ['', 'let a0 = r;', `let [${variables}] = list(r, ${results.length});`];
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
      ${takes[Math.min(results.length, 2)]}
      ${source.convert(results)}
      ${source.sweep(results)}
      ${source.store(results)}
    };`;
  },
};

/** What the text uses, with what the types add. */
const scope = () => ({ ...environment, call, here, refusePromise, i32, i64, f32, f64, sweep, list });

// ---- the same without compiling, for processes that refuse code from strings

// These are plain loops over the types, because anything finer costs several times the call.
const interpreted = {
  export(params, results) {
    const store = storing(params);
    return (holder) =>
      withLength(params.length, (...args) => {
        convertAll(params, args, holder);
        store(args, holder);
        f64[2 * TARGET] = holder.address;
        call();
        return loadResults(results, holder);
      });
  },

  wasi(params, results) {
    const store = storing(params);
    return (holder) =>
      withLength(params.length, (...args) => {
        convertAll(params, args, holder);
        const view = holder.view();
        store(args, holder);
        i32[4 * TARGET] = holder.number;
        holder.call(view);
        return loadResults(results, holder);
      });
  },

  import(params, results) {
    const store = storing(results);
    const cannotWait = results.some(isNumber);
    // Stacks tell the shim by its name.
    return (f, holder) =>
      ({
        [SHIM]: () => {
          const args = [];
          for (let k = 0; k < params.length; k++) args.push(params[k].load(k, holder));
          const outer = here.owner;
          here.owner = holder.owner;
          let returned;
          try {
            returned = f(...args);
          } finally {
            here.owner = outer;
          }
          if (results.length === 0) return;
          if (typeof returned === 'object' && cannotWait) refusePromise(returned, holder);
          const values = results.length === 1 ? [returned] : list(returned, results.length);
          convertAll(results, values, holder);
          store(values, holder);
        },
      })[SHIM];
  },
};

function convertAll(types, values, holder) {
  for (let k = 0; k < types.length; k++) values[k] = types[k].convert(values[k], holder);
}

/** What stores converted values. */
function storing(types) {
  const sweeps = types.some(isHostValue);
  return (values, holder) => {
    if (sweeps) sweep();
    for (let k = 0; k < types.length; k++) types[k].store(k, values[k], holder);
  };
}

function loadResults(types, holder) {
  if (types.length === 0) return undefined;
  return types.length === 1 ? types[0].load(0, holder) : types.map((type, k) => type.load(k, holder));
}

function withLength(length, wrapper) {
  return Object.defineProperty(wrapper, 'length', { value: length });
}

// ----

let canCompile = true;

/** How many lines `Function` puts before the text of a function. */
const HEADER = 2;

/** The maker of wrappers of this kind and signature. */
function make(kind, signature) {
  const { params, results } = signatureOf(signature);
  const types = [...params, ...results];
  if (types.some(({ isExotic }) => isExotic)) {
    return kind === 'import' ? () => refuse : () => withLength(params.length, () => refuse());
  }
  if (canCompile && !types.some(({ isTyped }) => isTyped)) {
    try {
      const names = scope();
      // V8 takes a constant for what it is, and a parameter for what it may become.
      const declarations = `const { ${Object.keys(names).join(', ')} } = environment;`;
      const text = `'use strict';${declarations}${source[kind](params, results)}
        //# sourceURL=${SCRIPTS[kind]}${signature}`;
      if (kind === 'export') callsInLine(HEADER + text.slice(0, text.indexOf(CALL)).split('\n').length);
      return new Function('environment', text)(names);
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
 * Makers by signature. One is there as long as a function that it made, which keeps it, so that functions
 * of one signature share their code; and a while longer.
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

module.exports = { list, makers };
