'use strict';

const { Worker } = require('node:worker_threads');
const wn = require('..');
const { PACKAGE, child, instance, thrownBy, wat } = require('./helpers');

const TRAPS = `(module
  (memory 1) (table 1 funcref) (type $i (func (result i32)))
  (func $quotient (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1)))
  (func $middle (param i32 i32) (result i32) (call $quotient (local.get 0) (local.get 1)))
  (func (export "divide") (param i32 i32) (result i32)
    (i32.add (call $middle (local.get 0) (local.get 1)) (i32.const 1)))
  (func (export "unreachable") unreachable)
  (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
  (func (export "truncate") (param f32) (result i32) (i32.trunc_f32_s (local.get 0)))
  (func (export "null") (call_indirect (type $i) (i32.const 0)) drop)
  (func (export "outside") (call_indirect (type $i) (i32.const 9)) drop)
  (func $deep (export "deep") (param i32) (result i32)
    (i32.add (call $deep (local.get 0)) (i32.const 1))))`;

describe('a trap', () => {
  let exports;
  beforeAll(async () => ({ exports } = await instance(TRAPS)));

  test("is a RuntimeError with the specification's text", () => {
    const cases = [
      [() => exports.divide(1, 0), 'integer divide by zero'],
      [() => exports.divide(-(2 ** 31), -1), 'integer overflow'],
      [() => exports.unreachable(), 'unreachable'],
      [() => exports.load(-1), 'out of bounds memory access'],
      [() => exports.load(65533), 'out of bounds memory access'],
      [() => exports.truncate(NaN), 'invalid conversion to integer'],
      [() => exports.null(), 'uninitialized element'],
      [() => exports.outside(), 'undefined element'],
    ];
    for (const [run, message] of cases) {
      const error = thrownBy(run);
      expect(error).toBeInstanceOf(wn.RuntimeError);
      expect(error.name).toBe('RuntimeError');
      expect(error.code).toBe('ERR_WASI_TRAP');
      expect(error.message.startsWith(message)).toBe(true);
    }
    expect(exports.divide(8, 2)).toBe(5);
  });

  test('has the wasm functions in its stack, above the JavaScript that called', () => {
    const lines = thrownBy(function caller() {
      exports.divide(1, 0);
    }).stack.split('\n');
    expect(lines[0]).toBe('RuntimeError: integer divide by zero');
    expect(lines[1]).toMatch(/^ {4}at quotient \(wasm:\/\/.*:wasm-function\[0\]:0x[0-9a-f]+\)$/);
    expect(lines[2]).toMatch(/^ {4}at middle \(wasm:\/\/.*:wasm-function\[1\]:0x[0-9a-f]+\)$/);
    expect(lines[3]).toMatch(/^ {4}at .*wasm:\/\/.*:wasm-function\[2\]:0x[0-9a-f]+/);
    expect(lines[4]).toMatch(/^ {4}at .*traps\.test\.js/);
    expect(lines.join('\n')).not.toMatch(/wasi-native\/(export|import)/);
  });

  test('of the stack leaves the process well', () => {
    for (let round = 0; round < 3; round++) {
      const error = thrownBy(() => exports.deep(1));
      // As of a stack that JavaScript exhausts.
      expect(error).toBeInstanceOf(RangeError);
      expect(error.message).toBe('Maximum call stack size exceeded');
      expect(error.code).toBe('ERR_WASI_TRAP');
    }
    expect(exports.divide(8, 2)).toBe(5);
  });

  test('of the stack is met through JavaScript too', async () => {
    const { exports: nested } = await instance(
      `(module (import "m" "f" (func $f (param i32) (result i32)))
        (func (export "f") (param i32) (result i32)
          (call $f (i32.add (local.get 0) (i32.const 1)))))`,
      { m: { f: (n) => nested.f(n) } },
    );
    const error = thrownBy(() => nested.f(0));
    expect(error.name).toBe('RangeError');
    expect(exports.divide(8, 2)).toBe(5);
  });

  test('in a start function comes out of instantiating', async () => {
    const start = '(module (func $start unreachable) (start $start))';
    const module = new wn.Module(await wat(start));
    expect(() => new wn.Instance(module)).toThrow(wn.RuntimeError);
    await expect(wn.instantiate(module)).rejects.toBeInstanceOf(wn.RuntimeError);
  });

  test('can be caught by an import between two runs of wasm', async () => {
    const { exports: outer } = await instance(
      `(module (import "m" "f" (func $f (result i32)))
        (func (export "run") (result i32) (i32.mul (call $f) (i32.const 2))))`,
      {
        m: {
          f() {
            try {
              exports.unreachable();
            } catch {
              return 21;
            }
          },
        },
      },
    );
    expect(outer.run()).toBe(42);
  });
});

const INTERLEAVE = `
  const ours = new wn.Instance(new wn.Module(bytes)).exports;
  const theirs = new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports;
  const counts = [0, 0, 0];
  for (let i = 0; i < 10000; i++) {
    try { ours.load(-1); } catch (error) {
      if (error instanceof wn.RuntimeError) counts[0]++;
    }
    try { theirs.load(-1); } catch (error) {
      if (error instanceof WebAssembly.RuntimeError) counts[1]++;
    }
    try { null.x; } catch { counts[2]++; }
  }`;

test("10,000 of our traps live beside 10,000 of V8's", async () => {
  const { stdout, stderr, status } = child(
    `const { bytes: all } = { bytes }; { const bytes = all.m; ${INTERLEAVE} console.log(counts.join()); }`,
    { modules: { m: await wat(TRAPS) } },
  );
  expect(stderr).toBe('');
  expect(stdout).toBe('10000,10000,10000\n');
  expect(status).toBe(0);
});

test('the same in a worker, while this thread traps too', async () => {
  const bytes = await wat(TRAPS);
  const worker = new Worker(
    `const { workerData, parentPort } = require('node:worker_threads');
     const wn = require(${JSON.stringify(PACKAGE)});
     const bytes = workerData;
     ${INTERLEAVE}
     parentPort.postMessage(counts);`,
    { eval: true, workerData: bytes },
  );
  const done = new Promise((resolve, reject) => worker.on('message', resolve).on('error', reject));
  const { exports } = await instance(TRAPS);
  let counted = 0;
  for (let round = 0; round < 1000; round++) {
    expect(thrownBy(() => exports.load(-1))).toBeInstanceOf(wn.RuntimeError);
    counted++;
    if (round % 100 === 0) await new Promise(setImmediate);
  }
  expect(counted).toBe(1000);
  expect(await done).toEqual([10000, 10000, 10000]);
  await worker.terminate();
});

test('workers come and go', async () => {
  const bytes = await wat(TRAPS);
  for (let round = 0; round < 5; round++) {
    const worker = new Worker(
      `const { workerData, parentPort } = require('node:worker_threads');
       const wn = require(${JSON.stringify(PACKAGE)});
       const { load } = new wn.Instance(new wn.Module(workerData)).exports;
       try { load(-1); } catch (error) { parentPort.postMessage(error.message); }`,
      { eval: true, workerData: bytes },
    );
    const exited = new Promise((resolve) => worker.on('exit', resolve));
    const message = await new Promise((resolve, reject) => worker.on('message', resolve).on('error', reject));
    expect(message).toBe('out of bounds memory access');
    expect(await exited).toBe(0);
  }
});

test('a worker can be terminated inside an import', async () => {
  const worker = new Worker(
    `const { workerData, parentPort } = require('node:worker_threads');
     const wn = require(${JSON.stringify(PACKAGE)});
     let told = false;
     const f = () => { if (!told) parentPort.postMessage((told = true)); };
     new wn.Instance(new wn.Module(workerData), { m: { f } }).exports.run();`,
    {
      eval: true,
      workerData: await wat(
        '(module (import "m" "f" (func $f)) (func (export "run") (loop (call $f) (br 0))))',
      ),
    },
  );
  await new Promise((resolve, reject) => worker.on('message', resolve).on('error', reject));
  expect(await worker.terminate()).toBe(1);
});

test('the stack is exhausted ten thousand times in a row, here and in a worker', async () => {
  const bytes = await wat(TRAPS);
  const exhaust = `
    const { deep } = new wn.Instance(new wn.Module(bytes)).exports;
    let counted = 0;
    for (let round = 0; round < 10000; round++) {
      try { deep(0); } catch (error) { counted += error instanceof RangeError ? 1 : 0; }
    }`;
  const worker = new Worker(
    `const { workerData: bytes, parentPort } = require('node:worker_threads');
     const wn = require(${JSON.stringify(PACKAGE)});
     ${exhaust}
     parentPort.postMessage(counted);`,
    { eval: true, workerData: bytes },
  );
  const done = new Promise((resolve, reject) => worker.on('message', resolve).on('error', reject));
  expect(new Function('wn', 'bytes', `${exhaust}; return counted;`)(wn, bytes)).toBe(10000);
  expect(await done).toBe(10000);
  await worker.terminate();
});

describe.each([
  { WASI_NATIVE_TRAP_MODE: 'explicit' },
  { WASI_NATIVE_MEMORY: 'bounded' },
  { WASI_NATIVE_TRAP_MODE: 'explicit', WASI_NATIVE_MEMORY: 'bounded' },
])('with %j', (env) => {
  test('traps are the same', async () => {
    const { stdout, status } = child(
      `const { divide, load, deep } = new wn.Instance(new wn.Module(bytes.m)).exports;
       for (const trap of [() => divide(1, 0), () => load(-1), () => deep(0)]) {
         try { trap(); } catch (error) { console.log(error.message); }
       }`,
      { modules: { m: await wat(TRAPS) }, env: { ...process.env, ...env } },
    );
    expect(stdout.split('\n')).toEqual([
      'integer divide by zero',
      'out of bounds memory access',
      'Maximum call stack size exceeded',
      '',
    ]);
    expect(status).toBe(0);
  });
});

test('a misspelt setting is an error that names what it can be', () => {
  const { stderr, status } = child('', { env: { ...process.env, WASI_NATIVE_TRAP_MODE: 'explict' } });
  expect(stderr).toContain('WASI_NATIVE_TRAP_MODE is "explict"; it can be signals or explicit');
  expect(status).not.toBe(0);
});

test('a real segmentation fault still kills the process', async () => {
  const { status, signal } = child(
    `const { load } = new wn.Instance(new wn.Module(bytes.m)).exports;
     try { load(-1); } catch {}
     process.kill(process.pid, 'SIGSEGV');
     setTimeout(() => process.exit(0), 2000);`,
    { modules: { m: await wat(TRAPS) } },
  );
  expect(status).toBe(null);
  expect(signal).toBe('SIGSEGV');
});
