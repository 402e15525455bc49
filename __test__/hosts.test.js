'use strict';
// What a host of plugins wants of its instances, of those on this thread and of those with threads of
// their own.

const wn = require('..');
const { wat } = require('./helpers');

const wasi = (options) => new wn.WASI({ version: 'preview1', ...options });

const rejection = (promise) =>
  Promise.resolve(promise).then(
    () => {
      throw new Error('it resolved');
    },
    (error) => error,
  );

/** What a call comes to fail with, thrown or rejected. */
const failure = (call) => rejection((async () => call())());

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const PLUGIN = `(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (memory (export "memory") 2 20)
  (table (export "table") 3 20 funcref)
  (global $n (mut i32) (i32.const 1))
  (data (i32.const 16) "a greeting\\00")
  (data $late "late")
  (elem (i32.const 0) $one)
  (elem $passive func $two)
  (type $i (func (result i32)))
  (func $one (result i32) (i32.const 1))
  (func $two (result i32) (i32.const 2))
  (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
  (func (export "ask") (param i32) (result i32) (call $ask (local.get 0)))
  (func (export "spin") (loop (br 0)))
  (func (export "recurse") (param i32) (result i32) (i32.add (call $one) (call $deep (local.get 0))))
  (func $deep (param i32) (result i32)
    (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 0))
      (else (call $deep (i32.sub (local.get 0) (i32.const 1))))))
  (func (export "sleep") (result i32)
    (i32.store8 (i32.const 1008) (i32.const 0))
    (i32.store (i32.const 1016) (i32.const 1))
    (i64.store (i32.const 1024) (i64.const 3600000000000))
    (call $poll (i32.const 1000) (i32.const 1100) (i32.const 1) (i32.const 1200)))
  (func (export "count") (result i32)
    (global.set $n (i32.add (global.get $n) (i32.const 1))) (global.get $n))
  (func (export "get") (param i32) (result i32) (i32.load8_u (local.get 0)))
  (func (export "spoil")
    (memory.fill (i32.const 0) (i32.const 255) (i32.const 131072))
    (drop (memory.grow (i32.const 3)))
    (i32.store (i32.const 200000) (i32.const -1))
    (drop (table.grow (ref.func $two) (i32.const 4)))
    (table.set (i32.const 0) (ref.func $two))
    (global.set $n (i32.const 77))
    (data.drop $late) (elem.drop $passive))
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "size") (result i32) (memory.size))
  (func (export "tableSize") (result i32) (table.size 0))
  (func (export "first") (result i32) (call_indirect (type $i) (i32.const 0)))
  (func (export "late") (result i32)
    (memory.init $late (i32.const 0) (i32.const 0) (i32.const 4))
    (table.init $passive (i32.const 1) (i32.const 0) (i32.const 1))
    (i32.load8_u (i32.const 0))))`;

/** Both kinds of instance. */
const KINDS = [
  ['an instance on this thread', (program, ...rest) => program.instantiate(...rest)],
  ['an instance with a thread of its own', (program, ...rest) => program.spawn(...rest)],
];

const plugin = async (make, { ask = (value) => value, data, ...options } = {}) => {
  const module = await wn.compile(await wat(PLUGIN), { fuel: true });
  const made = await make(wasi(options), module, { env: { ask } }, { data });
  return made.instance;
};

describe.each(KINDS)('%s', (_, make) => {
  test('a call that takes too long is ended, and the instance goes on', async () => {
    const instance = await plugin(make);
    for (const [name, args] of [
      ['spin', []],
      ['sleep', []],
    ]) {
      const error = await failure(() => instance.call(name, args, { timeout: 30 }));
      expect(error).toMatchObject({ code: 'ERR_WASI_TIMEOUT' });
      expect(error.message).toMatch(`"${name}" did not end within 30 ms`);
      expect(error.cause).toBeInstanceOf(wn.RuntimeError);
      expect(await instance.call('add', [1, 2], { timeout: 10_000 })).toBe(3);
      expect(await instance.exports.add(3, 4)).toBe(7);
    }
    // Those that end in time leave nothing behind.
    for (let k = 0; k < 20; k++) await instance.call('add', [k, 1], { timeout: 500 });
    await pause(600);
    expect(await instance.exports.add(1, 1)).toBe(2);
    instance.close();
  });

  test('a signal ends a call', async () => {
    const controller = new AbortController();
    const instance = await plugin(make, { ask: () => (controller.abort('enough'), 0) });
    const before = await failure(() => instance.call('add', [1, 2], { signal: AbortSignal.abort('no') }));
    expect(before).toMatchObject({ name: 'AbortError', cause: 'no' });
    const error = await failure(() => instance.call('ask', [1], { signal: controller.signal }));
    expect(error).toMatchObject({ name: 'AbortError', code: 'ABORT_ERR', cause: 'enough' });
    expect(await instance.call('add', [1, 2], { signal: new AbortController().signal })).toBe(3);
    instance.close();
  });

  test('each call has its own fuel', async () => {
    const instance = await plugin(make);
    for (let round = 0; round < 3; round++) {
      const error = await failure(() => instance.call('spin', [], { fuel: 10_000 }));
      expect(error).toMatchObject({ code: 'ERR_WASI_LIMIT' });
      expect(error).toBeInstanceOf(wn.RuntimeError);
      expect(await instance.call('recurse', [50], { fuel: 10_000 })).toBe(1);
    }
    expect(await failure(() => instance.call('recurse', [50], { fuel: 100 }))).toMatchObject({
      code: 'ERR_WASI_LIMIT',
    });
    expect(await instance.exports.recurse(50)).toBe(1);
    instance.close();
  });

  test('fuel wants a module that counts', async () => {
    const module = await wn.compile(await wat('(module (func (export "f")))'));
    const { instance } = await make(wasi(), module);
    const error = await failure(() => instance.call('f', [], { fuel: 5 }));
    expect(error).toMatchObject({ code: 'ERR_WASI_OPTION' });
    expect(error.message).toMatch(/fuel: true/);
    instance.close();
  });

  test('what call() is given is checked', async () => {
    const instance = await plugin(make);
    expect((await failure(() => instance.call('nothing'))).message).toMatch(/it exports add, ask.*'nothing'/);
    expect((await failure(() => instance.call('memory'))).message).toMatch(/no exported function/);
    expect((await failure(() => instance.call('add', 5))).code).toBe('ERR_INVALID_ARG_TYPE');
    expect((await failure(() => instance.call('add', [], { timout: 5 }))).message).toMatch(
      /did you mean "timeout"/,
    );
    expect((await failure(() => instance.call('add', [], { fuel: -1 }))).code).toBe('ERR_OUT_OF_RANGE');
    instance.close();
  });

  test('imports shared by many instances learn which one calls, its memory and its data', async () => {
    const module = await wn.compile(await wat(PLUGIN), { fuel: true });
    const seen = [];
    const env = {
      ask: (pointer) => {
        const instance = wn.caller();
        const name = instance.memory.readString(pointer);
        instance.memory.write(16, `${name[0]}${instance.data.id}`);
        seen.push(instance);
        return instance.data.id;
      },
    };
    const program = wasi();
    const instances = [];
    for (let id = 0; id < 20; id++) {
      const { instance } = await make(program, module, { env }, { data: { id } });
      instances.push(instance);
    }
    const results = await Promise.all(instances.map((instance) => instance.call('ask', [16])));
    expect(results).toEqual(instances.map(({ data }) => data.id));
    expect(new Set(seen)).toEqual(new Set(instances));
    instances.forEach(({ memory, data }) => expect(memory.readString(16)).toMatch(`a${data.id}`));
    expect(wn.caller()).toBe(undefined);
    instances[0].data = 'other';
    expect(instances[0].data).toBe('other');
    instances.forEach((instance) => instance.close());
  });

  test('its start function has a caller, too', async () => {
    let seen;
    const module = await wn.compile(await wat('(module (import "env" "f" (func $f)) (start $f))'));
    const { instance } = await make(
      wasi(),
      module,
      { env: { f: () => (seen = wn.caller().data) } },
      { data: 7 },
    );
    expect(seen).toBe(7);
    instance.close();
  });

  test('memory is read and written in one way', async () => {
    const made = await plugin(make);
    expect(made.memory.size).toBe(131072);
    expect(made.memory.readString(16)).toBe('a greeting');
    expect(made.memory.readString(16, 5)).toBe('a gre');
    expect(made.memory.readString(16, 2, 'hex')).toBe('6120');
    expect(made.memory.read(16, 3)).toEqual(Buffer.from('a g'));
    expect(made.memory.write(100, 'für')).toBe(4);
    expect(made.memory.write(104, Uint16Array.of(0x6261))).toBe(2);
    expect(made.memory.readString(100)).toBe('fürab');
    expect(await made.call('get', [104])).toBe(0x61);
    // A copy: what is read stays.
    const copy = made.memory.read(16, 1);
    made.memory.write(16, 'b');
    expect(copy.toString()).toBe('a');
    made.memory.write(131072 - 300, Buffer.alloc(300, 'x'));
    expect(() => made.memory.readString(131072 - 300)).toThrow(/no NUL/);
    for (const wrong of [() => made.memory.read(131070, 3), () => made.memory.write(131071, 'ab')]) {
      expect(wrong).toThrow(expect.objectContaining({ name: 'RangeError', code: 'ERR_WASI_RANGE' }));
      expect(wrong).toThrow(/131072 bytes/);
    }
    expect(() => made.memory.read(-16, 1)).toThrow(/signed/);
    expect(() => made.memory.write(0, 5)).toThrow(TypeError);
    made.close();
  });

  test('reset() brings back what it was when it was made', async () => {
    const instance = await plugin(make);
    for (let round = 0; round < 3; round++) {
      expect(await instance.call('late')).toBe('l'.charCodeAt(0));
      await instance.call('spoil');
      expect(await instance.call('size')).toBe(5);
      expect(await failure(() => instance.call('late'))).toBeInstanceOf(wn.RuntimeError);
      expect(await instance.call('first')).toBe(2);
      await instance.reset();
      expect(instance.memory.size).toBe(131072);
      expect(instance.memory.readString(16)).toBe('a greeting');
      expect(instance.memory.read(0, 16)).toEqual(Buffer.alloc(16));
      expect(instance.memory.read(27, 131072 - 27).every((byte) => byte === 0)).toBe(true);
      expect(await instance.call('size')).toBe(2);
      expect(await instance.call('tableSize')).toBe(3);
      expect(await instance.call('first')).toBe(1);
      expect(await instance.call('count')).toBe(2);
      // What grows again is zero.
      expect(await instance.call('grow', [3])).toBe(2);
      expect(await instance.call('get', [200000])).toBe(0);
      await instance.reset();
    }
    instance.close();
  });

  test('reset() goes back to after _initialize, which does not run again', async () => {
    let asked = 0;
    const module = await wn.compile(
      await wat(`(module (import "env" "ask" (func $ask (result i32)))
        (memory (export "memory") 3)
        (global $n (mut i32) (i32.const 0))
        (func (export "_initialize")
          (global.set $n (call $ask)) (i32.store (i32.const 70000) (i32.const 5))
          (i32.store (i32.const 4095) (i32.const -1)) (drop (memory.grow (i32.const 1))))
        (func (export "set") (global.set $n (i32.const 9)) (i32.store (i32.const 70000) (i32.const 9))
          (memory.fill (i32.const 100000) (i32.const 1) (i32.const 162144)))
        (func (export "get") (result i32 i32 i32)
          (global.get $n) (i32.load (i32.const 70000)) (i32.load (i32.const 4095)))
        (func (export "sum") (result i32) (i32.add (i32.load (i32.const 100000)) (i32.load (i32.const 262140)))))`),
    );
    const { instance } = await make(wasi(), module, { env: { ask: () => ++asked } });
    for (let round = 0; round < 3; round++) {
      expect(await instance.call('get')).toEqual([1, 5, -1]);
      await instance.call('set');
      expect(await instance.call('get')).toEqual([9, 9, -1]);
      await instance.reset();
      expect(instance.memory.size).toBe(4 * 65536);
      expect(await instance.call('sum')).toBe(0);
    }
    expect(asked).toBe(1);
    instance.close();
  });

  test('after a call that was ended, reset() makes it whole', async () => {
    const instance = await plugin(make);
    await instance.call('spoil');
    await failure(() => instance.call('spin', [], { timeout: 10 }));
    await instance.reset();
    expect(await instance.call('count')).toBe(2);
    instance.close();
    expect(await failure(() => instance.reset())).toMatchObject({ code: 'ERR_WASI_CLOSED' });
  });

  test('it is not reset while it runs', async () => {
    const errors = [];
    const instance = await plugin(make, {
      ask: async () => {
        errors.push(await failure(() => wn.caller().reset()));
        return 5;
      },
    });
    await Promise.resolve()
      .then(() => instance.call('ask', [0]))
      .catch(() => {});
    await pause(1);
    expect(errors[0]).toMatchObject({ code: 'ERR_WASI_BUSY' });
    instance.close();
  });

  test('host values that its first state holds are there after reset()', async () => {
    const module = await wn.compile(
      await wat(`(module (import "env" "value" (func $value (result externref)))
        (global $g (mut externref) (ref.null extern)) (memory (export "memory") 1)
        (func (export "_initialize") (global.set $g (call $value)))
        (func (export "set") (param externref) (global.set $g (local.get 0)))
        (func (export "get") (result externref) (global.get $g)))`),
    );
    const first = { first: true };
    const { instance } = await make(wasi(), module, { env: { value: () => first } });
    await instance.call('set', [{}]);
    for (let k = 0; k < 5000; k++) await instance.call('set', [{ k }]);
    await instance.reset();
    expect(await instance.call('get')).toBe(first);
    instance.close();
  });
});

describe('an instance with a thread of its own', () => {
  const spawn = (options) => plugin((program, ...rest) => program.spawn(...rest), options);

  test('a call that waits its turn is ended without disturbing the one before', async () => {
    const settle = [];
    const instance = await spawn({ ask: () => new Promise((resolve) => settle.push(resolve)) });
    const first = instance.call('ask', [1]);
    const second = failure(() => instance.call('add', [1, 2], { timeout: 20 }));
    expect(await second).toMatchObject({ code: 'ERR_WASI_TIMEOUT' });
    settle[0](42);
    expect(await first).toBe(42);
    instance.close();
  });

  test('a call that waits for an import is ended, and what the import does later harms nobody', async () => {
    const settle = [];
    const later = [];
    const instance = await spawn({
      ask: async (value) => {
        const self = wn.caller();
        await new Promise((resolve) => settle.push(resolve));
        later.push(self.call('add', [value, 1]));
        if (value === 2) throw new Error('too late');
        return value;
      },
    });
    for (const value of [1, 2]) {
      const error = await failure(() => instance.call('ask', [value], { timeout: 20 }));
      expect(error.code).toBe('ERR_WASI_TIMEOUT');
    }
    expect(await instance.call('add', [1, 1])).toBe(2);
    settle.forEach((resolve) => resolve());
    await pause(1);
    expect(await Promise.all(later)).toEqual([2, 3]);
    expect(await instance.call('add', [2, 2])).toBe(4);
    instance.close();
  });

  test('of two nested calls the inner one alone is ended, or both', async () => {
    const ended = [];
    const instance = await spawn({
      ask: async (value) => {
        const inner = failure(() => wn.caller().call('spin', [], { timeout: value === 1 ? 20 : 10_000 }));
        ended.push(inner);
        await inner;
        return 7;
      },
    });
    expect(await instance.call('ask', [1])).toBe(7);
    expect((await ended[0]).code).toBe('ERR_WASI_TIMEOUT');
    const outer = await failure(() => instance.call('ask', [2], { timeout: 30 }));
    expect(outer.code).toBe('ERR_WASI_TIMEOUT');
    expect(await ended[1]).toBeInstanceOf(wn.RuntimeError);
    expect(await instance.call('add', [1, 1])).toBe(2);
    instance.close();
  });

  test('calls are ended at any moment, and what follows is done', async () => {
    const instance = await spawn();
    for (let round = 0; round < 100; round++) {
      const controller = new AbortController();
      const call = failure(() => instance.call('spin', [], { signal: controller.signal }));
      const next = instance.call('add', [round, 1]);
      if (round % 3 === 0) await pause(round % 5);
      controller.abort();
      expect((await call).name).toBe('AbortError');
      expect(await next).toBe(round + 1);
    }
    instance.close();
  });

  test('its fuel is told and filled up', async () => {
    const instance = await spawn({ limits: { fuel: 5000 } });
    expect(instance.fuel).toBe(5000);
    await instance.call('recurse', [10]);
    const left = instance.fuel;
    expect(left).toBeGreaterThan(4000);
    expect(left).toBeLessThan(5000);
    expect(await failure(() => instance.call('spin'))).toMatchObject({ code: 'ERR_WASI_LIMIT' });
    expect(instance.fuel).toBe(0);
    expect(await failure(() => instance.call('add', [1, 2], { fuel: 1000 }))).toMatchObject({
      code: 'ERR_WASI_LIMIT',
    });
    instance.fuel = 5000;
    expect(instance.fuel).toBe(5000);
    await instance.call('recurse', [10]);
    expect(instance.fuel).toBe(left);
    // A call's own fuel comes out of it.
    await failure(() => instance.call('spin', [], { fuel: 1000 }));
    expect(instance.fuel).toBeLessThanOrEqual(left - 1000);
    expect(instance.fuel).toBeGreaterThan(left - 1100);
    instance.fuel = Infinity;
    expect(instance.fuel).toBe(Infinity);
    expect(() => (instance.fuel = 'much')).toThrow(TypeError);
    instance.close();
    expect((await spawn()).fuel).toBe(Infinity);
  });

  test('the exported memory says that it has no buffer', async () => {
    const instance = await spawn();
    expect(() => instance.exports.memory.buffer).toThrow(/read\(\)/);
    expect(instance.exports.memory).toBe(instance.memory);
    instance.close();
  });

  test('reset() comes in its turn', async () => {
    const instance = await spawn();
    const results = await Promise.all([
      instance.call('count'),
      instance.call('count'),
      instance.reset(),
      instance.call('count'),
    ]);
    expect(results).toEqual([2, 3, undefined, 2]);
    instance.close();
  });

  test('reset() closes the descriptors that it opened, and opens again those that it closed', async () => {
    const module = await wn.compile(
      await wat(`(module
        (import "wasi_snapshot_preview1" "path_open"
          (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
        (memory (export "memory") 1) (data (i32.const 0) "f")
        (func (export "open") (result i32)
          (if (result i32)
            (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0)
              (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 16))
            (then (i32.const -1)) (else (i32.load (i32.const 16)))))
        (func (export "close") (param i32) (result i32) (call $close (local.get 0))))`),
    );
    const fs = new wn.MemoryFS({ files: { f: 'text' } });
    const { instance } = await wasi({ preopens: { '/': fs } }).spawn(module);
    for (let round = 0; round < 3; round++) {
      expect(await instance.call('open')).toBe(4);
      expect(await instance.call('open')).toBe(5);
      expect(await instance.call('close', [3])).toBe(0);
      expect(await instance.call('open')).toBe(-1);
      await instance.reset();
    }
    instance.close();
  });

  test('imports of run() learn of their program', async () => {
    const module = await wn.compile(
      await wat(`(module (import "env" "log" (func $log (param i32)))
        (memory (export "memory") 1) (data (i32.const 8) "hello\\00")
        (func (export "_start") (call $log (i32.const 8))))`),
    );
    const texts = [];
    const env = { log: (pointer) => void texts.push(wn.caller().memory.readString(pointer)) };
    await wasi().run(module, { imports: { env } });
    expect(texts).toEqual(['hello']);
  });
});

describe('an instance on this thread', () => {
  const make = (options) => plugin((program, ...rest) => program.instantiate(...rest), options);

  test('a call inside of another has its own time and fuel, and no more than that', async () => {
    let inner;
    const codes = [];
    const instance = await make({
      ask: (value) => {
        try {
          inner.call('spin', [], value === 1 ? { timeout: 10 } : { timeout: 60_000, fuel: 1e12 });
        } catch (error) {
          codes.push(error.code);
        }
        return 3;
      },
    });
    inner = await make();
    expect(instance.call('ask', [1], { timeout: 60_000 })).toBe(3);
    expect(await failure(() => instance.call('ask', [2], { timeout: 30 }))).toMatchObject({
      code: 'ERR_WASI_TIMEOUT',
    });
    instance.call('ask', [2], { fuel: 5000 });
    expect(codes).toEqual(['ERR_WASI_TIMEOUT', 'ERR_WASI_TRAP', 'ERR_WASI_LIMIT']);
    expect(inner.call('add', [1, 2])).toBe(3);
    expect(instance.call('add', [1, 2])).toBe(3);
  });

  test('a promise of an import is an error that says what to do', async () => {
    const instance = await make({ ask: async () => 5 });
    const error = await failure(() => instance.exports.ask(1));
    expect(error).toMatchObject({ name: 'TypeError', code: 'ERR_WASI_ASYNC_IMPORT' });
    expect(error.message).toMatch(/wasi\.spawn\(\)/);
    expect(instance.exports.add(1, 2)).toBe(3);
    // The interface of WebAssembly has it otherwise.
    const text =
      '(module (import "env" "f" (func $f (result i32))) (func (export "f") (result i32) (call $f)))';
    const plain = new wn.Instance(await wn.compile(await wat(text)), { env: { f: async () => 5 } });
    expect(plain.exports.f()).toBe(0);
  });

  test('the state of a growing memory comes back where JavaScript has seen it', async () => {
    const instance = await make();
    const small = instance.exports.memory.buffer;
    await instance.call('grow', [2]);
    const { buffer } = instance.exports.memory;
    new Uint8Array(buffer).fill(7);
    instance.reset();
    expect(buffer.byteLength).toBe(0);
    expect(small.byteLength).toBe(0);
    expect(instance.exports.memory.buffer.byteLength).toBe(131072);
    expect(instance.exports.table.length).toBe(3);
    const same = instance.exports.memory.buffer;
    instance.reset();
    expect(instance.exports.memory.buffer).toBe(same);
    expect(same.byteLength).toBe(131072);
  });
});

test('what JavaScript has of a memory that grew outlives reset(), also what it has taken away', async () => {
  const modules = {
    plugin: await wat(PLUGIN),
    other: await wat(`(module (import "env" "memory" (memory 1))
      (func (export "get") (param i32) (result i32) (i32.load8_u (local.get 0))))`),
  };
  const code = `
    const wasi = new wn.WASI({ version: 'preview1' });
    const { instance } = wasi.instantiateSync(bytes.plugin, { env: { ask: (x) => x } });
    const other = new wn.Instance(new wn.Module(bytes.other), { env: { memory: instance.exports.memory } });
    /** Takes the bytes of a buffer, if the runtime lets it. */
    const take = async (buffer) => {
      try {
        if (buffer.transfer) return new Uint8Array(buffer.transfer());
        const stream = new ReadableStream({ type: 'bytes', start: (c) => (c.enqueue(new Uint8Array(buffer)), c.close()) });
        return (await stream.getReader().read()).value;
      } catch {
        return new Uint8Array(buffer);
      }
    };
    const { randomFill } = require('node:crypto');
    const kept = [];
    for (let round = 0; round < 30; round++) {
      instance.call('grow', [10]);
      const { buffer } = instance.exports.memory;
      new Uint8Array(buffer).fill(7, 131072);
      // A thread of the pool is at work on it meanwhile.
      const filled = new Promise((resolve) => randomFill(new Uint8Array(buffer, 131072), resolve));
      const taken = await take(buffer);
      kept.push(taken);
      instance.reset();
      let sum = 0;
      for (const bytes of kept.slice(-5)) sum += bytes.length > 0 ? bytes.at(-1) : 0;
      const outside = (call) => { try { call(); return false; } catch (e) { return e instanceof wn.RuntimeError; } };
      if (!outside(() => instance.call('get', [131072])) || !outside(() => other.exports.get(700000))) throw new Error('inside');
      if (instance.memory.readString(16) !== 'a greeting' || other.exports.get(16) !== 97) throw new Error('lost');
      if (instance.call('grow', [1]) !== 2 || other.exports.get(131072) !== 0) throw new Error('not zero');
      instance.reset();
      await filled;
    }
    console.log('done');`;
  const { child } = require('./helpers');
  const { stdout, stderr, signal } = child(code, { modules });
  expect({ stdout, stderr, signal }).toEqual({ stdout: 'done\n', stderr: '', signal: null });
});

describe('output', () => {
  const PRINTS = `(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 2)
    (data (i32.const 100) "0123456789\\n")
    (func $puts (param i32)
      (i32.store (i32.const 0) (i32.const 100)) (i32.store (i32.const 4) (i32.const 11))
      (drop (call $write (local.get 0) (i32.const 0) (i32.const 1) (i32.const 8))))
    (func (export "print") (param i32)
      (loop $next
        (call $puts (i32.const 1))
        (br_if $next (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
    (func (export "endless") (loop $next (call $puts (i32.const 2)) (br $next)))
    (func (export "big") (result i32)
      (i32.store (i32.const 0) (i32.const 100)) (i32.store (i32.const 4) (i32.const 130000))
      (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
      (i32.load (i32.const 8))))`;
  const START = PRINTS.replace('"endless"', '"_start"');
  const LINE = '0123456789\n';

  test('over its limit ends a program, and what there was is told', async () => {
    const options = { stderr: 'pipe', limits: { output: 1000 } };
    const check = (error) => {
      expect(error).toMatchObject({ name: 'RangeError', code: 'ERR_WASI_LIMIT' });
      expect(error.message).toMatch(/stderr .* 1000 bytes \(limits\.output\)/);
    };
    const bytes = await wat(START);
    const ran = await rejection(wasi(options).run(bytes));
    check(ran);
    expect(ran.stderr.toString()).toBe(LINE.repeat(91).slice(0, 1000));
    const started = wasi(options);
    const error = await failure(() =>
      started.start(new wn.Instance(new wn.Module(bytes), started.getImportObject())),
    );
    check(error);
    expect(error.stderr).toHaveLength(1000);
    expect(started.takeOutput().stderr).toEqual(error.stderr);
    const v8 = wasi(options);
    const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), v8.getImportObject());
    check(await failure(() => v8.start(instance)));
  });

  test.each(KINDS)('over its limit ends a call of %s', async (_, make) => {
    const program = wasi({ stdout: 'pipe', stderr: 'pipe', limits: { output: 1000 } });
    const { instance } = await make(program, await wat(PRINTS));
    const taker = typeof instance.takeOutput === 'function' ? instance : program;
    expect(await failure(() => instance.call('endless'))).toMatchObject({ code: 'ERR_WASI_LIMIT' });
    await instance.call('print', [3]);
    const { stdout, stderr } = taker.takeOutput();
    expect(stdout.toString()).toBe(LINE.repeat(3));
    expect(stderr).toHaveLength(1000);
    // There is room again.
    await instance.call('print', [90]);
    expect(taker.takeOutput()).toEqual({ stdout: Buffer.from(LINE.repeat(90)), stderr: Buffer.alloc(0) });
    instance.close();
  });

  test('of an exact fit is no error', async () => {
    const { instance } = await wasi({ stdout: 'pipe', limits: { output: 110 } }).spawn(await wat(PRINTS));
    await instance.call('print', [10]);
    expect(instance.takeOutput().stdout).toHaveLength(110);
    instance.close();
  });

  test('to a function has no limit', async () => {
    const bytes = await wat(PRINTS);
    for (const [, make] of KINDS) {
      let length = 0;
      const stdout = (chunk) => void (length += chunk.length);
      const { instance } = await make(wasi({ stdout, limits: { output: 10 } }), bytes);
      expect(await instance.call('big')).toBe(130000);
      await instance.call('print', [100]);
      expect(length).toBe(130000 + 1100);
      instance.close();
    }
  });

  test('is delivered before the call that wrote it resolves, or is rejected', async () => {
    const lines = [];
    const chunks = [];
    const slow = async (line) => {
      await pause(1);
      lines.push(line);
    };
    const { Writable } = require('node:stream');
    const stderr = new Writable({
      write(chunk, _, done) {
        setTimeout(() => done(chunks.push(chunk) && null), 20);
      },
    });
    const program = wasi({ stdout: { lines: slow }, stderr });
    const source = PRINTS.replace(
      '(func (export "big")',
      '(func (export "fail") (call $puts (i32.const 2)) unreachable) (func (export "big")',
    );
    const { instance } = await program.spawn(await wat(source));
    for (let round = 1; round < 5; round++) {
      await instance.exports.print(20);
      expect(lines).toHaveLength(20 * round);
      expect(await failure(() => instance.exports.fail())).toBeInstanceOf(wn.RuntimeError);
      expect(Buffer.concat(chunks).toString()).toBe(LINE.repeat(round));
    }
    // Time that is over is over, however slow the output.
    const late = await failure(() => instance.call('print', [1000], { timeout: 50 }));
    expect(late.code).toBe('ERR_WASI_TIMEOUT');
    instance.close();
  });

  test('can be answered by a call from its callback', async () => {
    const results = [];
    let instance;
    const stdout = async () => void results.push(await instance.call('big2', []));
    const source = PRINTS.replace(
      '(func (export "big")',
      '(func (export "big2") (result i32) (i32.const 2)) (func (export "big")',
    );
    ({ instance } = await wasi({ stdout }).spawn(await wat(source)));
    await instance.call('print', [2]);
    expect(results.length).toBeGreaterThan(0);
    expect(results[0]).toBe(2);
    instance.close();
  });

  test('of spawned instances is not looked for in the WASI object', async () => {
    const program = wasi({ stdout: 'pipe' });
    const { instance } = await program.spawn(await wat(PRINTS));
    expect(() => program.takeOutput()).toThrow(/takeOutput\(\)/);
    instance.close();
  });
});

describe('errors that are told later have the stack of who asked', () => {
  const TRAPS = '(module (memory (export "memory") 1) (func $boom (export "_start") unreachable))';

  test('run(), spawn(), the functions of a spawned instance, and call()', async () => {
    const bytes = await wat(TRAPS);
    const { instance } = await wasi().spawn(bytes);
    const asks = {
      askToRun: () => wasi().run(bytes),
      askToCall: () => instance.call('_start'),
      askTheExport: () => instance.exports._start(),
    };
    for (const [name, ask] of Object.entries(asks)) {
      const holder = {
        async [name]() {
          return ask();
        },
      };
      const error = await rejection(holder[name]());
      const lines = error.stack.split('\n').filter((line) => /^ {4}at /.test(line));
      expect(lines[0]).toMatch(/boom.*wasm-function\[0\]/);
      expect(lines[1]).toMatch(/hosts\.test\.js/);
      expect(error.stack).toMatch(name);
      expect(error.stack).not.toMatch(/wasi-native|\/lib\//);
    }
    const askToSpawn = async () =>
      wasi().spawn(await wat('(module (func $start unreachable) (start $start))'));
    expect((await rejection(askToSpawn())).stack).toMatch(/start.*\n.*hosts\.test\.js/);
    const slow = await wat('(module (memory (export "memory") 1) (func (export "_start") (loop (br 0))))');
    const askInTime = async () => wasi().run(slow, { timeout: 20 });
    const { stack } = await rejection(askInTime());
    expect(stack).toMatch(/did not end within 20 ms[^]*askInTime/);
    expect(stack).not.toMatch(/node:internal\/timers/);
    instance.close();
  });
});
