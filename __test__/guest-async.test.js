'use strict';
// Native modules as guests, and what they do beside the thread of JavaScript: asynchronous work, thread-safe
// functions and threads. Modules in the text format, which do what the runtimes of C and Rust do.

const { once } = require('node:events');
const path = require('node:path');
const { Worker } = require('node:worker_threads');
const wn = require('..');
const { child, wat } = require('./helpers');

const PACKAGE = JSON.stringify(path.join(__dirname, '..'));

/** What all modules here import and export. Their functions for the table come in `functions`. */
function addon(body, { imports = '', functions = [], shared = true } = {}) {
  return wat(`(module
    (import "env" "memory" (memory 2 100${shared ? ' shared' : ''}))
    (import "env" "napi_create_function" (func $function (param i32 i32 i32 i32 i32 i32) (result i32)))
    (import "env" "napi_set_named_property" (func $set (param i32 i32 i32 i32) (result i32)))
    (import "env" "napi_get_cb_info" (func $info (param i32 i32 i32 i32 i32 i32) (result i32)))
    (import "env" "napi_create_int32" (func $int (param i32 i32 i32) (result i32)))
    (import "env" "napi_get_value_int32" (func $value (param i32 i32 i32) (result i32)))
    (import "env" "napi_create_string_utf8" (func $string (param i32 i32 i32 i32) (result i32)))
    (import "env" "napi_call_function" (func $call (param i32 i32 i32 i32 i32 i32) (result i32)))
    (import "env" "napi_get_undefined" (func $undefined (param i32 i32) (result i32)))
    (import "env" "napi_create_reference" (func $reference (param i32 i32 i32 i32) (result i32)))
    (import "env" "napi_get_reference_value" (func $referred (param i32 i32 i32) (result i32)))
    (import "env" "napi_create_async_work" (func $work (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (import "env" "napi_queue_async_work" (func $queue (param i32 i32) (result i32)))
    (import "env" "napi_cancel_async_work" (func $cancel (param i32 i32) (result i32)))
    (import "env" "napi_delete_async_work" (func $delete (param i32 i32) (result i32)))
    (import "env" "napi_create_threadsafe_function"
      (func $tsfn (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (import "env" "napi_call_threadsafe_function" (func $tell (param i32 i32 i32) (result i32)))
    (import "env" "napi_acquire_threadsafe_function" (func $acquire (param i32) (result i32)))
    (import "env" "napi_release_threadsafe_function" (func $release (param i32 i32) (result i32)))
    (import "env" "napi_unref_threadsafe_function" (func $unref (param i32 i32) (result i32)))
    (import "env" "napi_get_threadsafe_function_context" (func $context (param i32 i32) (result i32)))
    (import "env" "_emnapi_is_main_runtime_thread" (func $is_main (result i32)))
    (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
    ${imports}
    (export "memory" (memory 0))
    (table (export "__indirect_function_table") funcref (elem $unused ${functions.map((name) => `$${name}`).join(' ')}))
    (func $unused)
    ${shared ? '' : ';;'} (global $block (mut i32) (i32.const 0))
    ;; The names of exported functions lie at 64, sixteen bytes for each.
    (data (i32.const 64) "one\\00............two\\00............three\\00..........four\\00...........")
    (func $export (param $env i32) (param $exports i32) (param $number i32) (param $place i32)
      (local $name i32)
      (local.set $name (i32.add (i32.const 64) (i32.mul (local.get $number) (i32.const 16))))
      (drop (call $function (local.get $env) (local.get $name) (i32.const -1) (local.get $place) (i32.const 0) (i32.const 8)))
      (drop (call $set (local.get $env) (local.get $exports) (local.get $name) (i32.load (i32.const 8)))))
    ;; The argument of a callback at this place: its handle.
    (func $argument (param $env i32) (param $info i32) (param $place i32) (result i32)
      (i32.store (i32.const 16) (i32.const 4))
      (drop (call $info (local.get $env) (local.get $info) (i32.const 16) (i32.const 20) (i32.const 0) (i32.const 0)))
      (i32.load (i32.add (i32.const 20) (i32.mul (local.get $place) (i32.const 4)))))
    (func $number (param $env i32) (param $info i32) (param $place i32) (result i32)
      (drop (call $value (local.get $env) (call $argument (local.get $env) (local.get $info) (local.get $place)) (i32.const 40)))
      (i32.load (i32.const 40)))
    (func $give (param $env i32) (param $number i32) (result i32)
      (drop (call $int (local.get $env) (local.get $number) (i32.const 40)))
      (i32.load (i32.const 40)))
    (func $name (param $env i32) (result i32)
      (drop (call $string (local.get $env) (i32.const 64) (i32.const 3) (i32.const 40)))
      (i32.load (i32.const 40)))
    ;; Calls the function that a reference keeps with two numbers.
    (func $report (param $env i32) (param $reference i32) (param $a i32) (param $b i32)
      (local $function i32)
      (drop (call $referred (local.get $env) (local.get $reference) (i32.const 44)))
      (local.set $function (i32.load (i32.const 44)))
      (i32.store (i32.const 48) (call $give (local.get $env) (local.get $a)))
      (i32.store (i32.const 52) (call $give (local.get $env) (local.get $b)))
      (drop (call $undefined (local.get $env) (i32.const 44)))
      (drop (call $call (local.get $env) (i32.load (i32.const 44)) (local.get $function) (i32.const 2) (i32.const 48) (i32.const 0))))
    ${body})`);
}

/** Work that doubles a number: `one(number, done)` queues it, and \`done(status, result)\` is called. */
const DOUBLING = `
  ;; A record is: the work, the reference to the function, the number, where it was done.
  (global $next (mut i32) (i32.const 1024))
  (func $one (param $env i32) (param $info i32) (result i32)
    (local $record i32)
    (local.set $record (global.get $next))
    (global.set $next (i32.add (local.get $record) (i32.const 16)))
    (i32.store offset=8 (local.get $record) (call $number (local.get $env) (local.get $info) (i32.const 0)))
    (drop (call $reference (local.get $env) (call $argument (local.get $env) (local.get $info) (i32.const 1)) (i32.const 1)
      (i32.add (local.get $record) (i32.const 4))))
    (if (call $work (local.get $env) (i32.const 0) (call $name (local.get $env)) (i32.const 2) (i32.const 3)
      (local.get $record) (local.get $record)) (then unreachable))
    (if (call $queue (local.get $env) (i32.load (local.get $record))) (then unreachable))
    ;; It is queued already, and cannot be deleted.
    (if (i32.eqz (call $queue (local.get $env) (i32.load (local.get $record)))) (then unreachable))
    (if (i32.eqz (call $delete (local.get $env) (i32.load (local.get $record)))) (then unreachable))
    (call $give (local.get $env) (i32.load (local.get $record))))
  (func $execute (param $env i32) (param $record i32)
    (i32.store offset=8 (local.get $record) (i32.mul (i32.load offset=8 (local.get $record)) (i32.const 2)))
    (i32.store offset=12 (local.get $record) (call $is_main)))
  (func $complete (param $env i32) (param $status i32) (param $record i32)
    (if (call $delete (local.get $env) (i32.load (local.get $record))) (then unreachable))
    (if (i32.eqz (call $delete (local.get $env) (i32.load (local.get $record)))) (then unreachable))
    (call $report (local.get $env) (i32.load offset=4 (local.get $record)) (local.get $status)
      (i32.or (i32.load offset=8 (local.get $record)) (i32.shl (i32.load offset=12 (local.get $record)) (i32.const 16)))))
  ;; two(work) cancels it.
  (func $two (param $env i32) (param $info i32) (result i32)
    (call $give (local.get $env) (call $cancel (local.get $env) (call $number (local.get $env) (local.get $info) (i32.const 0)))))
  (func (export "napi_register_wasm_v1") (param $env i32) (param $exports i32) (result i32)
    (call $export (local.get $env) (local.get $exports) (i32.const 0) (i32.const 1))
    (call $export (local.get $env) (local.get $exports) (i32.const 1) (i32.const 4))
    (local.get $exports))`;
const DOUBLING_FUNCTIONS = ['one', 'execute', 'complete', 'two'];

/** What a guest needs for threads on a stack of its own. */
const WORKERS = `
  (global $made (mut i32) (i32.const 60000))
  (func (export "emnapi_async_worker_create") (param i32 i32) (result i32)
    (global.set $made (i32.add (global.get $made) (i32.const 64)))
    (global.get $made))
  (func (export "emnapi_async_worker_init") (param i32) (global.set $block (local.get 0)))`;

const double = (exports, number) =>
  new Promise((resolve) => exports.one(number, (status, result) => resolve({ status, result })));

describe('asynchronous work', () => {
  test('is done on other threads, as many at a time as there may be', async () => {
    const bytes = await addon(DOUBLING + WORKERS, { functions: DOUBLING_FUNCTIONS });
    for (const asyncWorkPoolSize of [1, 3]) {
      const exports = wn.load(bytes, { asyncWorkPoolSize });
      const done = await Promise.all(Array.from({ length: 200 }, (_, k) => double(exports, k)));
      expect(done).toEqual(Array.from({ length: 200 }, (_, k) => ({ status: 0, result: 2 * k })));
      exports.close();
    }
  });

  test.each([
    ['that older emnapi makes', WORKERS.replace('(param i32 i32) (result i32)', '(result i32)'), ''],
    [
      'that emnapi makes where the host starts them',
      WORKERS.replace(
        '(param i32 i32) (result i32)',
        '(param i32 i32) (result i32) (if (local.get 0) (then (return (i32.const 0))))',
      ),
      `(import "env" "_emnapi_async_worker" (func (param i32) (result i32)))
       (import "env" "_emnapi_spawn_worker" (func (param i32 i32) (result i32)))`,
    ],
  ])('is done on threads %s, and this one goes on', async (_, workers, imports) => {
    const exports = wn.load(await addon(DOUBLING + workers, { imports, functions: DOUBLING_FUNCTIONS }));
    const done = await Promise.all(Array.from({ length: 50 }, (_, k) => double(exports, k)));
    expect(done).toEqual(Array.from({ length: 50 }, (_, k) => ({ status: 0, result: 2 * k })));
    exports.close();
  });

  const onThisThread = 1 << 16;
  test('is done on this thread where there can be no other', async () => {
    for (const [body, options, shared] of [
      [DOUBLING, {}, true],
      [DOUBLING + WORKERS, { asyncWorkPoolSize: 0 }, true],
      [DOUBLING, {}, false],
    ]) {
      const exports = wn.load(await addon(body, { functions: DOUBLING_FUNCTIONS, shared }), options);
      let later = false;
      const done = double(exports, 21).then((result) => [later, result]);
      later = true;
      expect(await done).toEqual([true, { status: 0, result: 42 | onThisThread }]);
      exports.close();
    }
  });

  test('is cancelled as long as it has not begun', async () => {
    const exports = wn.load(await addon(DOUBLING, { functions: DOUBLING_FUNCTIONS }));
    const statuses = [];
    const works = Array.from({ length: 5 }, (_, k) => exports.one(k, (status) => statuses.push(status)));
    expect(works.slice(2).map((work) => exports.two(work))).toEqual([0, 0, 0]);
    // Once is enough, and nothing else is work.
    expect(exports.two(works[2])).not.toBe(0);
    expect(exports.two(12345)).not.toBe(0);
    while (statuses.length < 5) await new Promise(setImmediate);
    expect(statuses.sort((a, b) => a - b)).toEqual([0, 0, 11, 11, 11]);
    exports.close();
  });

  test('keeps the process alive until it is done, and no longer', async () => {
    const bytes = Buffer.from(await addon(DOUBLING + WORKERS, { functions: DOUBLING_FUNCTIONS }));
    const code = `
      const { one } = wn.load(bytes.addon);
      one(4, (status, result) => console.log(status, result));`;
    const { status, stdout, stderr } = child(code, { modules: { addon: bytes } });
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: '0 8\n', stderr: '' });
  });

  test('what its callback throws is an uncaught exception, and the module lives', async () => {
    const bytes = Buffer.from(await addon(DOUBLING + WORKERS, { functions: DOUBLING_FUNCTIONS }));
    const code = `
      process.on('uncaughtException', ({ message }) => {
        console.log(message);
        one(5, (status, result) => console.log(result));
      });
      const { one } = wn.load(bytes.addon);
      one(4, () => { throw new Error('in the callback'); });`;
    const { status, stdout, stderr } = child(code, { modules: { addon: bytes } });
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: 'in the callback\n10\n', stderr: '' });
  });
});

/** \`one(function, threads, calls, max)\` starts threads that each call the function so often. */
const TELLING = `
  ;; At 512: the function, how often each thread calls it, and whether they wait when the queue is full.
  (func $one (param $env i32) (param $info i32) (result i32)
    (local $k i32) (local $threads i32)
    (local.set $threads (call $number (local.get $env) (local.get $info) (i32.const 1)))
    (i32.store (i32.const 516) (call $number (local.get $env) (local.get $info) (i32.const 2)))
    (if (call $tsfn (local.get $env) (call $argument (local.get $env) (local.get $info) (i32.const 0)) (i32.const 0)
        (call $name (local.get $env)) (call $number (local.get $env) (local.get $info) (i32.const 3))
        (local.get $threads) (i32.const 77) (i32.const 3) (i32.const 99) (i32.const 2) (i32.const 512))
      (then unreachable))
    (loop $next
      (if (i32.le_s (call $spawn (local.get $k)) (i32.const 0)) (then unreachable))
      (br_if $next (i32.lt_u (local.tee $k (i32.add (local.get $k) (i32.const 1))) (local.get $threads))))
    (call $give (local.get $env) (i32.load (i32.const 512))))
  (func (export "wasi_thread_start") (param $id i32) (param $thread i32)
    (local $k i32)
    (if (call $is_main) (then unreachable))
    (if (call $context (i32.load (i32.const 512)) (i32.add (i32.const 600) (i32.mul (local.get $thread) (i32.const 4))))
      (then unreachable))
    ;; All but thread-safe functions fails on a thread, and does nothing.
    (if (i32.eqz (call $int (i32.const 1) (i32.const 1) (i32.const 700))) (then unreachable))
    (loop $next
      (if (call $tell (i32.load (i32.const 512))
          (i32.add (i32.mul (local.get $thread) (i32.const 1000)) (local.get $k)) (i32.const 1))
        (then unreachable))
      (br_if $next (i32.lt_u (local.tee $k (i32.add (local.get $k) (i32.const 1))) (i32.load (i32.const 516)))))
    (if (call $release (i32.load (i32.const 512)) (i32.const 0)) (then unreachable)))
  (func $call_js (param $env i32) (param $function i32) (param $context i32) (param $data i32)
    (if (i32.ne (local.get $context) (i32.const 99)) (then unreachable))
    (if (i32.eqz (local.get $env)) (then
      (drop (i32.atomic.rmw.add (i32.const 520) (i32.const 1)))
      return))
    (i32.store (i32.const 48) (call $give (local.get $env) (local.get $data)))
    (drop (call $undefined (local.get $env) (i32.const 44)))
    (drop (call $call (local.get $env) (i32.load (i32.const 44)) (local.get $function) (i32.const 1) (i32.const 48) (i32.const 0))))
  (func $finalize (param $env i32) (param $data i32) (param $context i32)
    (if (i32.ne (local.get $data) (i32.const 77)) (then unreachable))
    (if (i32.ne (local.get $context) (i32.const 99)) (then unreachable))
    (i32.store (i32.const 524) (i32.add (i32.load (i32.const 524)) (i32.const 1))))
  ;; two(): how often the finalizer ran, and how many calls came back without an environment.
  (func $two (param $env i32) (param $info i32) (result i32)
    (call $give (local.get $env)
      (i32.add (i32.mul (i32.load (i32.const 524)) (i32.const 1000)) (i32.atomic.load (i32.const 520)))))
  ;; three(mode) releases the function.
  (func $three (param $env i32) (param $info i32) (result i32)
    (call $give (local.get $env)
      (call $release (i32.load (i32.const 512)) (call $number (local.get $env) (local.get $info) (i32.const 0)))))
  ;; four(mode, data) calls it.
  (func $four (param $env i32) (param $info i32) (result i32)
    (call $give (local.get $env) (call $tell (i32.load (i32.const 512))
      (call $number (local.get $env) (local.get $info) (i32.const 1))
      (call $number (local.get $env) (local.get $info) (i32.const 0)))))
  (func (export "napi_register_wasm_v1") (param $env i32) (param $exports i32) (result i32)
    (call $export (local.get $env) (local.get $exports) (i32.const 0) (i32.const 1))
    (call $export (local.get $env) (local.get $exports) (i32.const 1) (i32.const 4))
    (call $export (local.get $env) (local.get $exports) (i32.const 2) (i32.const 5))
    (call $export (local.get $env) (local.get $exports) (i32.const 3) (i32.const 6))
    (local.get $exports))`;
const TELLING_FUNCTIONS = ['one', 'call_js', 'finalize', 'two', 'three', 'four'];

describe('thread-safe functions', () => {
  test.each([0, 1, 10])('are called by threads, each in its order, with room for %d', async (max) => {
    const exports = wn.load(await addon(TELLING, { functions: TELLING_FUNCTIONS }));
    const told = [];
    exports.one((number) => told.push(number), 4, 100, max);
    while (exports.two() === 0) await new Promise(setImmediate);
    expect(told).toHaveLength(400);
    for (let thread = 0; thread < 4; thread++) {
      const own = told.filter((number) => Math.floor(number / 1000) === thread);
      expect(own).toEqual(Array.from({ length: 100 }, (_, k) => 1000 * thread + k));
    }
    expect(exports.two()).toBe(1000);
    exports.close();
  });

  test('tell when the queue is full, when they are closing and when they are gone', async () => {
    const body = TELLING.replace('(i32.le_s (call $spawn (local.get $k)) (i32.const 0))', '(i32.const 0)');
    const exports = wn.load(await addon(body, { functions: TELLING_FUNCTIONS }));
    const told = [];
    // There are two users, and room for one call.
    exports.one((number) => told.push(number), 2, 0, 1);
    expect([exports.four(0, 1), exports.four(0, 2)]).toEqual([0, 15]);
    // Nobody else would make room for one that waits on this thread.
    expect(exports.four(1, 3)).toBe(21);
    while (told.length < 1) await new Promise(setImmediate);
    expect(exports.four(0, 4)).toBe(0);
    // One user aborts; what is queued goes back without an environment.
    expect(exports.three(1)).toBe(0);
    expect(exports.four(0, 5)).toBe(16);
    while (exports.two() === 0) await new Promise(setImmediate);
    expect(told).toEqual([1]);
    expect(exports.two()).toBe(1001);
    expect(exports.three(0)).toBe(1);
    exports.close();
  });

  test('that are left are finalized when the module is closed or the process ends', async () => {
    const body = TELLING.replace('(i32.le_s (call $spawn (local.get $k)) (i32.const 0))', '(i32.const 0)');
    const exports = wn.load(await addon(body, { functions: TELLING_FUNCTIONS }));
    exports.one(() => {}, 1, 0, 0);
    exports.four(0, 1);
    exports.close();
    expect(() => exports.two()).toThrow(/closed/);
    const bytes = Buffer.from(await addon(TELLING, { functions: TELLING_FUNCTIONS }));
    // It keeps the process alive until its last user lets go.
    const code = `
      const exports = wn.load(bytes.addon);
      let count = 0;
      exports.one(() => count++, 3, 50, 0);
      process.on('exit', () => console.log(count));`;
    const { status, stdout, stderr } = child(code, { modules: { addon: bytes } });
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: '150\n', stderr: '' });
  });
});

/** \`one(how, done)\` has \`done(1, 2)\` called later: 0 by a thread, for which it counts a request, 1 in a later turn. */
const REQUEST = `
  (func (export "wasi_thread_start") (param $id i32) (param $reference i32)
    (drop (memory.atomic.wait32 (i32.const 800) (i32.const 0) (i64.const 20000000)))
    (call $send (i32.const 0) (i32.const 2) (local.get $reference)))
  (func $later (param $reference i32)
    (call $report (i32.load (i32.const 512)) (local.get $reference) (i32.const 1) (i32.const 2))
    (if (i32.load (i32.const 516)) (then (call $less))))
  (func $one (param $env i32) (param $info i32) (result i32)
    (i32.store (i32.const 512) (local.get $env))
    (drop (call $reference (local.get $env) (call $argument (local.get $env) (local.get $info) (i32.const 1))
      (i32.const 1) (i32.const 520)))
    (if (call $number (local.get $env) (local.get $info) (i32.const 0))
      (then (call $send (i32.const 0) (i32.const 2) (i32.load (i32.const 520))))
      (else
        (i32.store (i32.const 516) (i32.const 1))
        (call $more)
        (drop (call $spawn (i32.load (i32.const 520))))))
    (i32.const 0))
  (func (export "napi_register_wasm_v1") (param $env i32) (param $exports i32) (result i32)
    (call $export (local.get $env) (local.get $exports) (i32.const 0) (i32.const 1))
    (local.get $exports))`;
const REQUEST_IMPORTS = `
  (import "env" "_emnapi_async_send_js" (func $send (param i32 i32 i32)))
  (import "env" "_emnapi_ctx_increase_waiting_request_counter" (func $more))
  (import "env" "_emnapi_ctx_decrease_waiting_request_counter" (func $less))`;

test.each([0, 1])('what a module waits for keeps the process alive, and no longer (%d)', async (how) => {
  const addonBytes = await addon(REQUEST, { imports: REQUEST_IMPORTS, functions: ['one', 'later'] });
  const code = `wn.load(bytes.addon).one(${how}, (...args) => console.log(...args));`;
  const { status, stdout, stderr } = child(code, { modules: { addon: addonBytes } });
  expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: '1 2\n', stderr: '' });
});

test('a module in a Worker may go on for a while after it has thrown', async () => {
  const body = `
    (func $one (param $env i32) (param $info i32) (result i32)
      (local $k i32)
      (drop (call $throw (local.get $env) (i32.const 0) (i32.const 64)))
      (local.set $k (i32.const 800000000))
      (loop $more (br_if $more (local.tee $k (i32.sub (local.get $k) (i32.const 1)))))
      (i32.const 0))
    (func (export "napi_register_wasm_v1") (param $env i32) (param $exports i32) (result i32)
      (call $export (local.get $env) (local.get $exports) (i32.const 0) (i32.const 1))
      (local.get $exports))`;
  const imports = '(import "env" "napi_throw_error" (func $throw (param i32 i32 i32) (result i32)))';
  const workerData = await addon(body, { imports, functions: ['one'] });
  const code = `
    const { parentPort, workerData } = require('node:worker_threads');
    const { one } = require(${PACKAGE}).load(workerData);
    const thrown = [1, 2].map(() => {
      try {
        one();
      } catch (error) {
        return error.message;
      }
    });
    parentPort.postMessage(thrown);`;
  const worker = new Worker(code, { eval: true, workerData });
  const [[answer]] = await Promise.all([once(worker, 'message'), once(worker, 'exit')]);
  expect(answer).toEqual(['one', 'one']);
});

/** \`one(what)\` starts a thread: 0 traps, 1 spins, 2 waits for ever. \`two()\` waits for ever, \`three()\` spins. */
const TROUBLE = `
  (func (export "wasi_thread_start") (param $id i32) (param $what i32)
    (if (i32.eqz (local.get $what)) (then unreachable))
    (if (i32.eq (local.get $what) (i32.const 1)) (then (loop (br 0))))
    (if (i32.eq (local.get $what) (i32.const 3)) (then
      ;; A moment, so that the other thread is where it wants to be.
      (drop (memory.atomic.wait32 (i32.const 800) (i32.const 0) (i64.const 50000000)))
      unreachable))
    (drop (memory.atomic.wait32 (i32.const 800) (i32.const 0) (i64.const -1))))
  (func $one (param $env i32) (param $info i32) (result i32)
    (call $give (local.get $env) (call $spawn (call $number (local.get $env) (local.get $info) (i32.const 0)))))
  (func $two (param $env i32) (param $info i32) (result i32)
    (drop (call $spawn (i32.const 3)))
    (drop (memory.atomic.wait32 (i32.const 800) (i32.const 0) (i64.const -1)))
    (i32.const 0))
  (func $three (param $env i32) (param $info i32) (result i32)
    (drop (call $spawn (i32.const 3)))
    (loop (br 0))
    (i32.const 0))
  (func (export "napi_register_wasm_v1") (param $env i32) (param $exports i32) (result i32)
    (call $export (local.get $env) (local.get $exports) (i32.const 0) (i32.const 1))
    (call $export (local.get $env) (local.get $exports) (i32.const 1) (i32.const 2))
    (call $export (local.get $env) (local.get $exports) (i32.const 2) (i32.const 3))
    (local.get $exports))`;
const TROUBLE_FUNCTIONS = ['one', 'two', 'three'];

describe('threads of a module', () => {
  const bytes = () => addon(TROUBLE, { functions: TROUBLE_FUNCTIONS });

  test('are as many as there may be', async () => {
    const exports = wn.load(await bytes(), { threads: 2, asyncWorkPoolSize: 0 });
    expect([exports.one(2) > 0, exports.one(2) > 0, exports.one(2)]).toEqual([true, true, -6]);
    exports.close();
  });

  test.each(['two', 'three'])('that trap end the call that this thread is in (%s)', async (name) => {
    const exports = wn.load(await bytes());
    expect(() => exports[name]()).toThrow(wn.RuntimeError);
    expect(() => exports.one(2)).toThrow(/runs no more/);
    // Other wasm runs as before.
    const { instance } = await wn.instantiate(
      await wat('(module (func (export "f") (result i32) (loop) (i32.const 7)))'),
    );
    expect(instance.exports.f()).toBe(7);
    exports.close();
  });

  test('that trap while no call is under way are an uncaught exception', async () => {
    const code = `
      process.on('uncaughtException', (error) => {
        console.log(error instanceof wn.RuntimeError, error.message);
        try { exports.one(2); } catch ({ code }) { console.log(code); }
      });
      const exports = wn.load(bytes.addon);
      exports.one(3);
      setTimeout(() => {}, 1000);`;
    const { status, stdout, stderr } = child(code, { modules: { addon: Buffer.from(await bytes()) } });
    expect({ status, stdout, stderr }).toEqual({
      status: 0,
      stdout: 'true unreachable\nERR_WASI_DEAD\n',
      stderr: '',
    });
  });

  test('end with the module, and with the process', async () => {
    const exports = wn.load(await bytes());
    [1, 2, 1, 2].forEach((what) => exports.one(what));
    exports.close();
    const code = `
      const exports = wn.load(bytes.addon);
      [1, 2, 1, 2].forEach((what) => exports.one(what));
      setTimeout(() => process.exit(5), 50);`;
    const { status, stderr } = child(code, { modules: { addon: Buffer.from(await bytes()) } });
    expect({ status, stderr }).toEqual({ status: 5, stderr: '' });
  });

  test('end with their Worker, also while it waits for them', async () => {
    const code = `
      const { Worker } = require('node:worker_threads');
      (async () => {
        for (const call of ['exports.one(1)', 'exports.one(2)', 'exports.two()', 'exports.three()']) {
          // In the last two the thread that would trap only spins.
          const text = "const exports = require(" + JSON.stringify(${PACKAGE}) + ").load(require('node:worker_threads').workerData);"
            + "exports.one(1); require('node:worker_threads').parentPort.postMessage(0); setTimeout(() => " + call + ", 1); setInterval(() => {}, 1000);";
          const worker = new Worker(text, { eval: true, workerData: bytes.addon });
          worker.on('error', () => {});
          await new Promise((resolve) => worker.once('message', resolve));
          await new Promise((resolve) => setTimeout(resolve, 30));
          await worker.terminate();
        }
        console.log('all ended');
      })();`;
    const { status, stdout, stderr } = child(code, { modules: { addon: Buffer.from(await bytes()) } });
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: 'all ended\n', stderr: '' });
  });
});
