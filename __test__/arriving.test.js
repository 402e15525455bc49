'use strict';
// What goes to other threads: modules and shared memories are there of their classes at once, whoever
// has let go of them; nothing else goes.

const { once } = require('node:events');
const v8 = require('node:v8');
const { BroadcastChannel, MessageChannel, Worker, receiveMessageOnPort } = require('node:worker_threads');
const wn = require('..');
const { PACKAGE, child, instance, wat } = require('./helpers');

let bytes;
beforeAll(async () => {
  bytes = await wat(`(module (import "e" "m" (memory 1 10 shared))
    (func (export "size") (result i32) (memory.size))
    (func (export "load") (param i32) (result i32) (i32.load (local.get 0))))`);
});

const make = () => ({
  module: new wn.Module(bytes),
  memory: new wn.Memory({ initial: 1, maximum: 10, shared: true }),
});
const isOurs = ({ module, memory }) => [module instanceof wn.Module, memory instanceof wn.Memory];

/** A Worker that has done no more than load the package. */
const worker = (code, options) =>
  new Worker(
    `const { parentPort, workerData, receiveMessageOnPort } = require('node:worker_threads');
     const wn = require(${JSON.stringify(PACKAGE)});
     const isOurs = ({ module, memory }) => [module instanceof wn.Module, memory instanceof wn.Memory];
     { ${code} }`,
    { eval: true, ...options },
  );

describe('a posted Module and shared Memory are of their classes at once', () => {
  const answer = async (worker) => {
    const [message] = await once(worker, 'message');
    await worker.terminate();
    return message;
  };

  test('cloned', () => {
    expect(isOurs(structuredClone(make()))).toEqual([true, true]);
  });

  test('through a MessagePort, in its event and received by hand', async () => {
    const { port1, port2 } = new MessageChannel();
    port1.postMessage(make());
    expect(isOurs(receiveMessageOnPort(port2).message)).toEqual([true, true]);
    const received = once(port2, 'message');
    port1.postMessage(make());
    expect(isOurs((await received)[0])).toEqual([true, true]);
    port1.close();
  });

  test('through a BroadcastChannel', async () => {
    const [from, to] = [new BroadcastChannel('arriving'), new BroadcastChannel('arriving')];
    const received = new Promise((resolve) => (to.onmessage = resolve));
    from.postMessage(make());
    expect(isOurs((await received).data)).toEqual([true, true]);
    from.close();
    to.close();
  });

  test('in the data and the messages of a Worker', async () => {
    const post = 'parentPort.postMessage';
    expect(await answer(worker(`${post}(isOurs(workerData))`, { workerData: make() }))).toEqual([true, true]);
    const other = worker(`parentPort.once('message', (given) => ${post}(isOurs(given)))`);
    other.postMessage(make());
    expect(await answer(other)).toEqual([true, true]);
  });

  test('as glue for threads takes them: a Module that is none is compiled, a Memory grows', async () => {
    const given = make();
    const code = `
      let { module, memory } = workerData;
      if (!(module instanceof wn.Module)) module = new wn.Module(module);
      memory.toResizableBuffer?.();
      const { exports } = new wn.Instance(module, { e: { m: memory } });
      new Int32Array(memory.buffer)[1] = 7;
      parentPort.postMessage([exports.load(4), memory.grow(1), exports.size()]);`;
    expect(await answer(worker(code, { workerData: given }))).toEqual([7, 1, 2]);
    expect(new wn.Instance(given.module, { e: { m: given.memory } }).exports.size()).toBe(2);
  });

  test('also for classes that extend ours', () => {
    class Own extends wn.Module {}
    const own = new Own(bytes);
    expect(own).toBeInstanceOf(Own);
    expect(structuredClone(own)).toBeInstanceOf(wn.Module);
    expect(structuredClone(own)).not.toBeInstanceOf(Own);
    expect(new wn.Module(bytes)).not.toBeInstanceOf(Own);
  });

  test("and V8's stay V8's", () => {
    const v8Module = new WebAssembly.Module(bytes);
    const v8Memory = new WebAssembly.Memory({ initial: 1, maximum: 2, shared: true });
    expect(v8Module).not.toBeInstanceOf(wn.Module);
    // It is taken wherever ours is.
    expect(v8Memory).toBeInstanceOf(wn.Memory);
    expect(Object.getPrototypeOf(v8Memory)).toBe(WebAssembly.Memory.prototype);
    for (const other of [
      undefined,
      null,
      1,
      {},
      new SharedArrayBuffer(8),
      new WebAssembly.Memory({ initial: 1 }),
    ]) {
      expect(other).not.toBeInstanceOf(wn.Module);
      expect(other).not.toBeInstanceOf(wn.Memory);
    }
  });

  const hasWide = (() => {
    try {
      return new WebAssembly.Memory({ address: 'i64', initial: 0n }).grow(0n) === 0n;
    } catch {
      return false;
    }
  })();
  // Without such memories V8 has none that could arrive.
  (hasWide ? test : test.skip)('with BigInts, if its addresses are 64 bits wide', () => {
    const memory = new wn.Memory({ address: 'i64', initial: 1n, maximum: 3n, shared: true });
    const clone = structuredClone(memory);
    // V8's own code, before ours has seen the clone.
    expect(clone.grow(1n)).toBe(1n);
    expect(clone).toBeInstanceOf(wn.Memory);
    expect(clone.grow(1n)).toBe(2n);
    expect(memory.buffer.byteLength).toBe(3 * 65536);
  });
});

test("V8's new memories are V8's, also where one was that an ended Worker had", async () => {
  for (let k = 0; k < 10; k++) {
    const ended = worker("parentPort.postMessage('there')", { workerData: make() });
    await once(ended, 'message');
    await ended.terminate();
    globalThis.Bun?.gc(true);
    const theirs = Array.from({ length: 10 }, () => {
      const memory = new WebAssembly.Memory({ initial: 1, maximum: 2, shared: true });
      expect(memory).toBeInstanceOf(wn.Memory);
      return memory;
    });
    for (const memory of theirs) expect(Object.getPrototypeOf(memory)).toBe(WebAssembly.Memory.prototype);
  }
});

describe('a posted Module is there though nobody else has it', () => {
  test('dropped while the message was on its way', () => {
    const { stdout, stderr } = child(
      `const { MessageChannel, receiveMessageOnPort } = require('node:worker_threads');
       const { port1, port2 } = new MessageChannel();
       (() => port1.postMessage(new wn.Module(bytes.m)))();
       for (let i = 0; i < 10; i++) {
         await new Promise(setImmediate);
         gc();
       }
       const { message } = receiveMessageOnPort(port2);
       console.log(message instanceof wn.Module, wn.Module.exports(message).length);
       const memory = new wn.Memory({ initial: 2, maximum: 3, shared: true });
       console.log(new wn.Instance(message, { e: { m: memory } }).exports.size());
       port1.close();`,
      { flags: ['--expose-gc'], modules: { m: bytes } },
    );
    expect([stdout, stderr]).toEqual(['true 2\n2\n', '']);
  });

  test('made by a Worker that has ended', async () => {
    const made = worker(`parentPort.postMessage(new wn.Module(workerData, { fuel: true }))`, {
      workerData: bytes,
    });
    const [[module]] = await Promise.all([once(made, 'message'), once(made, 'exit')]);
    expect(module).toBeInstanceOf(wn.Module);
    expect(wn.Module.imports(module)).toEqual([{ module: 'e', name: 'm', kind: 'memory' }]);
    expect(Buffer.from(wn.Module.customSections(module, 'name')[0] ?? []).length).toBeGreaterThan(0);
  });
});

test('nothing else is cloned or posted', async () => {
  const tag = new wn.Tag({ parameters: [] });
  const inst = await instance(
    '(module (memory (export "m") 1) (table (export "t") 1 funcref) (func (export "f")))',
  );
  const { m, t, f } = inst.exports;
  class Own extends wn.Global {}
  const things = [
    new wn.Memory({ initial: 1 }),
    new wn.Table({ element: 'anyfunc', initial: 1 }),
    new wn.Global({ value: 'i32' }),
    inst,
    tag,
    new wn.Exception(tag, []),
    m,
    t,
    f,
    wn.JSTag,
    new Own({ value: 'i32' }),
  ];
  const { port1 } = new MessageChannel();
  for (const thing of things) {
    for (const give of [structuredClone, (value) => port1.postMessage({ nested: [value] })]) {
      expect(() => give(thing)).toThrow(expect.objectContaining({ name: 'DataCloneError' }));
    }
    expect(() => v8.serialize(thing)).toThrow(/(could|can) not be cloned/);
    // Users see ordinary objects. Only a memory has a property of its own where V8's have the method: it
    // hides the one that it cannot have.
    const hidden = 'toResizableBuffer' in thing ? ['toResizableBuffer'] : [];
    if (typeof thing !== 'function') expect(Reflect.ownKeys(thing)).toEqual(hidden);
  }
  expect(new Own({ value: 'i32' }, 4).value).toBe(4);
  port1.close();
});

// Where V8 has no such buffers there is nothing to grow.
const growable = WebAssembly.Memory.prototype.toResizableBuffer === undefined ? test.skip : test;
growable('a shared memory has buffers that grow with it, where V8 has them', () => {
  const { memory, module } = make();
  const buffer = memory.toResizableBuffer();
  expect([buffer.growable, buffer.maxByteLength, memory.buffer === buffer]).toEqual([true, 655360, true]);
  const { size } = new wn.Instance(module, { e: { m: memory } }).exports;
  memory.grow(1);
  expect([buffer.byteLength, size()]).toEqual([131072, 2]);
  const clone = structuredClone(memory);
  expect(new wn.Instance(module, { e: { m: clone } }).exports.size()).toBe(2);
  expect(wn.Memory.from(structuredClone(memory)).grow(1)).toBe(2);
  expect(memory.toFixedLengthBuffer().growable).toBe(false);
  // Only V8 can make one, and this memory is not V8's.
  expect(new wn.Memory({ initial: 1, maximum: 2 }).toResizableBuffer).toBe(undefined);
  expect(new wn.Memory({ initial: 1 }).toFixedLengthBuffer().byteLength).toBe(65536);
  expect(typeof wn.Memory.prototype.toResizableBuffer).toBe('function');
});
