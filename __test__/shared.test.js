'use strict';
// Shared memories: what JavaScript, threads and V8's own wasm see of them.

const { Worker } = require('node:worker_threads');
const wn = require('..');
const { PACKAGE, child, instance, thrownBy, wat } = require('./helpers');

const ATOMICS = `(module (import "m" "memory" (memory 1 10 shared))
  (func (export "load") (param i32) (result i32) (i32.atomic.load (local.get 0)))
  (func (export "load8") (param i32) (result i32) (i32.load8_u (local.get 0)))
  (func (export "store") (param i32 i32) (i32.atomic.store (local.get 0) (local.get 1)))
  (func (export "add") (param i32 i32) (result i32)
    (i32.atomic.rmw.add (local.get 0) (local.get 1)))
  (func (export "wait") (param i32 i32 i64) (result i32)
    (memory.atomic.wait32 (local.get 0) (local.get 1) (local.get 2)))
  (func (export "wait64") (param i32 i64 i64) (result i32)
    (memory.atomic.wait64 (local.get 0) (local.get 1) (local.get 2)))
  (func (export "notify") (param i32 i32) (result i32)
    (memory.atomic.notify (local.get 0) (local.get 1)))
  (func (export "count") (param i32 i32)
    (loop $again
      (drop (i32.atomic.rmw.add (local.get 0) (i32.const 1)))
      (br_if $again (local.tee 1 (i32.sub (local.get 1) (i32.const 1))))))
  (func (export "size") (result i32) (memory.size))
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))`;

/** Runs `code` in a worker that loads the package. It has `wn`, `data` and `post`. */
function worker(code, workerData) {
  const text = `
    const { workerData: data, parentPort } = require('node:worker_threads');
    const wn = require(${JSON.stringify(PACKAGE)});
    const post = (value) => parentPort.postMessage(value);
    (async () => { ${code} })().catch((error) => post({ error: String(error.stack) }));`;
  const running = new Worker(text, { eval: true, workerData });
  const messages = [];
  const waiting = [];
  running.on('message', (message) => (waiting.shift() ?? ((m) => messages.push(m)))(message));
  running.on('error', (error) => (waiting.shift() ?? (() => {}))({ error: String(error) }));
  running.next = async () => {
    const message =
      messages.length > 0 ? messages.shift() : await new Promise((resolve) => waiting.push(resolve));
    if (message?.error !== undefined) throw new Error(message.error);
    return message;
  };
  return running;
}

const make = (initial = 1, maximum = 10) => new wn.Memory({ initial, maximum, shared: true });

/** The bytes of a module in the text format, whose memories of 88 to 99 pages get pages of one byte. */
async function bytewise(text) {
  const from = Buffer.from(await wat(text));
  const parts = [from.subarray(0, 8)];
  for (let place = 8; place < from.length;) {
    const id = from[place++];
    let size = 0;
    for (let shift = 0, byte = 0x80; byte & 0x80; shift += 7) {
      byte = from[place++];
      size |= (byte & 0x7f) << shift;
    }
    const section = from.subarray(place, (place += size)).toString('latin1');
    // The flags, the limits, and the power of two.
    const patched = [2, 5].includes(id)
      ? // eslint-disable-next-line no-control-regex -- the section is bytes, not text
        section.replace(/([\x03\x07])Xc/, (_, flags) => `${String.fromCharCode(flags.charCodeAt(0) | 8)}Xc\0`)
      : section;
    parts.push(
      Buffer.from([id, (patched.length & 0x7f) | 0x80, patched.length >> 7]),
      Buffer.from(patched, 'latin1'),
    );
  }
  return Buffer.concat(parts);
}

let bytes;
beforeAll(async () => {
  bytes = await wat(ATOMICS);
});

/** Our instance over a memory, here. */
const over = (memory) => new wn.Instance(new wn.Module(bytes), { m: { memory } }).exports;
const IN_WORKER = `
  const { exports } = new wn.Instance(new wn.Module(data.bytes), { m: { memory: data.memory } });`;

describe('a shared Memory', () => {
  test('has a frozen SharedArrayBuffer', () => {
    const memory = make(2);
    expect(Object.getPrototypeOf(memory)).toBe(wn.Memory.prototype);
    expect(Object.isExtensible(memory)).toBe(true);
    const { buffer } = memory;
    expect(buffer).toBe(memory.buffer);
    expect(Object.prototype.toString.call(buffer)).toBe('[object SharedArrayBuffer]');
    expect(buffer.byteLength).toBe(2 * 65536);
    expect(Object.isFrozen(buffer)).toBe(true);
  });

  test('checks its descriptor', () => {
    expect(() => new wn.Memory({ initial: 1, shared: true })).toThrow(TypeError);
    expect(() => new wn.Memory({ initial: 2, maximum: 1, shared: true })).toThrow(RangeError);
    const seen = [];
    const descriptor = new Proxy(
      { initial: 1, maximum: 1 },
      {
        get: (target, key) => (seen.push(key), target[key]),
      },
    );
    expect(new wn.Memory(descriptor)).toBeInstanceOf(wn.Memory);
    expect(seen).toEqual(['address', 'initial', 'maximum', 'shared']);
    class Sub extends wn.Memory {}
    expect(new Sub({ initial: 1, maximum: 1, shared: true })).toBeInstanceOf(Sub);
  });

  test.each([0, 1])('starting with %i pages, grows and leaves old buffers as they are', (initial) => {
    const memory = make(initial, 3);
    const { buffer } = memory;
    expect(memory.grow(1)).toBe(initial);
    expect(buffer.byteLength).toBe(initial * 65536);
    expect(memory.buffer.byteLength).toBe((initial + 1) * 65536);
    expect(() => memory.grow(3)).toThrow(RangeError);
    expect(memory.buffer.byteLength).toBe((initial + 1) * 65536);
    new Uint8Array(memory.buffer)[0] = 7;
    if (initial > 0) expect(new Uint8Array(buffer)[0]).toBe(7);
  });

  test('is the bytes that wasm sees, also when wasm grows it', () => {
    const memory = make();
    const { load, load8, store, grow, size } = over(memory);
    new Int32Array(memory.buffer)[3] = 42;
    expect(load(12)).toBe(42);
    store(16, 43);
    expect(new Int32Array(memory.buffer)[4]).toBe(43);
    expect(() => load8(65536)).toThrow(/out of bounds/);
    expect(() => load8(-1)).toThrow(/out of bounds/);
    expect(grow(2)).toBe(1);
    expect([size(), load8(65536)]).toEqual([3, 0]);
    expect(memory.buffer.byteLength).toBe(3 * 65536);
    expect(memory.grow(1)).toBe(3);
    expect([size(), load8(4 * 65536 - 1)]).toEqual([4, 0]);
    expect(grow(100)).toBe(-1);
    expect(() => load8(4 * 65536)).toThrow(/out of bounds/);
  });

  test('is linked by its type', async () => {
    const link = (memory) => () => over(memory);
    expect(link(new wn.Memory({ initial: 1, maximum: 10 }))).toThrow(wn.LinkError);
    expect(link(make(1, 11))).toThrow(wn.LinkError);
    expect(link(make(0, 10))).toThrow(wn.LinkError);
    expect(link(make(1, 9))).not.toThrow();
    await expect(
      instance('(module (import "m" "memory" (memory 1 10)))', { m: { memory: make() } }),
    ).rejects.toThrow(wn.LinkError);
  });

  test('of a module is one', async () => {
    const { exports } = await instance(`(module (memory (export "memory") 1 4 shared)
      (data (i32.const 8) "shared")
      (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0)))
      (func (export "grow") (result i32) (memory.grow (i32.const 1))))`);
    const { memory } = exports;
    expect(memory).toBeInstanceOf(wn.Memory);
    expect(Buffer.from(memory.buffer).subarray(8, 14).toString()).toBe('shared');
    new Uint8Array(memory.buffer)[0] = 9;
    expect(exports.load(0)).toBe(9);
    expect([exports.grow(), memory.grow(1)]).toEqual([1, 2]);
    expect(memory.buffer.byteLength).toBe(3 * 65536);
    expect(structuredClone(memory).buffer.byteLength).toBe(3 * 65536);
  });
});

describe('between engines', () => {
  test("V8's instances import it, and ours import V8's", () => {
    const ours = make();
    const theirs = new WebAssembly.Memory({ initial: 1, maximum: 10, shared: true });
    const module = new WebAssembly.Module(bytes);
    for (const memory of [ours, theirs]) {
      const v8 = new WebAssembly.Instance(module, { m: { memory } }).exports;
      const wasm = over(memory);
      v8.store(8, 5);
      expect(wasm.add(8, 1)).toBe(5);
      expect(v8.load(8)).toBe(6);
      expect(memory).toBeInstanceOf(wn.Memory);
      expect(wasm.grow(1)).toBe(1);
      expect(v8.size()).toBe(2);
      // What V8's code grew is seen with the next look at the buffer.
      expect(v8.grow(1)).toBe(2);
      expect(memory.buffer.byteLength).toBe(3 * 65536);
      expect(wasm.load8(3 * 65536 - 1)).toBe(0);
      expect(wasm.grow(1)).toBe(3);
    }
  });

  test("a memory of V8's keeps the limits it was declared with", () => {
    for (const maximum of [1, 2, 9, 10, 11, 1000, 65536]) {
      const memory = new WebAssembly.Memory({ initial: 1, maximum, shared: true });
      const link = () => over(memory);
      if (maximum <= 10) expect(link).not.toThrow();
      else expect(link).toThrow(wn.LinkError);
    }
  });

  test('Memory.from takes what was shared, and nothing else', () => {
    const memory = make();
    expect(wn.Memory.from(memory)).toBe(memory);
    const clone = structuredClone(memory);
    expect(wn.Memory.from(clone)).toBe(clone);
    expect(clone).toBeInstanceOf(wn.Memory);
    clone.grow(1);
    expect(over(memory).size()).toBe(2);

    const bare = new SharedArrayBuffer(65536);
    const fixed = wn.Memory.from(bare);
    expect(fixed.buffer).toBe(bare);
    over(fixed).store(0, 3);
    expect(new Int32Array(bare)[0]).toBe(3);
    expect(fixed.grow(0)).toBe(1);
    expect(() => fixed.grow(1)).toThrow(RangeError);

    const others = [undefined, null, 1, {}, new ArrayBuffer(65536), new WebAssembly.Memory({ initial: 1 })];
    for (const other of others) expect(() => wn.Memory.from(other)).toThrow(TypeError);
    for (const length of [0, 1, 65535]) {
      expect(() => wn.Memory.from(new SharedArrayBuffer(length))).toThrow(RangeError);
    }
    expect(() => over(new WebAssembly.Memory({ initial: 1 }))).toThrow(wn.LinkError);
  });
});

describe('between threads', () => {
  test('a memory that was posted is the same bytes and the same size', async () => {
    const memory = make();
    const wasm = over(memory);
    const other = worker(
      `${IN_WORKER}
       exports.store(0, 11);
       post([exports.grow(1), data.memory instanceof wn.Memory, data.memory.buffer.byteLength]);
       await new Promise((resolve) => require('node:worker_threads').parentPort.once('message', resolve));
       post([exports.size(), exports.load8(4 * 65536 - 1), data.memory.buffer.byteLength]);`,
      { bytes, memory },
    );
    expect(await other.next()).toEqual([1, true, 2 * 65536]);
    expect([wasm.load(0), wasm.size()]).toEqual([11, 2]);
    expect(wasm.load8(2 * 65536 - 1)).toBe(0);
    memory.grow(2);
    other.postMessage('look');
    expect(await other.next()).toEqual([4, 0, 4 * 65536]);
    await other.terminate();
    // Its bytes outlive the thread.
    expect(wasm.add(0, 1)).toBe(11);
  });

  test('two threads count in one word', async () => {
    const memory = make();
    const wasm = over(memory);
    const other = worker(`${IN_WORKER} post('ready'); exports.count(0, 200000); post('done');`, {
      bytes,
      memory,
    });
    await other.next();
    wasm.count(0, 200000);
    expect(await other.next()).toBe('done');
    expect(wasm.load(0)).toBe(400000);
    await other.terminate();
  });

  test('wasm waits for wasm, and for Atomics.notify of JavaScript', async () => {
    const memory = make();
    const wasm = over(memory);
    const words = new Int32Array(memory.buffer);
    const other = worker(
      `${IN_WORKER}
       post('ready');
       post(exports.wait(0, 0, -1n));
       post(exports.wait64(8, 0n, -1n));
       post(exports.wait(0, 1, -1n));
       post(exports.wait(0, 0, 1000000n));`,
      { bytes, memory },
    );
    await other.next();
    const until = async (notify) => {
      for (let woken = 0; woken === 0; await new Promise(setImmediate)) woken = notify();
      return other.next();
    };
    expect(await until(() => Atomics.notify(words, 0))).toBe(0);
    expect(await until(() => wasm.notify(8, 1))).toBe(0);
    expect([await other.next(), await other.next()]).toEqual([1, 2]);
    expect([wasm.notify(0, -1), wasm.wait64(16, -1n, 0n), wasm.wait(0, 0, 1000n)]).toEqual([0, 1, 2]);
    await other.terminate();
  });

  test('JavaScript waits for wasm', async () => {
    const memory = make();
    const wasm = over(memory);
    const other = worker(
      `post('ready');
       post(Atomics.wait(new Int32Array(data.memory.buffer), 1, 0));`,
      { memory },
    );
    await other.next();
    let woken = 0;
    for (; woken === 0; await new Promise(setImmediate)) woken = wasm.notify(4, -1);
    expect(woken).toBe(1);
    expect(await other.next()).toBe('ok');
    await other.terminate();
  });

  test('a thread that waits in wasm can be terminated', async () => {
    const memory = make();
    const other = worker(`${IN_WORKER} post('ready'); exports.wait(0, 0, -1n); post('woken');`, {
      bytes,
      memory,
    });
    await other.next();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await other.terminate()).toBe(1);
    expect(over(memory).notify(0, -1)).toBe(0);
  });

  test('a module that was posted is compiled already, as glue for threads expects', async () => {
    const module = new wn.Module(bytes);
    const memory = make();
    // What Emscripten's and wasm-bindgen's workers do with what they are sent.
    const code = `
      globalThis.WebAssembly = wn;
      const { module, memory } = data;
      const instance = await WebAssembly.instantiate(module, { m: { memory } });
      post([
        instance instanceof WebAssembly.Instance,
        module instanceof WebAssembly.Module,
        WebAssembly.Module.exports(module).length,
        instance.exports.add(0, 1),
      ]);`;
    const workers = [1, 2, 3].map(() => worker(code, { module, memory }));
    const results = await Promise.all(workers.map((each) => each.next()));
    expect(results.map(([, , , count]) => count).sort()).toEqual([0, 1, 2]);
    for (const result of results) expect(result.slice(0, 3)).toEqual([true, true, 10]);
    const [compiled, copy] = [await wn.compile(bytes), structuredClone(module)];
    for (const each of [compiled, copy, structuredClone(structuredClone(module))]) {
      expect(new wn.Instance(each, { m: { memory } }).exports.load(0)).toBe(3);
      expect(each).toBeInstanceOf(wn.Module);
    }
    await Promise.all(workers.map((each) => each.terminate()));
  });

  test('threads end while all of it is alive', async () => {
    const text = `(module (import "m" "memory" (memory 1 10 shared)) (import "m" "f" (func $f))
      (tag $tag (param externref)) (table $kept 1 exnref) (table (export "t") 1 externref)
      (func (export "keep") (param externref) (local $exception exnref)
        (block $caught (result exnref)
          (try_table (catch_all_ref $caught) (throw $tag (local.get 0)))
          (return))
        (local.set $exception) (table.set $kept (i32.const 0) (local.get $exception)))
      (func (export "call") (call $f)))`;
    const module = new wn.Module(await wat(text));
    const memory = make();
    const code = `
      const f = () => { post('in wasm'); for (;;); };
      const { exports } = new wn.Instance(data.module, { m: { memory: data.memory, f } });
      exports.keep({ exports });
      exports.t.set(0, exports);
      if (data.spins) exports.call();
      post('ready');`;
    for (let round = 0; round < 10; round++) {
      const other = worker(code, { module, memory, spins: round % 2 === 1 });
      expect(await other.next()).toMatch(/ready|in wasm/);
      await other.terminate();
    }
    expect(memory.grow(1)).toBe(1);
  });

  test('the memory outlives the thread that made it', async () => {
    const other = worker(
      `const memory = new wn.Memory({ initial: 1, maximum: 10, shared: true });
       data.memory = memory;
       const { exports } = new wn.Instance(new wn.Module(data.bytes), { m: { memory } });
       exports.store(0, 77);
       post(memory);`,
      { bytes },
    );
    const memory = await other.next();
    const wasm = over(memory);
    await other.terminate();
    expect(wasm.load(0)).toBe(77);
    expect(wasm.grow(1)).toBe(1);
    wasm.store(65536, 78);
    expect(new Int32Array(memory.buffer)[16384]).toBe(78);
  });
});

describe("of a kind that V8 has none of, a module's shared memory", () => {
  const TEXT = `(module (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 88 99 shared)
    (data (i32.const 8) "shared\\00")
    (data (i32.const 16) "\\08\\00\\00\\00\\06\\00\\00\\00")
    (func (export "load") (param i32) (result i32) (i32.atomic.load (local.get 0)))
    (func (export "load8") (param i32) (result i32) (i32.load8_u (local.get 0)))
    (func (export "add") (param i32 i32) (result i32) (i32.atomic.rmw.add (local.get 0) (local.get 1)))
    (func (export "wait") (param i32 i32 i64) (result i32)
      (memory.atomic.wait32 (local.get 0) (local.get 1) (local.get 2)))
    (func (export "notify") (param i32) (result i32) (memory.atomic.notify (local.get 0) (i32.const -1)))
    (func (export "random") (param i32 i32) (result i32) (call $random (local.get 0) (local.get 1)))
    (func (export "print") (result i32)
      (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 0)))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "size") (result i32) (memory.size)))`;
  const COMMAND = `(module (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 88 99 shared)
    (data (i32.const 8) "shared\\00")
    (data (i32.const 16) "\\08\\00\\00\\00\\06\\00\\00\\00")
    (func (export "_start")
      (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))
      (drop (memory.atomic.wait32 (i32.const 0) (i32.const 1) (i64.const 1000)))
      (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 0)))))`;
  const IMPORTER = `(module (import "m" "memory" (memory 88 99 shared))
    (func (export "add") (param i32 i32) (result i32) (i32.atomic.rmw.add (local.get 0) (local.get 1))))`;
  let library;
  let command;
  let importer;
  beforeAll(async () => {
    [library, command, importer] = await Promise.all([TEXT, COMMAND, IMPORTER].map(bytewise));
  });

  const wasi = (options) => new wn.WASI({ version: 'preview1', returnOnExit: true, ...options });
  const make = (options) => wasi(options).instantiate(library);

  test('is atomic, grows by its pages, and wasm waits on it', async () => {
    const { load8, load, add, wait, notify, grow, size } = (await make()).exports;
    expect([add(0, 5), add(0, 5), load(0)]).toEqual([0, 5, 10]);
    expect([wait(0, 9, -1n), wait(0, 10, 1000n), notify(0)]).toEqual([1, 2, 0]);
    expect([size(), grow(3), grow(9), grow(8), size()]).toEqual([88, 88, -1, 91, 99]);
    expect(load8(98)).toBe(0);
    for (const place of [99, 65535, -1]) expect(() => load8(place)).toThrow(/out of bounds/);
  });

  test('is what its Memory grows and other instances of ours import', async () => {
    const { exports } = await make();
    const { memory } = exports;
    expect(memory).toBeInstanceOf(wn.Memory);
    expect(wn.Memory.from(memory)).toBe(memory);
    expect([memory.grow(2), exports.size()]).toEqual([88, 90]);
    expect(() => memory.grow(10)).toThrow(RangeError);
    const other = new wn.Instance(new wn.Module(importer), { m: { memory } });
    expect([other.exports.add(0, 3), exports.load(0)]).toEqual([0, 3]);
    const ofV8 = new wn.Memory({ initial: 1, maximum: 1, shared: true });
    expect(() => new wn.Instance(new wn.Module(importer), { m: { memory: ofV8 } })).toThrow(wn.LinkError);
  });

  test('has no buffer, and says why and what there is instead', async () => {
    const { exports } = await make();
    const error = thrownBy(() => exports.memory.buffer);
    expect(error.code).toBe('ERR_WASI_NO_BUFFER');
    expect(error.message).toMatch(/V8 has no shared memory with pages of 1 byte/);
    expect(error.message).toMatch(/instance\.memory\.read\(\)/);
    expect(exports.memory.toResizableBuffer).toBe(undefined);
    if (exports.memory.toFixedLengthBuffer !== undefined) {
      expect(thrownBy(() => exports.memory.toFixedLengthBuffer()).code).toBe('ERR_WASI_NO_BUFFER');
    }
    expect(thrownBy(() => structuredClone(exports.memory)).name).toBe('DataCloneError');
  });

  test.each(['instantiate', 'spawn'])('is read and written by the host: %s', async (how) => {
    const { instance } = await wasi()[how](library);
    const { memory } = instance;
    expect(memory.size).toBe(88);
    expect(memory.readString(8)).toBe('shared');
    expect(memory.write(80, Buffer.from([1, 2, 3, 4, 5, 6, 7, 8]))).toBe(8);
    expect(await instance.exports.load(84)).toBe(0x08070605);
    expect(memory.read(84, 4)).toEqual(Buffer.from([5, 6, 7, 8]));
    expect(memory.read(88, 0)).toHaveLength(0);
    for (const act of [() => memory.read(85, 4), () => memory.read(89, 0), () => memory.write(88, 'x')]) {
      expect(thrownBy(act).code).toBe('ERR_WASI_RANGE');
    }
    expect(await instance.exports.grow(1)).toBe(88);
    expect(memory.size).toBe(89);
    if (how === 'spawn') await instance.close();
  });

  test('is what WASI works on, for wasm and for JavaScript', async () => {
    const chunks = [];
    for (const stdout of ['pipe', (chunk) => chunks.push(Buffer.from(chunk))]) {
      const made = wasi({ stdout });
      const { exports, instance } = await made.instantiate(library);
      expect(exports.random(40, 40)).toBe(0);
      expect(instance.memory.read(40, 40).equals(Buffer.alloc(40))).toBe(false);
      expect([exports.random(60, 29), exports.print()]).toEqual([21, 0]);
      expect(made.wasiImport.fd_write(1, 16, 1, 0)).toBe(0);
      expect(made.wasiImport.random_get(60, 29)).toBe(21);
    }
    expect(Buffer.concat(chunks).toString()).toBe('sharedshared');
  });

  test('is there for start() and run()', async () => {
    const program = wasi({ stdout: 'pipe' });
    const { code, stdout } = await program.run(command);
    expect([code, stdout.toString()]).toEqual([0, 'shared']);
    const here = wasi({ stdout: 'pipe' });
    const instance = new wn.Instance(new wn.Module(command), here.getImportObject());
    expect(here.start(instance)).toBe(0);
    expect(here.takeOutput().stdout.toString()).toBe('shared');
  });

  test('counts against the limits', async () => {
    await expect(make({ limits: { memory: 87 } })).rejects.toMatchObject({ code: 'ERR_WASI_LIMIT' });
    const { exports } = await make({ limits: { memory: 90 } });
    expect([exports.grow(3), exports.grow(2)]).toEqual([-1, 88]);
  });

  test('ends a wait when the time of the call is over', async () => {
    const { instance } = await make();
    const error = thrownBy(() => instance.call('wait', [0, 0, -1n], { timeout: 50 }));
    expect(error.code).toBe('ERR_WASI_TIMEOUT');
    expect(instance.exports.wait(0, 0, 1000n)).toBe(2);
  });

  // In Bun a terminated Worker is only told between two turns of its loop.
  const inNode = process.versions.bun === undefined ? test : test.skip;
  inNode('ends a wait when its Worker ends, and not when that is only asked', async () => {
    const other = worker(
      `const { exports } = await new wn.WASI({ version: 'preview1' }).instantiate(data.library);
       post(exports.wait(0, 0, 200000000n));
       post('ready'); exports.wait(0, 0, -1n); post('woken');`,
      { library },
    );
    expect(await other.next()).toBe(2);
    await other.next();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await other.terminate()).toBe(1);
  });

  test('is there in a process without WebAssembly, with ordinary pages', async () => {
    const text = `(module (memory (export "memory") 1 4 shared)
      (func (export "add") (param i32 i32) (result i32) (i32.atomic.rmw.add (local.get 0) (local.get 1))))`;
    const { stdout, stderr } = child(
      `delete globalThis.WebAssembly;
       for (const key of Object.keys(require.cache)) delete require.cache[key];
       const { Instance, Module } = require(${JSON.stringify(PACKAGE)});
       const { add, memory } = new Instance(new Module(bytes.m)).exports;
       console.log(add(0, 2), add(0, 0), memory.grow(1));
       try { memory.buffer; } catch (error) { console.log(error.code, error.message); }`,
      { modules: { m: await wat(text) } },
    );
    expect(stderr).toBe('');
    expect(stdout).toMatch(/^0 2 1\nERR_WASI_NO_BUFFER .*this process has no WebAssembly of V8's/);
  });

  const hasWide = (() => {
    try {
      return new WebAssembly.Memory({ address: 'i64', initial: 0n }).grow(0n) === 0n;
    } catch {
      return false;
    }
  })();

  test('is there with 64-bit addresses, and larger than those of V8', async () => {
    const small = await bytewise(`(module (memory (export "memory") i64 88 99 shared)
      (func (export "add") (param i64 i32) (result i32) (i32.atomic.rmw.add (local.get 0) (local.get 1))))`);
    const { add, memory } = new wn.Instance(new wn.Module(small)).exports;
    expect([add(84n, 2), add(84n, 0), memory.grow(1n)]).toEqual([0, 2, 88n]);
    expect(() => add(88n, 0)).toThrow(/out of bounds/);
    expect(() => memory.buffer).toThrow(/no shared memory with pages of 1 byte/);

    // More than V8 has where it has none with addresses of 64 bits.
    const large = await wat(`(module (memory (export "memory") i64 65537 65538 shared)
      (func (export "add") (param i64 i32) (result i32) (i32.atomic.rmw.add (local.get 0) (local.get 1))))`);
    const wide = new wn.Instance(new wn.Module(large)).exports;
    const last = 65537n * 65536n - 4n;
    expect([wide.add(last, 2), wide.add(last, 0)]).toEqual([0, 2]);
    expect(() => wide.add(last + 4n, 0)).toThrow(/out of bounds/);
    let length;
    try {
      length = wide.memory.buffer.byteLength;
    } catch (error) {
      length = error.message;
    }
    expect(length).toEqual(
      hasWide ? 65537 * 65536 : expect.stringMatching(/no shared memory of 65537 pages/),
    );
  });
});

test('memories come and go, in whatever order their parts do', async () => {
  const { stdout, stderr } = child(
    `const module = new wn.Module(bytes.m);
     let gone = 0;
     const registry = globalThis.registry = new FinalizationRegistry(() => gone++);
     let kept;
     const make = () => {
       const memory = new wn.Memory({ initial: 1, maximum: 10, shared: true });
       registry.register(memory);
       const { exports } = new wn.Instance(module, { m: { memory } });
       exports.store(0, 5);
       // Only the function, or only the buffer, or nothing is kept.
       kept = [exports.load, memory.buffer][gone % 3];
     };
     for (let i = 0; i < 300; i++) {
       make();
       if (i % 20 === 0) {
         await new Promise(setImmediate);
         gc();
         if (typeof kept === 'function' && kept(0) !== 5) throw new Error('lost');
       }
     }
     for (let i = 0; i < 20 && gone < 290; i++) {
       await new Promise(setImmediate);
       gc();
     }
     console.log(gone >= 290);`,
    { flags: ['--expose-gc'], modules: { m: bytes } },
  );
  expect(stderr).toBe('');
  expect(stdout).toBe('true\n');
});

test('a process without WebAssembly has no shared memory and says so', async () => {
  const { stdout, stderr } = child(
    `delete globalThis.WebAssembly;
     for (const key of Object.keys(require.cache)) delete require.cache[key];
     const { Memory } = require(${JSON.stringify(PACKAGE)});
     try { new Memory({ initial: 1, maximum: 1, shared: true }); }
     catch (error) { console.log(error.name, error.message); }
     console.log(new Memory({ initial: 1 }).buffer.byteLength);`,
  );
  expect(stderr).toBe('');
  expect(stdout).toMatch(/^RangeError .*no shared memories\n65536\n$/);
});

test('the package may be loaded again when it has taken the place of WebAssembly', () => {
  const { stdout } = child(
    `globalThis.WebAssembly = wn;
     for (const key of Object.keys(require.cache)) delete require.cache[key];
     const again = require(${JSON.stringify(PACKAGE)});
     const memory = new again.Memory({ initial: 1, maximum: 2, shared: true });
     console.log(again !== wn, memory instanceof again.Memory, memory.buffer.byteLength);`,
  );
  expect(stdout).toBe('true true 65536\n');
});

test('thrown errors of bad receivers name the class', () => {
  const error = thrownBy(() => wn.Memory.prototype.grow.call({}, 1));
  expect(error.message).toMatch(/WebAssembly\.Memory\.grow\(\): the receiver must be/);
});
