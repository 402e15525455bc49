'use strict';
// How programs start and end: what a module must export for it, what holds before, which code comes.

const wn = require('..');
const { thrownBy, wat } = require('./helpers');

const wasi = (options) => new wn.WASI({ version: 'preview1', ...options });
const rejection = async (promise) =>
  promise.then(
    () => {
      throw new Error('it was resolved');
    },
    (error) => error,
  );

const EXIT = '(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))';
const RANDOM = '(import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))';
const MEMORY = '(memory (export "memory") 1)';

const engines = [
  ['ours', wn],
  ["V8's", WebAssembly],
];

describe('a module that exports something else under a name of WASI', () => {
  const start = (text) => `(module ${MEMORY} ${text})`;
  test.each([
    [
      'a start with a parameter',
      start('(func (export "_start") (param i32))'),
      /"_start".*\(i32\) -> \(\)|\(i32\) -> \(\).*"_start"/,
    ],
    [
      'a start with a result',
      start('(func (export "_start") (result i64 f32) (i64.const 0) (f32.const 0))'),
      /\(\) -> \(i64, f32\)/,
    ],
    [
      'a start that is a global',
      start('(global (export "_start") i32 (i32.const 0))'),
      /a global as "_start"/,
    ],
    [
      'a memory that is none',
      '(module (func (export "_start")) (func (export "memory")))',
      /a function \(\) -> \(\) as "memory", which must be a memory/,
    ],
  ])('is no command: %s', async (_, text, message) => {
    const error = await rejection(wasi().run(await wat(text)));
    expect(error.code).toBe('ERR_WASI_NO_COMMAND');
    expect(error.message).toMatch(message);
    expect(error.message).toMatch(/^WASI\.run\(\): the module exports /);
  });

  test.each([
    [
      'an _initialize with a parameter',
      `(module ${MEMORY} (func (export "_initialize") (param i64)))`,
      /\(i64\) -> \(\) as "_initialize"/,
    ],
    [
      'an _initialize that is a table',
      `(module ${MEMORY} (table (export "_initialize") 1 funcref))`,
      /a table as "_initialize"/,
    ],
    [
      'a memory that is none',
      '(module (global (export "memory") i32 (i32.const 0)))',
      /a global as "memory"/,
    ],
    ['a start with a parameter', start('(func (export "_start") (param funcref))'), /\(funcref\) -> \(\)/],
  ])('is no library, on a thread or off it: %s', async (_, text, message) => {
    const bytes = await wat(text);
    for (const make of ['instantiate', 'spawn']) {
      const error = await rejection(wasi()[make](bytes));
      expect(error).toMatchObject({ code: 'ERR_WASI_NO_LIBRARY', message: expect.stringMatching(message) });
    }
    expect(thrownBy(() => wasi().instantiateSync(bytes)).code).toBe('ERR_WASI_NO_LIBRARY');
  });

  test('is started with zeroes by start(), as by node:wasi', async () => {
    const bytes = await wat(start('(func (export "_start") (param i32))'));
    for (const [, { Instance, Module }] of engines) {
      expect(wasi().start(new Instance(new Module(bytes)))).toBe(0);
    }
  });
});

describe.each(engines)('with an instance of %s', (_, { Instance, Module, RuntimeError }) => {
  test('the exit code is what the program gave, also if JavaScript on the way has caught the exit', async () => {
    const module = new Module(
      await wat(`(module ${EXIT} (import "env" "again" (func $again)) ${MEMORY}
      (func (export "leave") (call $exit (i32.const 42)))
      (func (export "_start") (call $again)))`),
    );
    const program = wasi();
    let caught;
    const again = () => {
      try {
        instance.exports.leave();
      } catch (error) {
        caught = error;
      }
    };
    const instance = new Instance(module, { ...program.getImportObject(), env: { again } });
    expect(program.start(instance)).toBe(42);
    expect(caught).toMatchObject({ code: 'ERR_WASI_EXIT', exitCode: 42 });
  });

  test('but an error that comes after is told', async () => {
    const module = new Module(
      await wat(`(module ${EXIT} (import "env" "again" (func $again)) ${MEMORY}
      (func (export "leave") (call $exit (i32.const 42)))
      (func (export "_start") (call $again) unreachable))`),
    );
    const program = wasi();
    const again = () => void thrownBy(() => instance.exports.leave());
    const instance = new Instance(module, { ...program.getImportObject(), env: { again } });
    expect(thrownBy(() => program.start(instance))).toBeInstanceOf(RuntimeError);
  });

  test('nothing of WASI works before the start, and everything after it', async () => {
    const module = new Module(
      await wat(`(module ${EXIT} ${RANDOM} ${MEMORY}
      (func (export "random") (result i32) (call $random (i32.const 0) (i32.const 8)))
      (func (export "_start") (call $exit (i32.const 3))))`),
    );
    const program = wasi();
    const instance = new Instance(module, program.getImportObject());
    const { _start, random } = instance.exports;
    const notStarted = {
      name: 'Error',
      code: 'ERR_WASI_NOT_STARTED',
      message: expect.stringMatching(/wasi\.start\(\) has not been called/),
    };
    expect(thrownBy(_start)).toMatchObject(notStarted);
    expect(thrownBy(random)).toMatchObject(notStarted);
    expect(thrownBy(() => program.wasiImport.random_get(0, 8))).toMatchObject(notStarted);
    expect(program.start(instance)).toBe(3);
    expect(random()).toBe(0);
  });

  test('the memory can be bound without a start', async () => {
    const module = new Module(
      await wat(`(module ${RANDOM} ${MEMORY}
      (func (export "random") (result i32) (call $random (i32.const 0) (i32.const 8))))`),
    );
    const program = wasi();
    const instance = new Instance(module, program.getImportObject());
    program.finalizeBindings(instance);
    expect(instance.exports.random()).toBe(0);
  });
});

describe('instantiate', () => {
  const asks = `(module ${RANDOM} ${MEMORY} (func $begin (drop (call $random (i32.const 0) (i32.const 8)))) (start $begin)
    (func (export "first") (result i64) (i64.load (i32.const 0))))`;

  test('a library may use WASI in its start function, on a thread and off it', async () => {
    const bytes = await wat(asks);
    for (const make of ['instantiate', 'spawn']) {
      const { exports, instance } = await wasi({ randomSeed: 1 })[make](bytes);
      expect(await exports.first()).not.toBe(0n);
      instance.close();
    }
  });

  test('a command waits for start()', async () => {
    const program = wasi();
    const bytes = await wat(`(module ${EXIT} ${MEMORY} (func (export "_start") (call $exit (i32.const 3))))`);
    const { exports, instance } = await program.instantiate(bytes);
    expect(thrownBy(exports._start).code).toBe('ERR_WASI_NOT_STARTED');
    expect(program.start(instance)).toBe(3);
  });

  test.each([
    [
      'a module that is not there',
      {},
      /imports "env" "log", and there is no such module among the imports; give \{ "env": \{ "log": \.\.\. \} \}/,
    ],
    ['a module that is no object', { env: 5 }, /that module is given as a number/],
    ['an import that is not there', { env: {} }, /import "env" "log" must be a function, not undefined/],
  ])('%s is a LinkError, on a thread and off it', async (_, imports, message) => {
    const bytes = await wat(`(module (import "env" "log" (func)) ${MEMORY})`);
    const command = await wat(`(module (import "env" "log" (func)) ${MEMORY} (func (export "_start")))`);
    for (const error of [
      await rejection(wasi().instantiate(bytes, imports)),
      await rejection(wasi().spawn(bytes, imports)),
      await rejection(wasi().run(command, { imports })),
      thrownBy(() => wasi().instantiateSync(bytes, imports)),
    ]) {
      expect(error).toBeInstanceOf(wn.LinkError);
      expect(error).toMatchObject({ code: 'ERR_WASI_LINK', message: expect.stringMatching(message) });
    }
  });

  test('a function of WASI that is given comes before ours, and the others stay', async () => {
    const bytes = await wat(`(module ${EXIT} ${RANDOM} ${MEMORY}
      (func (export "random") (result i32) (call $random (i32.const 0) (i32.const 8)))
      (func (export "leave") (call $exit (i32.const 7))))`);
    const imports = { wasi_snapshot_preview1: { random_get: () => 99 } };
    for (const make of ['instantiate', 'spawn']) {
      const { exports, instance } = await wasi()[make](bytes, imports);
      expect(await exports.random()).toBe(99);
      expect(await rejection((async () => exports.leave())())).toMatchObject({ exitCode: 7 });
      instance.close();
    }
    const denied = await rejection(wasi({ deny: ['proc_exit'] }).instantiate(bytes, imports));
    expect(denied.message).toMatch(/proc_exit, which this program is not granted/);
  });
});
