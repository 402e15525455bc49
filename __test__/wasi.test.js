'use strict';

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const wn = require('..');
const { child, thrownBy, wat } = require('./helpers');

const IMPORTS = `
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read"
    (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get"
    (func $args_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get"
    (func $environ_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (func $print (param $from i32) (param $length i32)
    (i32.store (i32.const 0) (local.get $from))
    (i32.store (i32.const 4) (local.get $length))
    (call $check (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func $check (param i32)
    (if (local.get 0) (then (call $proc_exit (local.get 0)))))`;

/** Prints a greeting. */
const HELLO = `(module ${IMPORTS}
  (data (i32.const 100) "hello from wasm\\0a")
  (func (export "_start") (call $print (i32.const 100) (i32.const 16))))`;

/** Prints its arguments and its environment, each ended by NUL. */
const STRINGS = `(module ${IMPORTS}
  (func (export "_start")
    (call $check (call $args_sizes_get (i32.const 16) (i32.const 20)))
    (call $check (call $args_get (i32.const 1024) (i32.const 4096)))
    (call $print (i32.const 4096) (i32.load (i32.const 20)))
    (call $check (call $environ_sizes_get (i32.const 16) (i32.const 20)))
    (call $check (call $environ_get (i32.const 1024) (i32.const 4096)))
    (call $print (i32.const 4096) (i32.load (i32.const 20)))))`;

/** Prints the file that its second argument names; exits with the errno of what fails. */
const CAT = `(module ${IMPORTS}
  (func (export "_start") (local $path i32) (local $length i32)
    (call $check (call $args_get (i32.const 1024) (i32.const 4096)))
    (local.set $path (i32.load (i32.const 1028)))
    (block $end (loop $next
      (br_if $end (i32.eqz (i32.load8_u (i32.add (local.get $path) (local.get $length)))))
      (local.set $length (i32.add (local.get $length) (i32.const 1)))
      (br $next)))
    (call $check (call $path_open (i32.const 3) (i32.const 1) (local.get $path)
      (local.get $length) (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 16)))
    (i32.store (i32.const 0) (i32.const 8192))
    (i32.store (i32.const 4) (i32.const 1000))
    (call $check (call $fd_read (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 20)))
    (call $print (i32.const 8192) (i32.load (i32.const 20)))))`;

const EXIT = `(module ${IMPORTS}
  (func (export "_start") (call $proc_exit (i32.const 42)) unreachable))`;

let directory;
beforeAll(() => (directory = fs.mkdtempSync(path.join(os.tmpdir(), 'wasi-native-'))));
afterAll(() => fs.rmSync(directory, { recursive: true }));

/** Runs a program with our WASI on the engine of `namespace`: its exit code and its output. */
async function run(text, options = {}, namespace = wn) {
  const file = path.join(directory, 'output');
  const stdout = fs.openSync(file, 'w');
  try {
    const wasi = new wn.WASI({ version: 'preview1', stdout, ...options });
    const module = await namespace.compile(await wat(text));
    const instance = await namespace.instantiate(module, wasi.getImportObject());
    const code = wasi.start(instance);
    return { code, output: fs.readFileSync(file, 'utf8') };
  } finally {
    fs.closeSync(stdout);
  }
}

describe.each([
  ['on our engine', wn],
  ["on V8's engine", WebAssembly],
])('a program %s', (_, namespace) => {
  test('prints', async () => {
    expect(await run(HELLO, {}, namespace)).toEqual({ code: 0, output: 'hello from wasm\n' });
  });

  test('gets its arguments and its environment and nothing of ours', async () => {
    process.env.WASI_NATIVE_SECRET = 'secret';
    const options = { args: ['program', 5, 'drei'], env: { A: '1', B: undefined, C: 2 } };
    const given = await run(STRINGS, options, namespace);
    expect(given).toEqual({ code: 0, output: 'program\x005\0drei\0A=1\0C=2\0' });
    expect(await run(STRINGS, {}, namespace)).toEqual({ code: 0, output: '' });
    delete process.env.WASI_NATIVE_SECRET;
  });

  test('reads files of a preopened directory and none outside', async () => {
    const data = path.join(directory, 'data');
    fs.mkdirSync(path.join(data, 'sub'), { recursive: true });
    fs.writeFileSync(path.join(directory, 'secret'), 'secret');
    fs.writeFileSync(path.join(data, 'file'), 'contents of the file');
    fs.rmSync(path.join(data, 'link'), { force: true });
    fs.symlinkSync('../secret', path.join(data, 'link'));
    const cat = (name) => run(CAT, { args: ['cat', name], preopens: { '/data': data } }, namespace);
    expect(await cat('file')).toEqual({ code: 0, output: 'contents of the file' });
    expect(await cat('sub/../file')).toEqual({ code: 0, output: 'contents of the file' });
    const refused = ['../secret', 'sub/../../secret', 'link', '/etc/passwd', path.join(directory, 'secret')];
    for (const name of refused) {
      const { code, output } = await cat(name);
      expect([name, output, code !== 0]).toEqual([name, '', true]);
    }
    const ENOENT = 44;
    expect((await cat('missing')).code).toBe(ENOENT);
    const EBADF = 8;
    expect((await run(CAT, { args: ['cat', 'file'] }, namespace)).code).toBe(EBADF);
  });

  test('returns its exit code', async () => {
    expect((await run(EXIT, {}, namespace)).code).toBe(42);
  });
});

test('a WASI function may be wrapped in JavaScript', async () => {
  const file = path.join(directory, 'traced');
  const stdout = fs.openSync(file, 'w');
  const wasi = new wn.WASI({ version: 'preview1', stdout });
  const calls = [];
  const traced = Object.entries(wasi.wasiImport).map(([name, call]) => [
    name,
    (...args) => {
      const result = call(...args);
      calls.push([name, ...args, result]);
      return result;
    },
  ]);
  const imports = { wasi_snapshot_preview1: Object.fromEntries(traced) };
  expect(wasi.start(new wn.Instance(new wn.Module(await wat(HELLO)), imports))).toBe(0);
  fs.closeSync(stdout);
  expect(calls).toEqual([['fd_write', 1, 0, 1, 8, 0]]);
  expect(fs.readFileSync(file, 'utf8')).toBe('hello from wasm\n');
});

test('returnOnExit: false ends the process', async () => {
  const program = { modules: { m: await wat(EXIT) } };
  for (const namespace of ['wn', 'WebAssembly']) {
    const { status, stdout, stderr } = child(
      `const wasi = new wn.WASI({ version: 'preview1', returnOnExit: false });
       const module = new ${namespace}.Module(bytes.m);
       wasi.start(new ${namespace}.Instance(module, wasi.getImportObject()));
       console.log('not reached');`,
      program,
    );
    expect([stderr, stdout, status]).toEqual(['', '', 42]);
  }
});

test('proc_exit passes through JavaScript between two runs of wasm', async () => {
  const wasi = new wn.WASI({ version: 'preview1' });
  const imports = { ...wasi.getImportObject(), m: { again: () => inner.exports.leave() } };
  const text = (body) => `(module (import "m" "again" (func $again)) ${body})`;
  const exit = await wat(`(module
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (func (export "leave") (call $exit (i32.const 7))))`);
  const outer = await wat(
    text('(memory (export "memory") 1) (func (export "_start") call $again unreachable)'),
  );
  const inner = new wn.Instance(new wn.Module(exit), imports);
  expect(wasi.start(new wn.Instance(new wn.Module(outer), imports))).toBe(7);
});

describe('start and initialize', () => {
  const made = async (body) => {
    const wasi = new wn.WASI({ version: 'preview1' });
    const module = await wn.compile(await wat(`(module ${body})`));
    return { wasi, instance: new wn.Instance(module, wasi.getImportObject()) };
  };
  const MEMORY = '(memory (export "memory") 1)';

  test('check what the instance exports', async () => {
    const command = await made(`${MEMORY} (func (export "_start"))`);
    const reactor = await made(`${MEMORY} (func (export "_initialize"))`);
    const bare = await made('(func (export "_start"))');
    const invalid = { code: 'ERR_INVALID_ARG_TYPE' };
    expect(thrownBy(() => reactor.wasi.start(reactor.instance))).toMatchObject(invalid);
    expect(thrownBy(() => command.wasi.initialize(command.instance))).toMatchObject(invalid);
    expect(thrownBy(() => bare.wasi.start(bare.instance))).toMatchObject(invalid);
    for (const other of [undefined, null, 5, {}, { exports: null }]) {
      const wasi = new wn.WASI({ version: 'preview1' });
      expect(thrownBy(() => wasi.start(other))).toMatchObject(invalid);
    }
  });

  test('may be called once', async () => {
    const { wasi, instance } = await made(`${MEMORY} (func (export "_start"))`);
    expect(wasi.start(instance)).toBe(0);
    const started = { code: 'ERR_WASI_ALREADY_STARTED' };
    expect(thrownBy(() => wasi.start(instance))).toMatchObject(started);
    expect(thrownBy(() => wasi.initialize(instance))).toMatchObject(started);
  });

  test('initialize runs a reactor, whose functions then have WASI', async () => {
    const { wasi, instance } = await made(`
      (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
      ${MEMORY} (global $ready (mut i32) (i32.const 0))
      (func (export "_initialize") (global.set $ready (i32.const 1)))
      (func (export "random") (result i32 i32)
        (call $random (i32.const 0) (i32.const 64)) (global.get $ready))`);
    expect(wasi.initialize(instance)).toBe(undefined);
    expect(instance.exports.random()).toEqual([0, 1]);
    expect(new Uint8Array(instance.exports.memory.buffer, 0, 64).some((byte) => byte)).toBe(true);
  });

  test('WASI functions are JavaScript functions over the memory that was bound', async () => {
    const { wasi, instance } = await made(`${MEMORY} (func (export "_initialize"))`);
    const { random_get: random, clock_time_get: clock } = wasi.wasiImport;
    expect(thrownBy(() => random(0, 8))).toMatchObject({ code: 'ERR_WASI_NOT_STARTED' });
    wasi.initialize(instance);
    const { memory } = instance.exports;
    expect(random(16, 32)).toBe(0);
    expect(new Uint8Array(memory.buffer, 16, 32).some((byte) => byte !== 0)).toBe(true);
    memory.grow(1);
    expect(clock(0, 1n, 65536 + 8)).toBe(0);
    const nanoseconds = new BigUint64Array(memory.buffer, 65536 + 8, 1)[0];
    expect(Math.abs(Number(nanoseconds / 1000000n) - Date.now())).toBeLessThan(60000);
    expect(() => clock(0, 1, 8)).toThrow(TypeError);
    const EFAULT = 21;
    expect(random(-1, 8)).toBe(EFAULT);
    expect(random.name).toBe('random_get');
    expect(random.length).toBe(2);
  });

  test('a memory that was imported is the one that WASI works on', async () => {
    const wasi = new wn.WASI({ version: 'preview1' });
    const memory = new wn.Memory({ initial: 1 });
    const text = `(module (import "m" "memory" (memory 1)) (export "memory" (memory 0))
      (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
      (func (export "_initialize") (drop (call $random (i32.const 0) (i32.const 64)))))`;
    const imports = { ...wasi.getImportObject(), m: { memory } };
    wasi.initialize(new wn.Instance(new wn.Module(await wat(text)), imports));
    expect(new Uint8Array(memory.buffer, 0, 64).some((byte) => byte !== 0)).toBe(true);
  });
});

describe('options', () => {
  test('errors say what is wrong and what to do', () => {
    const version = 'preview1';
    const messageOf = (options) => thrownBy(() => new wn.WASI({ version, ...options })).message;
    const missing = path.join(directory, 'missing');
    expect(messageOf({ preopens: { '/data': missing } })).toMatch(
      /^options\.preopens\["\/data"\]: cannot open ".*missing": .*create the directory first/,
    );
    const file = path.join(directory, 'a file');
    fs.writeFileSync(file, '');
    expect(messageOf({ preopens: { '/data': file } })).toMatch(/only directories/);
    expect(messageOf({ stdout: 987654 })).toMatch(/options\.stdout: cannot use descriptor 987654/);
    expect(messageOf({ args: ['a\0b'] })).toMatch(/NUL/);
    expect(messageOf({ args: 5 })).toMatch(/"options\.args" property must be an instance of Array/);
  });
});
