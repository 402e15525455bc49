'use strict';
// A hostile native module: every function of Node-API with every kind of wrong argument, also from inside of its
// own callbacks. It may get a status or an error, and nothing else.

const { native, realm } = require('../dist/native.js')('native/binding');
const { child, wat } = require('./helpers');

/** Name and parameters of all functions. */
const FUNCTIONS = [];
const flat = native.guestFunctions(realm);
for (let k = 0; k < flat.length; k += 2) {
  const types = { i: 'i32', I: 'i64', l: 'i64', d: 'f64', D: 'f64' };
  const params = [...flat[k + 1]].map((letter) => types[letter] ?? letter);
  FUNCTIONS.push({ name: flat[k], params });
}
/** Those that the module is built around. */
const OWN = [
  'napi_create_external_arraybuffer',
  'napi_create_function',
  'napi_set_element',
  'napi_get_cb_info',
];

/** Where JavaScript writes the arguments, eight bytes each. */
const ARGS = 4096;
/** Where it writes the place of a function that the allocator calls once, or 0. */
const TRAP = 3200;

/**
 * A module that exports an array: its memory, then for each function one that calls it with the arguments that
 * lie in the memory, and returns the status in the memory. The values that it is called with are handles 1 to 6.
 * With `scribbles` the last of the array starts a thread that writes over all of this as long as the module lives.
 */
async function hostile({ scribbles = false } = {}) {
  const results = { napi_fatal_error: '', napi_module_register: '' };
  const returns = (name) => {
    if (name in results) return '';
    return (name.startsWith('_emnapi') &&
      !/create_function|is_main|open_handle_scope|get_filename|_js$/.test(name)) ||
      name === '_emnapi_async_send_js'
      ? ''
      : '(result i32)';
  };
  const imports = FUNCTIONS.map(
    ({ name, params }, k) =>
      `(import "env" "${name}" (func $f${k} (param ${params.join(' ')}) ${returns(name)}))`,
  );
  const index = (name) => FUNCTIONS.findIndex((each) => each.name === name);
  const tries = FUNCTIONS.map(({ name, params }, k) => {
    const args = params.map((type, place) => `(${type}.load (i32.const ${ARGS + 8 * place}))`).join(' ');
    const call = `(call $f${k} ${args})`;
    return `(func $t${k} (param i32 i32) (result i32)
      (local $n i32)
      ;; Handles of what it was called with.
      (i32.store (i32.const 3000) (i32.const 6))
      (drop (call $f${index('napi_get_cb_info')} (local.get 0) (local.get 1)
        (i32.const 3000) (i32.const 3008) (i32.const 0) (i32.const 0)))
      (i32.store (i32.const 3100) (local.get 1))
      ${returns(name) === '' ? call : `(i32.store (i32.const 3104) ${call})`}
      (i32.const 0))`;
  });
  const count = FUNCTIONS.length;
  const make = FUNCTIONS.map(
    (_, k) => `
      (drop (call $f${index('napi_create_function')} (local.get 0) (i32.const 0) (i32.const 0)
        (i32.const ${k + 1}) (i32.const 0) (i32.const 2000)))
      (drop (call $f${index('napi_set_element')} (local.get 0) (local.get $list) (i32.const ${k + 1})
        (i32.load (i32.const 2000))))`,
  );
  return wat(`(module
    ${scribbles ? SCRIBBLER.imports : ''}
    ${imports.join('\n')}
    ${scribbles ? SCRIBBLER.functions : '(memory (export "memory") 4 4)'}
    (global $top (mut i32) (i32.const 131072))
    (table (export "__indirect_function_table") ${count + 20} funcref)
    (elem (i32.const 1) ${FUNCTIONS.map((_, k) => `$t${k}`).join(' ')} $finalize $execute $call_js $complete
      ${scribbles ? '$scribble' : ''})
    ;; What is called back calls, too.
    (func $finalize (param i32 i32 i32) (call $spring))
    (func $execute (param i32 i32))
    (func $complete (param i32 i32 i32) (call $spring))
    (func $call_js (param i32 i32 i32 i32) (call $spring))
    (type $function (func (param i32 i32) (result i32)))
    (func $spring
      (local $place i32)
      (local.set $place (i32.load (i32.const ${TRAP})))
      (if (i32.eqz (local.get $place)) (then return))
      (i32.store (i32.const ${TRAP}) (i32.const 0))
      (drop (call_indirect (type $function) (i32.const 1) (i32.load (i32.const 3100)) (local.get $place))))
    ;; An allocator that gives what it likes, and calls Node-API before that.
    (func (export "malloc") (param $size i32) (result i32)
      (local $at i32)
      (call $spring)
      (if (i32.gt_u (local.get $size) (i32.const 65536)) (then (return (i32.const -16))))
      (local.set $at (global.get $top))
      (global.set $top (i32.add (global.get $top) (local.get $size)))
      (if (i32.gt_u (global.get $top) (i32.const 262000)) (then (global.set $top (i32.const 131072))))
      (local.get $at))
    (func (export "free") (param i32) (call $spring))
    ${tries.join('\n')}
    (func (export "napi_register_wasm_v1") (param i32 i32) (result i32)
      (local $list i32)
      (local.set $list (local.get 1))
      (drop (call $f${index('napi_create_external_arraybuffer')} (local.get 0) (i32.const 0)
        (i32.const 131072) (i32.const 0) (i32.const 0) (i32.const 2000)))
      (drop (call $f${index('napi_set_element')} (local.get 0) (local.get $list) (i32.const 0)
        (i32.load (i32.const 2000))))
      ${make.join('\n')}
      ${
        scribbles
          ? `(drop (call $f${index('napi_create_function')} (local.get 0) (i32.const 0) (i32.const 0)
              (i32.const ${count + 5}) (i32.const 0) (i32.const 2000)))
            (drop (call $f${index('napi_set_element')} (local.get 0) (local.get $list) (i32.const ${count + 1})
              (i32.load (i32.const 2000))))`
          : ''
      }
      (local.get $list)))`);
}

/** Places in its table, after those of the functions: what it has called back. */
const CALLED_BACK = (name) =>
  FUNCTIONS.length + 1 + ['finalize', 'execute', 'call_js', 'complete'].indexOf(name);

/** A thread that writes words of all kinds where Node-API reads: arguments, results, text, lists. */
const SCRIBBLER = {
  imports: `(import "env" "memory" (memory 4 4 shared))
    (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))`,
  functions: `(export "memory" (memory 0))
    (func $scribble (param i32 i32) (result i32) (drop (call $spawn (i32.const 0))) (i32.const 0))
    (func (export "wasi_thread_start") (param $id i32) (param i32)
      (local $state i32) (local $at i32)
      (local.set $state (i32.mul (local.get $id) (i32.const 7919)))
      (loop $again
        (local.set $state
          (i32.add (i32.mul (local.get $state) (i32.const 1664525)) (i32.const 1013904223)))
        (local.set $at (i32.and (i32.shr_u (local.get $state) (i32.const 8)) (i32.const 0x1ffc)))
        ;; Small numbers, some large, and bytes without an end.
        (i32.store (local.get $at)
          (select (i32.shr_s (local.get $state) (i32.const 24)) (local.get $state)
            (i32.and (local.get $state) (i32.const 64))))
        (br $again)))`,
};

/** Runs in a process of its own, with `addon` loaded as often as it dies. */
const ATTACK = `
  process.on('uncaughtException', () => {});
  const { names, types, rounds, seed, own } = JSON.parse(String(bytes.plan));
  let state = seed;
  const random = (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  let m, words, view;
  const renew = () => {
    m?.close();
    m = wn.load(bytes.addon);
    view = new DataView(m[0]);
    m[names.length + 1]?.();
  };
  renew();
  const INTS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 16, 64, 100, 1000, 2000, 3000, 5000, 65535, 131071, 131072, 262140, 262143,
    262144, 0x7fffffff, 0x80000000, 0xfffffff0, 0xfffffffc, 0xffffffff, 0x01000000, 0x01000001, 0x02000000];
  const BIGS = [0n, 1n, -1n, 2n ** 63n - 1n, -(2n ** 63n), 2n ** 32n];
  const DOUBLES = [0, -0, 1, NaN, Infinity, -Infinity, 1e308, 2 ** 53];
  let depth = 0;
  // What the guest is given: objects of all kinds, and functions that come back.
  const again = () => {
    if (depth < 3) attack(random(names.length));
    return again;
  };
  const values = () => [
    {}, again, [1, 2], 'text', Symbol('s'), new Uint8Array(20), new ArrayBuffer(10), new DataView(new ArrayBuffer(9)),
    123, 5n, null, undefined, new Date(), Promise.resolve(), new Proxy({}, { get: again, has: again, ownKeys: () => [] }),
    new (class extends Array {})(), wn, Buffer.from('pooled'), new SharedArrayBuffer(8),
    new Uint16Array(new SharedArrayBuffer(8)), new Error('e'),
    { get a() { return again(); }, valueOf: again, toString: again, [Symbol.toPrimitive]: again },
    class { constructor() { again(); } }, { [Symbol.hasInstance]: again },
  ];
  const outcomes = { status: 0, thrown: 0, dead: 0 };
  function attack(k) {
    depth++;
    try {
      for (let place = 0; place < types[k].length; place++) {
        const at = ${ARGS} + 8 * place;
        const type = types[k][place];
        if (type === 'i32') {
          // The environment is mostly right, or nothing else would be looked at.
          const env = place === 0 && random(8) > 0;
          view.setUint32(at, env ? 1 : INTS[random(INTS.length)], true);
        } else if (type === 'i64') view.setBigInt64(at, BIGS[random(BIGS.length)], true);
        else view.setFloat64(at, DOUBLES[random(DOUBLES.length)], true);
      }
      view.setUint32(${TRAP}, random(4) === 0 ? 1 + random(names.length) : 0, true);
      const all = values();
      const given = Array.from({ length: 6 }, () => all[random(all.length)]);
      const run = m[k + 1];
      if (random(10) === 0) new run(...given);
      else run(...given);
      outcomes.status++;
    } catch (error) {
      outcomes.thrown++;
      if (error?.code === 'ERR_WASI_DEAD' || error?.code === 'ERR_WASI_TRAP' || error?.code === 'ERR_WASI_IMPORT') {
        outcomes.dead++;
        if (depth === 1) renew();
      }
    } finally {
      depth--;
    }
  }
  for (let round = 0; round < rounds; round++) {
    for (let k = 0; k < names.length; k++) {
      if (process.env.VERBOSE) require('node:fs').writeSync(2, round + ' ' + names[k] + '\\n');
      attack(k);
      if (depth !== 0) throw new Error('depth');
    }
    if (round % 20 === 0) {
      globalThis.gc?.();
      await new Promise(setImmediate);
    }
  }
  // The process and its other modules are as before.
  const other = wn.load(bytes.addon);
  if (other[0].byteLength !== 131072) throw new Error('another module is harmed');
  console.log(JSON.stringify(outcomes));
`;

test('the table has all functions of Node-API that guests can be served', () => {
  const names = FUNCTIONS.map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
  expect(names.filter((name) => /^(napi|node_api)_/.test(name)).length).toBeGreaterThan(130);
  OWN.forEach((name) => expect(names).toContain(name));
});

test.each([1, 2, 3])(
  'wrong arguments give a status or an error, and reach nothing (seed %d)',
  async (seed) => {
    const plan = {
      names: FUNCTIONS.map(({ name }) => name),
      types: FUNCTIONS.map(({ params }) => params),
      rounds: 60,
      seed: seed * 7919,
      own: OWN,
    };
    const modules = { addon: await hostile(), plan: Buffer.from(JSON.stringify(plan)) };
    const { stdout, stderr, status, signal } = child(ATTACK, { flags: ['--expose-gc'], modules });
    expect({ signal, status, stderr: stderr.slice(-2000) }).toEqual({ signal: null, status: 0, stderr: '' });
    expect(JSON.parse(stdout).status).toBeGreaterThan(1000);
  },
);

test('another thread writes where the host reads, and nothing is reached', async () => {
  const plan = {
    names: FUNCTIONS.map(({ name }) => name),
    types: FUNCTIONS.map(({ params }) => params),
    rounds: 40,
    seed: 4711,
    own: OWN,
  };
  const addon = await hostile({ scribbles: true });
  const modules = { addon, plan: Buffer.from(JSON.stringify(plan)) };
  const { stdout, stderr, status, signal } = child(ATTACK, { flags: ['--expose-gc'], modules });
  expect({ signal, status, stderr: stderr.slice(-2000) }).toEqual({ signal: null, status: 0, stderr: '' });
  expect(JSON.parse(stdout).status).toBeGreaterThan(1000);
});

test('what is gone, or another module has, is refused', async () => {
  const code = `
    const { names, types, places } = JSON.parse(String(bytes.plan));
    /** A module and what calls a function of Node-API in it: the status, and the word that was the result. */
    const open = () => {
      const m = wn.load(bytes.addon);
      const view = new DataView(m[0]);
      const call = (name, args, values = [], word = 2000) => {
        const k = names.indexOf(name);
        args.forEach((arg, place) => {
          const at = ${ARGS} + 8 * (place + 1);
          if (types[k][place + 1] === 'i64') view.setBigInt64(at, arg, true);
          else view.setUint32(at, arg, true);
        });
        view.setUint32(${ARGS}, 1, true);
        view.setUint32(word, 0, true);
        m[k + 1](...values);
        return [view.getUint32(3104, true), view.getUint32(word, true)];
      };
      return { m, view, call };
    };
    const a = open();
    const b = open();
    const seen = {};
    const status = (of, ...args) => of.call(...args)[0];
    const R = 2000;

    // References, twice deleted, and used afterwards.
    const [, ref] = a.call('napi_create_reference', [1, 1, R], [{}]);
    seen.reference = [
      status(b, 'napi_get_reference_value', [ref, R]),
      status(a, 'napi_delete_reference', [ref]),
      status(a, 'napi_delete_reference', [ref]),
      status(a, 'napi_get_reference_value', [ref, R]),
      status(a, 'napi_reference_ref', [ref, R]),
      status(a, 'napi_reference_unref', [ref, R]),
    ];
    // Promises, settled twice.
    a.call('napi_create_promise', [R, R + 8]);
    const deferred = a.view.getUint32(R, true);
    seen.deferred = [
      status(b, 'napi_resolve_deferred', [deferred, 1], [1]),
      status(a, 'napi_resolve_deferred', [deferred, 1], [1]),
      status(a, 'napi_resolve_deferred', [deferred, 1], [1]),
      status(a, 'napi_reject_deferred', [deferred, 1], [1]),
    ];
    // Wraps, of another module, and twice removed.
    const wrapped = {};
    seen.wrap = [
      status(a, 'napi_wrap', [1, 1234, 0, 0, 0], [wrapped]),
      status(a, 'napi_unwrap', [1, R], [wrapped]),
      status(b, 'napi_unwrap', [1, R], [wrapped]),
      status(b, 'napi_remove_wrap', [1, R], [wrapped]),
      status(a, 'napi_remove_wrap', [1, R], [wrapped]),
      status(a, 'napi_remove_wrap', [1, R], [wrapped]),
    ];
    // Thread-safe functions, called and released when they are gone.
    const [made, tsfn] = a.call('napi_create_threadsafe_function',
      [0, 0, 1, 0, 1, 0, places.finalize, 7, places.call_js, R], ['name']);
    const [, work] = a.call('napi_create_async_work', [0, 1, places.execute, places.complete, 5, R], ['name']);
    seen.made = [made, tsfn !== 0, work !== 0];
    const gone = () => ({
      tsfn: [
        status(a, 'napi_ref_threadsafe_function', [tsfn]),
        status(a, 'napi_unref_threadsafe_function', [tsfn]),
      ],
      foreign: [
        status(b, 'napi_ref_threadsafe_function', [tsfn]),
        status(b, 'napi_queue_async_work', [work]),
        status(b, 'napi_delete_async_work', [work]),
      ],
    });
    seen.before = gone();
    // Work that is deleted when it was queued.
    seen.work = [
      status(a, 'napi_queue_async_work', [work]),
      status(a, 'napi_queue_async_work', [work]),
    ];
    status(a, 'napi_delete_async_work', [work]);
    await new Promise((resolve) => setTimeout(resolve, 50));
    status(a, 'napi_delete_async_work', [work]);
    seen.after = [
      status(a, 'napi_queue_async_work', [work]),
      status(a, 'napi_cancel_async_work', [work]),
      status(a, 'napi_delete_async_work', [work]),
    ];
    a.m.close();
    seen.closed = [];
    for (const name of ['napi_ref_threadsafe_function', 'napi_get_reference_value']) {
      try {
        a.m[names.indexOf(name) + 1]();
        seen.closed.push('runs');
      } catch ({ code }) {
        seen.closed.push(code);
      }
    }
    seen.other = status(b, 'napi_create_object', [R]);
    console.log(JSON.stringify(seen));
    process.exit(0);`;
  const plan = {
    names: FUNCTIONS.map(({ name }) => name),
    types: FUNCTIONS.map(({ params }) => params),
    places: Object.fromEntries(
      ['finalize', 'execute', 'call_js', 'complete'].map((name) => [name, CALLED_BACK(name)]),
    ),
  };
  const modules = { addon: await hostile(), plan: Buffer.from(JSON.stringify(plan)) };
  const { stdout, stderr, status, signal } = child(code, { flags: ['--expose-gc'], modules });
  expect({ signal, status, stderr: stderr.slice(-2000) }).toEqual({ signal: null, status: 0, stderr: '' });
  const INVALID = 1;
  expect(JSON.parse(stdout)).toEqual({
    reference: [INVALID, 0, INVALID, INVALID, INVALID, INVALID],
    deferred: [INVALID, 0, INVALID, INVALID],
    wrap: [0, 0, INVALID, INVALID, 0, INVALID],
    made: [0, true, true],
    before: { tsfn: [0, 0], foreign: [INVALID, INVALID, INVALID] },
    work: [0, expect.any(Number)],
    after: [INVALID, INVALID, INVALID],
    closed: ['ERR_WASI_CLOSED', 'ERR_WASI_CLOSED'],
    other: 0,
  });
});

/** Where threads find what they pass, and where they count: those that are done, and calls that went well. */
const [WORDS, DONE] = [204800, 208000];
const PASSED = [
  0, 1, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 16, 64, 100, 1000, 2000, 5000, 65535, 131071, 131072, 262140, 262143,
  262144, 0x7fffffff, 0x80000000, 0xfffffff0, 0xfffffffc, 0xffffffff, 0x01000000, 0x01000001, 0x02000000,
];
/** Functions that threads may call, with the number of their parameters. */
const FOR_THREADS = {
  napi_call_threadsafe_function: 3,
  napi_acquire_threadsafe_function: 1,
  napi_release_threadsafe_function: 2,
  napi_get_threadsafe_function_context: 2,
};

/**
 * A module whose threads call every function with whatever there is, `rounds` times. It exports an array: memory from
 * 200000 on, and a function that starts a thread.
 */
async function hostileThreads(rounds) {
  const called = [
    ...FUNCTIONS,
    ...Object.entries(FOR_THREADS).map(([name, count]) => ({ name, params: Array(count).fill('i32') })),
  ];
  const isVoid = (name) =>
    ['napi_fatal_error', 'napi_module_register', '_emnapi_async_send_js'].includes(name) ||
    (name.startsWith('_emnapi') && !/create_function|is_main|open_handle_scope|get_filename|_js$/.test(name));
  const index = (name) => called.findIndex((each) => each.name === name);
  const pick = {
    i32: '(call $pick)',
    i64: '(i64.extend_i32_s (call $pick))',
    f64: '(f64.convert_i32_s (call $pick))',
  };
  // Only the realm's thread has Node-API's values, whatever another one passes.
  const mayWork = (name) => name in FOR_THREADS || !/^(napi|node_api)_/.test(name);
  const calls = called.map(({ name, params }, k) => {
    const call = `(call $f${k} ${params.map((type) => pick[type]).join(' ')})`;
    if (isVoid(name)) return call;
    if (mayWork(name)) return `(drop ${call})`;
    return `(if (i32.eqz ${call}) (then (drop (i32.atomic.rmw.add (i32.const ${DONE + 4}) (i32.const 1)))))`;
  });
  const words = PASSED.map((word) =>
    [0, 8, 16, 24].map((by) => `\\${((word >>> by) & 255).toString(16).padStart(2, '0')}`).join(''),
  );
  const make = (name, args) => `(drop (call $f${index(name)} (local.get 0) ${args} (i32.const 2000)))`;
  const put = (place) => `(drop (call $f${index('napi_set_element')} (local.get 0) (local.get 1)
    (i32.const ${place}) (i32.load (i32.const 2000))))`;
  return wat(`(module
    (import "env" "memory" (memory 4 4 shared))
    (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
    ${called
      .map(
        ({ name, params }, k) =>
          `(import "env" "${name}" (func $f${k} (param ${params.join(' ')}) ${isVoid(name) ? '' : '(result i32)'}))`,
      )
      .join('\n')}
    (export "memory" (memory 0))
    (table (export "__indirect_function_table") 8 funcref)
    (elem (i32.const 1) $start $execute $call_js)
    (data (i32.const ${WORDS}) "${words.join('')}")
    (global $state (mut i32) (i32.const 1))
    (func $pick (result i32)
      (global.set $state (i32.add (i32.mul (global.get $state) (i32.const 1664525)) (i32.const 1013904223)))
      (i32.load (i32.add (i32.const ${WORDS})
        (i32.shl (i32.rem_u (i32.shr_u (global.get $state) (i32.const 8)) (i32.const ${PASSED.length})) (i32.const 2)))))
    (func $execute (param i32))
    (func $call_js (param i32 i32 i32 i32))
    (func $start (param i32 i32) (result i32) (drop (call $spawn (i32.const 0))) (i32.const 0))
    (func (export "wasi_thread_start") (param $id i32) (param i32)
      (local $round i32)
      (global.set $state (i32.mul (local.get $id) (i32.const 7919)))
      (loop $again
        ${calls.join('\n')}
        (local.set $round (i32.add (local.get $round) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get $round) (i32.const ${rounds}))))
      (drop (i32.atomic.rmw.add (i32.const ${DONE}) (i32.const 1))))
    (func (export "malloc") (param i32) (result i32) (i32.const 100000))
    (func (export "free") (param i32))
    (func (export "napi_register_wasm_v1") (param i32 i32) (result i32)
      ${make('napi_create_external_arraybuffer', '(i32.const 200000) (i32.const 40000) (i32.const 0) (i32.const 0)')}
      ${put(0)}
      ${make('napi_create_function', '(i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0)')}
      ${put(1)}
      ${make('napi_create_string_utf8', '(i32.const 0) (i32.const 0)')}
      (drop (call $f${index('napi_create_threadsafe_function')} (local.get 0) (i32.const 0) (i32.const 0)
        (i32.load (i32.const 2000)) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const 3) (i32.const 2000)))
      (local.get 1)))`);
}

test('threads that call everything with wrong arguments reach nothing, while JavaScript goes on', async () => {
  const code = `
    const other = wn.load(bytes.addon);
    for (let round = 0; round < 5; round++) {
      const m = wn.load(bytes.addon);
      const counts = new Uint32Array(m[0], ${DONE - 200000}, 2);
      for (let k = 0; k < 4; k++) m[1]();
      while (counts[0] < 4) {
        gc();
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      if (counts[1] !== 0) throw new Error(counts[1] + ' calls went well');
      m.close();
    }
    // In the middle of it.
    const last = wn.load(bytes.addon);
    for (let k = 0; k < 4; k++) last[1]();
    if (last.close() !== undefined) throw new Error('close');
    other[1]();
    console.log(other[0].byteLength);
    process.exit(0);`;
  const modules = { addon: await hostileThreads(200) };
  const { stdout, stderr, status, signal } = child(code, { flags: ['--expose-gc'], modules });
  expect({ signal, status, stdout, stderr: stderr.slice(-2000) }).toEqual({
    signal: null,
    status: 0,
    stdout: '40000\n',
    stderr: '',
  });
});
