'use strict';
// Small programs for the suites about running them.

const { wat } = require('./helpers');

const IMPORTS = `
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff"
    (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get"
    (func $args_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get"
    (func $environ_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (func $write (param $fd i32) (param $from i32) (param $length i32) (result i32)
    (i32.store (i32.const 0) (local.get $from))
    (i32.store (i32.const 4) (local.get $length))
    (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)))
  (func $read (param $into i32) (param $length i32) (result i32)
    (i32.store (i32.const 0) (local.get $into))
    (i32.store (i32.const 4) (local.get $length))
    (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))`;

const command = (body, more = '') =>
  wat(`(module ${IMPORTS} ${more} (func (export "_start") (local $n i32) ${body}))`);

/** Writes "out\n" and "err\n" and exits with 7. */
const hello = () =>
  command(
    `(drop (call $write (i32.const 1) (i32.const 100) (i32.const 4)))
     (drop (call $write (i32.const 2) (i32.const 104) (i32.const 4)))
     (call $proc_exit (i32.const 7))`,
    `(data (i32.const 100) "out\\0aerr\\0a")`,
  );

/** Copies its input to its output. Exits with the errno of a write that fails. */
const cat = () =>
  command(
    `(loop $next
       (if (call $read (i32.const 1024) (i32.const 8192)) (then (call $proc_exit (i32.const 1))))
       (local.set $n (i32.load (i32.const 8)))
       (if (i32.eqz (local.get $n)) (then (call $proc_exit (i32.const 0))))
       (local.set $n (call $write (i32.const 1) (i32.const 1024) (local.get $n)))
       (if (local.get $n) (then (call $proc_exit (local.get $n))))
       (br $next))`,
  );

/** Writes without end. Exits with the errno of a write that fails. */
const yes = () =>
  command(
    `(loop $next
       (local.set $n (call $write (i32.const 1) (i32.const 1024) (i32.const 32768)))
       (if (local.get $n) (then (call $proc_exit (local.get $n))))
       (br $next))`,
  );

/** Programs that do not end, by what they do. */
const endless = {
  'a tight loop': () => command('(loop $next (br $next))'),
  'deep recursion': () =>
    command(
      '(drop (call $fib (i64.const 90)))',
      `(func $fib (param i64) (result i64)
         (if (result i64) (i64.lt_u (local.get 0) (i64.const 2)) (then (i64.const 1))
           (else (i64.add (call $fib (i64.sub (local.get 0) (i64.const 1)))
             (call $fib (i64.sub (local.get 0) (i64.const 2)))))))`,
    ),
  'bulk fills': () =>
    wat(`(module (memory (export "memory") 1024)
      (func (export "_start")
        (loop $next
          (memory.fill (i32.const 0) (i32.const 1) (i32.const 0x4000000))
          (br $next))))`),
  'a sleeping poll': () =>
    // A subscription to the monotonic clock in an hour.
    command(
      `(i32.store (i32.const 216) (i32.const 1))
       (i64.store (i32.const 224) (i64.const 3600000000000))
       (drop (call $poll_oneoff (i32.const 200) (i32.const 300) (i32.const 1) (i32.const 8)))`,
    ),
  'reading input that does not come': () => command('(drop (call $read (i32.const 1024) (i32.const 1)))'),
  'waiting for an import': () =>
    wat(`(module (import "env" "never" (func $never)) (memory (export "memory") 1)
      (func (export "_start") (call $never)))`),
};

module.exports = { cat, command, endless, hello, yes };
