'use strict';
// Bytes of JavaScript's that a native module has, while JavaScript takes them away, makes them smaller or larger,
// shares them and writes them, and the module writes them too.

const { load } = require('..');
const { child, wat } = require('./helpers');

/** What all modules here import. */
const IMPORTS = `
  (import "env" "napi_create_function" (func $make (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "napi_get_cb_info" (func $info (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "napi_get_typedarray_info" (func $typedarray (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "napi_get_buffer_info" (func $buffer (param i32 i32 i32 i32) (result i32)))
  (import "env" "napi_get_dataview_info" (func $dataview (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "napi_get_arraybuffer_info" (func $arraybuffer (param i32 i32 i32 i32) (result i32)))
  (import "env" "napi_call_function" (func $call (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "napi_create_uint32" (func $number (param i32 i32 i32) (result i32)))
  (import "env" "napi_get_undefined" (func $undefined (param i32 i32) (result i32)))
  (import "env" "napi_create_reference" (func $reference (param i32 i32 i32 i32) (result i32)))
  (import "env" "napi_delete_reference" (func $delete (param i32 i32) (result i32)))
  (import "env" "napi_detach_arraybuffer" (func $detach (param i32 i32) (result i32)))
  (import "env" "napi_open_handle_scope" (func $open (param i32 i32) (result i32)))
  (import "env" "napi_close_handle_scope" (func $close (param i32 i32) (result i32)))
  (import "env" "emnapi_sync_memory" (func $sync (param i32 i32 i32 i32 i32) (result i32)))`;
const REGISTER = `
  (func (export "napi_register_wasm_v1") (param $env i32) (param i32) (result i32)
    (drop (call $make (local.get $env) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 8)))
    (i32.load (i32.const 8)))`;

/** How the allocator of a module takes away what it is asked to make room for. */
const TRAPS = {
  'detaches the buffer': '(drop (call $detach (i32.const 1) (i32.load (i32.const 28))))',
  'calls JavaScript that transfers it': `
    (drop (call $call (i32.const 1) (i32.load (i32.const 24)) (i32.load (i32.const 24)) (i32.const 0) (i32.const 0) (i32.const 0)))`,
  'closes the scope of its handle': '(drop (call $close (i32.const 1) (i32.load (i32.const 100))))',
};

test.each(Object.entries(TRAPS))('an allocator that %s gets nothing of the host', async (_, trap) => {
  const addon = await wat(`(module ${IMPORTS}
    (memory (export "memory") 1100)
    (global $armed (mut i32) (i32.const 0))
    (table (export "__indirect_function_table") funcref (elem $one $one))
    (func $spring (if (global.get $armed) (then (global.set $armed (i32.const 0)) ${trap})))
    (func (export "malloc") (param i32) (result i32) (call $spring) (i32.const 65536))
    (func (export "free") (param i32) (call $spring))
    ;; (view, function, buffer) gives the view's first byte and its buffer.
    (func $one (param $env i32) (param $cb i32) (result i32)
      (i32.store (i32.const 16) (i32.const 3))
      (drop (call $info (local.get $env) (local.get $cb) (i32.const 16) (i32.const 20) (i32.const 0) (i32.const 0)))
      (drop (call $open (local.get $env) (i32.const 100)))
      (global.set $armed (i32.const 1))
      (drop (call $typedarray (local.get $env) (i32.load (i32.const 20)) (i32.const 0) (i32.const 0)
        (i32.const 40) (i32.const 44) (i32.const 0)))
      (if (i32.ne (i32.load8_u (i32.load (i32.const 40))) (i32.const 5)) (then unreachable))
      (global.set $armed (i32.const 1))
      (i32.load (i32.const 44)))
    ${REGISTER})`);
  const code = `
    const one = wn.load(bytes.addon);
    const lengths = Array.from({ length: 5 }, () => {
      const buffer = new ArrayBuffer(64 << 20);
      const take = () => { structuredClone(buffer, { transfer: [buffer] }); gc(); gc(); };
      return one(new Uint8Array(buffer).fill(5), take, buffer) === buffer && buffer.byteLength;
    });
    console.log([...new Set(lengths)].join());`;
  const { status, stdout, stderr } = child(code, { flags: ['--expose-gc'], modules: { addon } });
  expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: '67108864\n', stderr: '' });
});

/**
 * A module that exports one function of a function and four values with bytes. It fills the bytes of each with 1, 2,
 * ... and calls the function with the sums of all, four times, and keeps each value after the first call by a
 * reference until its call number 3 if it is told to.
 */
const filling = () =>
  wat(`(module ${IMPORTS}
    (memory (export "memory") 4000)
    (global $top (mut i32) (i32.const 65536))
    (table (export "__indirect_function_table") funcref (elem $unused $one))
    (func $unused)
    (func (export "malloc") (param $size i32) (result i32)
      (local $at i32)
      (local.set $at (global.get $top))
      (global.set $top (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 15)) (i32.const -16)))
      (local.get $at))
    (func (export "free") (param i32))
    ;; Of value k: handle at 24 + 4k, address at 200 + 8k, length at 204 + 8k, reference at 300 + 4k.
    (func $look (param $env i32) (param $k i32)
      (local $handle i32) (local $at i32)
      (local.set $handle (i32.load (i32.add (i32.const 24) (i32.mul (local.get $k) (i32.const 4)))))
      (local.set $at (i32.add (i32.const 200) (i32.mul (local.get $k) (i32.const 8))))
      (i64.store (local.get $at) (i64.const 0))
      (if (i32.eqz (call $buffer (local.get $env) (local.get $handle) (local.get $at) (i32.add (local.get $at) (i32.const 4))))
        (then return))
      (if (i32.eqz (call $arraybuffer (local.get $env) (local.get $handle) (local.get $at) (i32.add (local.get $at) (i32.const 4))))
        (then return))
      (i64.store (local.get $at) (i64.const 0)))
    (func $sum (param $at i32) (param $length i32) (result i32)
      (local $sum i32)
      (block $end (loop $next
        (br_if $end (i32.eqz (local.get $length)))
        (local.set $length (i32.sub (local.get $length) (i32.const 1)))
        (local.set $sum (i32.add (local.get $sum) (i32.load8_u (i32.add (local.get $at) (local.get $length)))))
        (br $next)))
      (local.get $sum))
    (func $one (param $env i32) (param $cb i32) (result i32)
      (local $round i32) (local $k i32) (local $at i32)
      (i32.store (i32.const 16) (i32.const 6))
      (drop (call $info (local.get $env) (local.get $cb) (i32.const 16) (i32.const 20) (i32.const 0) (i32.const 0)))
      (local.set $k (i32.const 0))
      (loop $each
        (call $look (local.get $env) (local.get $k))
        (drop (call $reference (local.get $env) (i32.load (i32.add (i32.const 24) (i32.mul (local.get $k) (i32.const 4))))
          (i32.const 1) (i32.add (i32.const 300) (i32.mul (local.get $k) (i32.const 4)))))
        (br_if $each (i32.lt_u (local.tee $k (i32.add (local.get $k) (i32.const 1))) (i32.const 4))))
      (loop $rounds
        (local.set $round (i32.add (local.get $round) (i32.const 1)))
        (local.set $k (i32.const 0))
        (loop $each
          (local.set $at (i32.add (i32.const 200) (i32.mul (local.get $k) (i32.const 8))))
          (drop (call $number (local.get $env)
            (call $sum (i32.load (local.get $at)) (i32.load offset=4 (local.get $at)))
            (i32.add (i32.const 400) (i32.mul (local.get $k) (i32.const 4)))))
          (memory.fill (i32.load (local.get $at)) (local.get $round) (i32.load offset=4 (local.get $at)))
          ;; Half of them tell so, as guests do that know of copies. One side's bytes become the other's.
          (if (i32.and (local.get $k) (i32.const 1)) (then
            (drop (call $sync (local.get $env) (i32.const 0) (i32.add (i32.const 24) (i32.mul (local.get $k) (i32.const 4)))
              (i32.const 0) (i32.const -1)))))
          (br_if $each (i32.lt_u (local.tee $k (i32.add (local.get $k) (i32.const 1))) (i32.const 4))))
        (drop (call $undefined (local.get $env) (i32.const 440)))
        (drop (call $call (local.get $env) (i32.load (i32.const 440)) (i32.load (i32.const 20)) (i32.const 4) (i32.const 400) (i32.const 0)))
        (br_if $rounds (i32.lt_u (local.get $round) (i32.const 4))))
      (local.set $k (i32.const 0))
      (loop $each
        (drop (call $delete (local.get $env) (i32.load (i32.add (i32.const 300) (i32.mul (local.get $k) (i32.const 4))))))
        (br_if $each (i32.lt_u (local.tee $k (i32.add (local.get $k) (i32.const 1))) (i32.const 4))))
      (i32.const 0))
    ${REGISTER})`);

const MUTATIONS = `
  const { seed } = JSON.parse(String(bytes.plan));
  let state = seed;
  const random = (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const one = wn.load(bytes.addon);
  const other = new wn.Memory({ initial: 1, maximum: 4 });
  const theirs = new WebAssembly.Memory({ initial: 1, maximum: 4 });
  /** Bytes of all kinds: a value, how it is taken away or changed in size, and whether it is told where it is then. */
  const KINDS = [
    () => { const buffer = new ArrayBuffer(1 + random(70000)); return { value: new Uint8Array(buffer), end: () => structuredClone(buffer, { transfer: [buffer] }) }; },
    () => { const buffer = new ArrayBuffer(8 + random(300)); return { value: buffer, end: () => structuredClone(buffer, { transfer: [buffer] }) }; },
    () => ({ value: Buffer.from('a view of the pool, ' + random(1000)) }),
    () => ({ value: new DataView(new ArrayBuffer(400), 3, random(300)) }),
    () => ({ value: new Uint8Array(new SharedArrayBuffer(1 + random(5000))) }),
    () => { const buffer = new ArrayBuffer(100, { maxByteLength: 100000 }); return { value: new Uint8Array(buffer), end: () => buffer.resize(random(50)) }; },
    () => { const buffer = new ArrayBuffer(60000, { maxByteLength: 100000 }); return { value: new Uint8Array(buffer, 100, 50000), end: () => buffer.resize(random(50000)) }; },
    () => { const buffer = new SharedArrayBuffer(100, { maxByteLength: 70000 }); return { value: new Uint8Array(buffer, 0, 100), more: () => buffer.grow(70000) }; },
    () => ({ value: new Uint8Array(other.buffer, random(1000), 5000), end: () => { try { other.grow(1); } catch {} } }),
    () => ({ value: new Uint8Array(theirs.buffer, random(1000), 5000), end: () => { try { theirs.grow(1); } catch {} } }),
    () => ({ value: new Float64Array(random(100)) }),
    () => ({ value: new Uint8Array(0) }),
  ];
  const view = (value) => {
    try {
      return ArrayBuffer.isView(value) ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength) : new Uint8Array(value);
    } catch {
      return new Uint8Array(0);
    }
  };
  const sum = (value) => view(value).reduce((sum, byte) => sum + byte, 0);
  let seen = 0;
  let ended = 0;
  for (let k = 0; k < 400; k++) {
    const all = Array.from({ length: 4 }, () => KINDS[random(KINDS.length)]());
    // Values that share bytes would see each other's.
    if (new Set(all.map(({ value }) => value.buffer ?? value)).size < 4) continue;
    all.forEach((each) => { each.there = view(each.value).length; each.gone = false; view(each.value).fill(9); });
    let round = 0;
    const expected = all.map(({ value }) => sum(value));
    one((...sums) => {
      round++;
      all.forEach((each, place) => {
        if (each.gone) return;
        seen++;
        if (sums[place] !== expected[place]) throw new Error('the module has ' + sums[place] + ', not ' + expected[place] + ' of ' + place);
        if (sum(each.value) !== each.there * round) throw new Error('JavaScript has ' + sum(each.value) + ' of ' + each.there);
        view(each.value)[0] = 77;
        if (random(4) === 0 && (each.end ?? each.more)) {
          (each.end ?? each.more)();
          if (each.end) { each.gone = true; ended++; }
        }
        if (random(20) === 0) gc();
        expected[place] = sum(each.value);
      });
    }, ...all.map(({ value }) => value));
    for (const each of all) {
      if (!each.gone && sum(each.value) !== expected[all.indexOf(each)]) throw new Error('the end: ' + sum(each.value));
    }
  }
  console.log(seen > 1000, ended > 50);`;

test.each([1, 2, 3])('both sides have the same bytes as long as they are there (seed %d)', async (seed) => {
  const modules = { addon: await filling(), plan: Buffer.from(JSON.stringify({ seed: seed * 104729 })) };
  const { status, stdout, stderr } = child(MUTATIONS, { flags: ['--expose-gc'], modules });
  expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: 'true true\n', stderr: '' });
});

test("emnapi's own functions: views over the module's bytes, where bytes are, what its C code asks for", async () => {
  const addon = await wat(`(module ${IMPORTS}
    (import "env" "emnapi_create_memory_view" (func $view (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (import "env" "emnapi_get_memory_address" (func $address (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "emnapi_is_support_weakref" (func $weak (result i32)))
    (import "env" "emnapi_is_support_bigint" (func $big (result i32)))
    (import "env" "_emnapi_get_filename" (func $file (param i32 i32 i32) (result i32)))
    (import "env" "_emnapi_get_node_version" (func $version (param i32 i32 i32)))
    (import "env" "_emnapi_get_last_error_info" (func $last (param i32 i32 i32 i32)))
    (import "env" "_emnapi_after_uvthreadpool_ready" (func $ready (param i32 i32 i32)))
    (import "env" "napi_set_element" (func $set (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 4)
    (table (export "__indirect_function_table") funcref (elem $unused $one $mark))
    (func $unused)
    (data (i32.const 1024) "\\01\\02\\03\\04\\05\\06\\07\\08")
    (func (export "malloc") (param i32) (result i32) (i32.const 65536))
    (func (export "free") (param i32))
    (func $mark (param $work i32) (param $kind i32)
      (i32.store (i32.const 500) (i32.add (local.get $work) (local.get $kind))))
    ;; (array, buffer): puts views of all kinds at 0 to 4, then the numbers.
    (func $element (param $env i32) (param $array i32) (param $place i32) (param $number i32)
      (drop (call $number (local.get $env) (local.get $number) (i32.const 440)))
      (drop (call $set (local.get $env) (local.get $array) (local.get $place) (i32.load (i32.const 440)))))
    (func $give (param $env i32) (param $array i32) (param $place i32) (param $kind i32)
      (if (call $view (local.get $env) (local.get $kind) (i32.const 1024) (i32.const 8) (i32.const 0) (i32.const 0) (i32.const 440))
        (then return))
      (drop (call $set (local.get $env) (local.get $array) (local.get $place) (i32.load (i32.const 440)))))
    (func $one (param $env i32) (param $cb i32) (result i32)
      (local $array i32)
      (i32.store (i32.const 16) (i32.const 2))
      (drop (call $info (local.get $env) (local.get $cb) (i32.const 16) (i32.const 20) (i32.const 0) (i32.const 0)))
      (local.set $array (i32.load (i32.const 20)))
      (call $give (local.get $env) (local.get $array) (i32.const 0) (i32.const 1))
      (call $give (local.get $env) (local.get $array) (i32.const 1) (i32.const 4))
      (call $give (local.get $env) (local.get $array) (i32.const 2) (i32.const 10))
      (call $give (local.get $env) (local.get $array) (i32.const 3) (i32.const -1))
      (call $give (local.get $env) (local.get $array) (i32.const 4) (i32.const -2))
      (call $give (local.get $env) (local.get $array) (i32.const 5) (i32.const 99))
      (drop (call $address (local.get $env) (i32.load (i32.const 24)) (i32.const 600) (i32.const 604) (i32.const 608)))
      (call $element (local.get $env) (local.get $array) (i32.const 6) (i32.load8_u (i32.load (i32.const 600))))
      (call $element (local.get $env) (local.get $array) (i32.const 7)
        (i32.add (i32.load (i32.const 604)) (i32.mul (i32.const 10) (i32.load8_u (i32.const 608)))))
      (call $element (local.get $env) (local.get $array) (i32.const 8) (i32.add (call $weak) (call $big)))
      (call $element (local.get $env) (local.get $array) (i32.const 9) (call $file (local.get $env) (i32.const 0) (i32.const 0)))
      (call $element (local.get $env) (local.get $array) (i32.const 10) (call $file (local.get $env) (i32.const 2048) (i32.const 4)))
      (call $version (i32.const 620) (i32.const 624) (i32.const 628))
      (call $element (local.get $env) (local.get $array) (i32.const 11) (i32.load (i32.const 620)))
      (call $ready (i32.const 2) (i32.const 40) (i32.const 2))
      (call $element (local.get $env) (local.get $array) (i32.const 12) (i32.load (i32.const 500)))
      (drop (call $number (local.get $env) (i32.const 0) (i32.const 0)))
      (call $last (local.get $env) (i32.const 632) (i32.const 636) (i32.const 640))
      (call $element (local.get $env) (local.get $array) (i32.const 13) (i32.load (i32.const 632)))
      (local.get $array))
    ${REGISTER})`);
  const one = load(addon);
  const [bytes, words, wide, view, buffer, none, ...numbers] = one(Array(6).fill(null), Buffer.from([7, 8]));
  expect([...bytes]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  expect([words.constructor.name, words.length, wide.constructor.name, wide.length, none]).toEqual([
    'Uint16Array',
    4,
    'BigUint64Array',
    1,
    null,
  ]);
  bytes[0] = 9;
  expect([view.getUint8(0), Buffer.isBuffer(buffer), buffer[0]]).toEqual([9, true, 9]);
  const [major] = process.versions.node.split('.');
  // The file's name is empty for bytes, and a wrong argument is what failed last.
  expect(numbers).toEqual([7, 10, 2, 0, 0, Number(major), 42, 1]);
  one.close();
});
