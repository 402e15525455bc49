'use strict';
// Compiling: how often, where, for how long, and of what.

const zlib = require('node:zlib');
const { EventEmitter, once } = require('node:events');
const { Worker } = require('node:worker_threads');
const path = require('node:path');
const wn = require('..');
const { child, thrownBy, wat } = require('./helpers');

/** A module that takes seconds to compile: functions of many loads and additions. */
function slow(functions = 3000) {
  const leb = (n) => (n < 128 ? [n] : [(n & 127) | 128, ...leb(n >>> 7)]);
  const section = (id, ...parts) => {
    const contents = Buffer.concat(parts.map((part) => Buffer.from(part)));
    return Buffer.concat([Buffer.from([id, ...leb(contents.length)]), contents]);
  };
  const step = [0x20, 0, 0x28, 2, 4, 0x20, 0, 0x6a, 0x22, 0, 0x41, 7, 0x6c, 0x21, 0];
  const code = [0, ...Array(200).fill(step).flat(), 0x20, 0, 0x0b];
  const body = Buffer.from([...leb(code.length), ...code]);
  return Buffer.concat([
    Buffer.from('\0asm\x01\0\0\0', 'latin1'),
    section(1, [1, 0x60, 1, 0x7f, 1, 0x7f]),
    section(3, leb(functions), Buffer.alloc(functions)),
    section(5, [1, 0, 1]),
    section(7, [1, 6, ...Buffer.from('_start'), 0, 0]),
    section(10, leb(functions), ...Array(functions).fill(body)),
  ]);
}

/** The environment of a process that compiles whatever was compiled before. */
const uncached = { ...process.env, WASI_NATIVE_CACHE: '0' };

test('thousands of modules of one function each', () => {
  // prettier-ignore
  const bytes = (k) =>
    Buffer.from([
      ...Buffer.from('\0asm\x01\0\0\0', 'latin1'), 1, 6, 1, 0x60, 1, 0x7f, 1, 0x7f, 3, 2, 1, 0, 7, 5, 1, 1, 0x66, 0, 0,
      10, 11, 1, 9, 0, 0x41, 0x80 | (k & 0x7f), 0x80 | (k >> 7), 0, 0x20, 0, 0x6a, 0x0b,
    ]);
  const functions = [];
  for (let k = 0; k < 3000; k++) functions.push(new wn.Instance(new wn.Module(bytes(k))).exports.f);
  functions.forEach((f, k) => expect(f(1)).toBe(k + 1));
});

test('an import and an export of the same signature call each other, in many modules', async () => {
  const bytes = await wat('(module (import "e" "f" (func (param i32) (result i32))) (export "f" (func 0)))');
  for (let k = 0; k < 500; k++) {
    const { f } = new wn.Instance(new wn.Module(bytes), { e: { f: (x) => x + k } }).exports;
    expect(f(1)).toBe(k + 1);
  }
});

test('promises of one module at a time all resolve, each to a module of its own', async () => {
  const bytes = slow(300);
  const modules = await Promise.all(Array.from({ length: 8 }, () => wn.compile(bytes)));
  expect(new Set(modules).size).toBe(8);
  for (const module of modules) expect(new wn.Instance(module).exports._start).toBeInstanceOf(Function);
});

test('bytes that change while they compile make the module that they were', async () => {
  const bytes = new Uint8Array(await wat('(module (func (export "f") (result i32) (i32.const 42)))'));
  const at = bytes.lastIndexOf(42);
  const compiled = wn.compile(bytes);
  bytes[at] = 43;
  expect(new wn.Instance(await compiled).exports.f()).toBe(42);
  expect(new wn.Instance(await wn.compile(bytes)).exports.f()).toBe(43);
});

test('a signal ends a compilation', async () => {
  const bytes = slow(500);
  const compiled = (signal) => wn.compile(bytes, { signal, cache: false });
  await expect(compiled(AbortSignal.abort('early'))).rejects.toMatchObject({
    code: 'ABORT_ERR',
    cause: 'early',
  });
  const controller = new AbortController();
  const aborted = compiled(controller.signal);
  controller.abort();
  await expect(aborted).rejects.toMatchObject({ name: 'AbortError' });
  expect(wn.Module.exports(await compiled(new AbortController().signal))).toHaveLength(1);
  await expect(compiled({})).rejects.toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' });
});

describe('onProgress', () => {
  /** All that was told, once it has come to the end. */
  async function told(bytes, options) {
    const all = [];
    const events = new EventEmitter();
    const complete = once(events, 'complete');
    const onProgress = (progress) => {
      all.push(progress);
      if (progress.done === progress.total) events.emit('complete');
    };
    const module = await wn.compile(bytes, { ...options, onProgress });
    const early = all.length;
    await complete;
    return { all, early, module };
  }

  test.each([
    ['a module that is compiled before it is ready', 40, {}],
    ['one that can run before', 300, {}],
    ['one that counts its operators', 300, { fuel: true }],
  ])('tells of %s until it is complete', async (_, functions, options) => {
    const { all, early, module } = await told(slow(functions), { cache: false, ...options });
    expect(early).toBeGreaterThan(0);
    const [{ total }] = all;
    expect(total).toBeGreaterThan(functions * 1000);
    expect(all.map((each) => each.total)).toEqual(all.map(() => total));
    const done = all.map((each) => each.done);
    expect(done).toEqual([...new Set(done)].sort((a, b) => a - b));
    // There is nothing to tell of what is there.
    const again = await told(slow(functions), { cache: false, ...options });
    expect(again.all).toEqual([{ done: total, total }]);
    expect(wn.Module.exports(module)).toHaveLength(1);
  });

  test('a module without functions is complete', async () => {
    expect((await told(await wat('(module)'))).all).toEqual([{ done: 0, total: 0 }]);
  });

  test('what it throws rejects', async () => {
    const mine = new Error('mine');
    const onProgress = () => {
      throw mine;
    };
    await expect(wn.compile(slow(41), { cache: false, onProgress })).rejects.toBe(mine);
    await expect(wn.compile(slow(301), { cache: false, onProgress })).rejects.toBe(mine);
    await expect(wn.compile(slow(1), { onProgress: 1 })).rejects.toMatchObject({
      code: 'ERR_INVALID_ARG_TYPE',
    });
  });

  test('keeps no process alive, and nothing of a module that nobody has', () => {
    const code = `${slow.toString()}
      let last;
      const onProgress = (progress) => (last = progress);
      (async () => {
        await (async () => void (await wn.compile(slow(3000), { onProgress })))();
        for (let round = 0; round < 5; round++) {
          await new Promise((resolve) => setTimeout(resolve, 20));
          gc();
        }
        await new Promise((resolve) => setTimeout(resolve, 200));
        const before = last.done;
        await new Promise((resolve) => setTimeout(resolve, 500));
        console.log(last.done === before, last.done < last.total);
        bytes.kept = await wn.compile(slow(3001), { onProgress });
        console.log('over');
      })();`;
    const { status, stdout, stderr } = child(code, { env: uncached, flags: ['--expose-gc'] });
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: 'true true\nover\n', stderr: '' });
  });
});

test('an aborted run is over at once, and so is what it compiled', () => {
  // In a process of its own, where nothing else takes time.
  const code = `
    ${slow.toString()}
    const pause = () => new Promise((resolve) => setTimeout(resolve, 1000));
    const run = new wn.WASI({ version: 'preview1' }).run(slow(6000), { signal: AbortSignal.timeout(50) });
    console.log(await run.catch((error) => error.name));
    await pause();
    const used = process.cpuUsage();
    await pause();
    console.log(process.cpuUsage(used).user);`;
  const { stdout, stderr } = child(code, { env: uncached });
  expect(stderr).toBe('');
  const [name, later] = stdout.split('\n');
  expect(name).toBe('AbortError');
  // Nothing goes on behind: all of it takes many seconds.
  expect(Number(later)).toBeLessThan(500_000);
});

test.each([
  ['compile()', 'wn.compile(bytes.slow);'],
  // A large module is ready soon, and it turns out to be no program. Compiling goes on behind.
  ['run()', 'new wn.WASI({ version: "preview1" }).run(bytes.slow).catch(() => {});'],
])('process.exit() does not wait for %s', (_, code) => {
  const text = `${code} setTimeout(() => process.exit(7), 200);`;
  const { status, stderr } = child(`${slow.toString()} bytes.slow = slow(6000); ${text}`, { env: uncached });
  expect(stderr).toBe('');
  expect(status).toBe(7);
});

test.each([
  ['compile()', 'wn.compile(slow(6000), { cache: false })'],
  ['new Module()', 'new wn.Module(slow(6000), { cache: false })'],
])('worker.terminate() does not wait for %s', async (_, code) => {
  const text = `
    const wn = require(${JSON.stringify(path.join(__dirname, '..'))});
    ${slow.toString()}
    require('node:worker_threads').parentPort.postMessage('begun');
    ${code};`;
  const worker = new Worker(text, { eval: true });
  await once(worker, 'message');
  await new Promise((resolve) => setTimeout(resolve, 300));
  await worker.terminate();
});

test('what is no module is called what it is', async () => {
  const message = (bytes) => thrownBy(() => new wn.Module(Buffer.from(bytes))).message;
  const bytes = Buffer.from(await wat('(module)'));
  expect(message('')).toMatch(/no bytes/);
  expect(message(zlib.gzipSync(bytes))).toMatch(/gzip/);
  expect(message('(module (func))')).toMatch(/WebAssembly text/);
  expect(message('\n ;; by hand\n(module)')).toMatch(/WebAssembly text/);
  expect(message('<!DOCTYPE html><html>')).toMatch(/HTML/);
  expect(message('{"error":"not found"}')).toMatch(/it is text, which begins with/);
  expect(message([0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0])).toMatch(/component/);
  expect(message('\x7fELF\x02')).toMatch(/native program/);
  expect(message(new wn.Module(bytes).serialize())).toMatch(
    /compiled ahead of time.*Module\.deserialize\(\)/,
  );
  expect(message([0xde, 0xad, 0xbe, 0xef, 0x80])).toMatch(/begins with 00 61 73 6d, this with de ad be ef/);
  expect(message([0, 0x61, 0x73])).toMatch(/this with 00 61 73/);
  await expect(wn.compile(Buffer.from('<html>'))).rejects.toThrow(/WebAssembly\.compile\(\): it is HTML/);
});

test('a module that wants threads of guests has them by a WASI object, or is told so', async () => {
  const bytes = await wat(`(module
    (import "env" "memory" (memory 1 2 shared))
    (import "wasi" "thread-spawn" (func (param i32) (result i32)))
    (export "memory" (memory 0))
    (func (export "_start")))`);
  const module = new wn.Module(bytes);
  const memory = new wn.Memory({ initial: 1, maximum: 2, shared: true });
  expect(() => new wn.Instance(module, { env: { memory } })).toThrow(/wasm32-wasip1-threads.*wasi\.run\(\)/);
  const wasi = () => new wn.WASI({ version: 'preview1' });
  expect(await wasi().run(module)).toMatchObject({ code: 0 });
  const program = wasi();
  const instance = new wn.Instance(module, program.getImportObject());
  expect(program.start(instance)).toBe(0);
  // JavaScript cannot have the bytes that threads of ours use.
  expect(() => instance.exports.memory.buffer).toThrow(/program and its threads/);
  const both = { ...wasi().getImportObject(), env: { memory } };
  expect(() => new wn.Instance(module, both)).toThrow(/share a memory of its own; leave it out/);
  const given = { env: { memory }, wasi: { 'thread-spawn': () => 1 } };
  expect(new wn.Instance(module, given).exports._start()).toBe(undefined);
});

test('a custom section is found by its name, not by what half a character becomes', () => {
  const name = [...Buffer.from('\u{fffd}')];
  const bytes = Buffer.from([
    ...Buffer.from('\0asm\x01\0\0\0', 'latin1'),
    0,
    name.length + 2,
    name.length,
    ...name,
    42,
  ]);
  const module = new wn.Module(bytes);
  expect(wn.Module.customSections(module, '\u{fffd}')).toHaveLength(1);
  expect(wn.Module.customSections(module, '\ud800')).toHaveLength(0);
});

test('the limits that the JavaScript interface sets are ours', () => {
  const leb = (n) => (n < 128 ? [n] : [(n & 127) | 128, ...leb(n >>> 7)]);
  const module = (id, count, item) => {
    const items = Buffer.concat([Buffer.from(leb(count)), ...Array(count).fill(Buffer.from(item))]);
    return Buffer.concat([
      Buffer.from('\0asm\x01\0\0\0', 'latin1'),
      Buffer.from([id, ...leb(items.length)]),
      items,
    ]);
  };
  expect(wn.validate(module(5, 100, [0, 0]))).toBe(true);
  expect(() => new wn.Module(module(5, 101, [0, 0]))).toThrow(wn.CompileError);
  expect(wn.validate(module(6, 1_000_000, [0x7f, 0, 0x41, 0, 0x0b]))).toBe(true);
  expect(wn.validate(module(6, 1_000_001, [0x7f, 0, 0x41, 0, 0x0b]))).toBe(false);
  expect(wn.validate(module(1, 1_000_000, [0x60, 0, 0]))).toBe(true);
});

test('imports in the compact form', () => {
  const name = (text) => [text.length, ...Buffer.from(text)];
  const bytes = (imports) => {
    const types = [1, 4, 1, 0x60, 0, 0];
    return Buffer.from([
      ...Buffer.from('\0asm\x01\0\0\0', 'latin1'),
      ...types,
      2,
      imports.length,
      ...imports,
    ]);
  };
  // One name of a module for several items; the second form has one type for all of them, too.
  const one = bytes([1, ...name('m'), ...name(''), 0x7f, 2, ...name('a'), 0, 0, ...name('b'), 0, 0]);
  const all = bytes([1, ...name('m'), ...name(''), 0x7e, 0, 0, 2, ...name('a'), ...name('b')]);
  for (const form of [one, all]) {
    expect(wn.Module.imports(new wn.Module(form))).toEqual([
      { module: 'm', name: 'a', kind: 'function' },
      { module: 'm', name: 'b', kind: 'function' },
    ]);
  }
});
