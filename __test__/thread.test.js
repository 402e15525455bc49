'use strict';

const wn = require('..');
const { child, wat } = require('./helpers');

const wasi = (options) => new wn.WASI({ version: 'preview1', ...options });

const rejection = (promise) =>
  promise.then(
    () => {
      throw new Error('it resolved');
    },
    (error) => error,
  );

const LIBRARY = `(module
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (memory (export "memory") 1 4)
  (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
  (func (export "wide") (param i64 f32 f64) (result f64 i64)
    (f64.add (local.get 2) (f64.promote_f32 (local.get 1))) (local.get 0))
  (func (export "same") (param externref) (result externref) (local.get 0))
  (func (export "ask") (param i32) (result i32) (call $ask (local.get 0)))
  (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0)))
  (func (export "grow") (result i32) (memory.grow (i32.const 1)))
  (func (export "trap") unreachable)
  (func (export "spin") (loop (br 0))))`;

/** An instance of the library on a thread of its own. */
const library = async (ask = () => 0, options = {}) =>
  wasi().spawn(await wat(LIBRARY), { env: { ask } }, options);

describe('an instance on a thread of its own', () => {
  test('its exports return promises of what they compute', async () => {
    const { exports, instance } = await library();
    expect(await exports.add(40, 2)).toBe(42);
    expect(await exports.wide(5n, 0.5, 2)).toEqual([2.5, 5n]);
    const object = {};
    expect(await exports.same(object)).toBe(object);
    expect(await exports.same(null)).toBe(null);
    expect(exports.add.length).toBe(2);
    expect(exports.add.name).toBe('add');
    expect(instance.exports).toBe(exports);
    expect(await rejection(exports.wide(5, 1, 1))).toBeInstanceOf(TypeError);
    instance.close();
  });

  test('a trap rejects its call alone', async () => {
    const { exports, instance } = await library();
    const error = await rejection(exports.trap());
    expect(error).toBeInstanceOf(wn.RuntimeError);
    expect(error.stack).toMatch(/wasm-function/);
    expect(await exports.add(1, 1)).toBe(2);
    instance.close();
  });

  test('its calls queue, also while one waits for an import', async () => {
    const order = [];
    const ask = async (value) => {
      order.push(`asked ${value}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
      order.push(`answered ${value}`);
      return value + 1;
    };
    const { exports, instance } = await library(ask);
    const results = await Promise.all([exports.ask(1), exports.add(2, 2), exports.ask(3)]);
    expect(results).toEqual([2, 4, 4]);
    expect(order).toEqual(['asked 1', 'answered 1', 'asked 3', 'answered 3']);
    instance.close();
  });

  test('an import may call its exports while the instance waits for it, at any depth', async () => {
    let exports;
    const ask = async (value) =>
      value === 0 ? 0 : (await exports.ask(value - 1)) + (await exports.add(1, 0));
    const made = await library(ask);
    exports = made.exports;
    expect(await exports.ask(20)).toBe(20);
    // Others wait meanwhile: the answers come in the order of the calls.
    expect(await Promise.all([exports.ask(5), exports.ask(6), exports.add(3, 4)])).toEqual([5, 6, 7]);
    made.instance.close();
  });

  test('of two waiting imports the inner one is answered first, whatever settles first', async () => {
    let exports;
    const settle = {};
    const ask = (value) => {
      const promise = new Promise((resolve) => (settle[value] = resolve));
      if (value === 1) inner = exports.ask(2);
      return promise;
    };
    let inner;
    const made = await library(ask);
    exports = made.exports;
    const outer = exports.ask(1);
    while (settle[2] === undefined) await new Promise((resolve) => setTimeout(resolve, 1));
    settle[1](10);
    await new Promise((resolve) => setTimeout(resolve, 10));
    settle[2](20);
    expect(await Promise.all([inner, outer])).toEqual([20, 10]);
    made.instance.close();
  });

  test('what an import throws rejects the call that led there', async () => {
    const { exports, instance } = await library(async (value) => {
      throw new RangeError(`no ${value}`);
    });
    const [one, two, three] = await Promise.allSettled([exports.ask(1), exports.add(1, 1), exports.ask(2)]);
    expect(one.reason).toEqual(new RangeError('no 1'));
    expect(two.value).toBe(2);
    expect(three.reason).toEqual(new RangeError('no 2'));
    instance.close();
  });

  test('many compute at the same time from one module', async () => {
    const module = await wn.compile(await wat(LIBRARY));
    const env = { ask: async (value) => value * 2 };
    const instances = await Promise.all(Array.from({ length: 50 }, () => wasi().spawn(module, { env })));
    const results = await Promise.all(instances.map(({ exports }, k) => exports.ask(k)));
    expect(results).toEqual(instances.map((_, k) => k * 2));
    instances.forEach(({ instance }) => instance.close());
  });

  test('its memory is there while it rests, and refused while it works', async () => {
    let seen;
    let memory;
    const { exports, instance } = await library(() => {
      seen = memory.read(100, 5).toString();
      memory.write(100, 'HELLO');
      return 0;
    });
    memory = exports.memory;
    memory.write(100, Buffer.from('hello'));
    expect(await exports.load(100)).toBe(104);
    await exports.ask(0);
    expect(seen).toBe('hello');
    expect(await exports.load(100)).toBe(72);
    expect(memory.size).toBe(65536);
    await exports.grow();
    expect(memory.size).toBe(131072);
    expect(() => memory.read(131072, 1)).toThrow(RangeError);
    expect(() => memory.write(131071, 'ab')).toThrow(/131072 bytes/);
    expect(() => memory.read(-1, 1)).toThrow(TypeError);
    exports.spin().catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(() => memory.read(0, 1)).toThrow(expect.objectContaining({ code: 'ERR_WASI_BUSY' }));
    instance.close();
  });

  test('close() ends it, and what was under way is rejected', async () => {
    const { exports, instance } = await library();
    const calls = [exports.spin(), exports.add(1, 1)];
    instance.close();
    for (const call of calls) expect((await rejection(call)).code).toBe('ERR_WASI_CLOSED');
    expect((await rejection(exports.add(1, 1))).code).toBe('ERR_WASI_CLOSED');
    expect(() => exports.memory.read(0, 1)).toThrow(expect.objectContaining({ code: 'ERR_WASI_BUSY' }));
    if (Symbol.dispose !== undefined) expect(instance[Symbol.dispose]).toBe(instance.close);
  });

  test('the signal and the timeout end it, and others go on', async () => {
    const controller = new AbortController();
    const aborted = await library(undefined, { signal: controller.signal });
    const late = await library(undefined, { timeout: 1000 });
    const other = await library();
    const calls = [aborted.exports.spin(), late.exports.spin()];
    controller.abort();
    expect((await rejection(calls[0])).name).toBe('AbortError');
    expect((await rejection(calls[1])).code).toBe('ERR_WASI_TIMEOUT');
    expect((await rejection(late.exports.add(1, 1))).code).toBe('ERR_WASI_TIMEOUT');
    expect(await other.exports.add(1, 1)).toBe(2);
    other.instance.close();
  });

  test('a reactor is initialized, and one that fails is none', async () => {
    const reactor = (body) =>
      wat(`(module (memory (export "memory") 1) (global $n (mut i32) (i32.const 0))
        (func (export "_initialize") ${body})
        (func (export "get") (result i32) (global.get $n)))`);
    const { exports } = await wasi().spawn(await reactor('(global.set $n (i32.const 5))'), {});
    expect(await exports.get()).toBe(5);
    const failing = wasi().spawn(await reactor('unreachable'), {});
    expect(await rejection(failing)).toBeInstanceOf(wn.RuntimeError);
  });

  test('it holds host values as long as it can reach them, and no longer', () => {
    const code = `
      const { exports } = await new wn.WASI({ version: 'preview1' }).spawn(bytes.keeps, {});
      let collected = 0;
      const registry = new FinalizationRegistry(() => collected++);
      const pass = async (count, call) => {
        for (let k = 0; k < count; k++) {
          const value = { k };
          registry.register(value);
          await call(value);
        }
      };
      await pass(1, exports.keep);
      await pass(5000, exports.pass);
      for (let round = 0; round < 20; round++) {
        gc();
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      console.log(collected > 3000, (await exports.kept()).k);`;
    const keeps = wat(`(module (global $kept (mut externref) (ref.null extern))
      (func (export "keep") (param externref) (global.set $kept (local.get 0)))
      (func (export "kept") (result externref) (global.get $kept))
      (func (export "pass") (param externref)))`);
    return keeps.then((keeps) => {
      const { stdout, stderr } = child(code, { modules: { keeps }, flags: ['--expose-gc'] });
      expect({ stdout, stderr }).toEqual({ stdout: 'true 0\n', stderr: '' });
    });
  });

  test('null is null whatever was passed before', async () => {
    const tells = await wat(`(module
      (import "env" "get" (func $get (param f64) (result externref)))
      (func (export "isNull") (param externref) (result i32) (ref.is_null (local.get 0)))
      (func (export "isGotNull") (param f64) (result i32) (ref.is_null (call $get (local.get 0)))))`);
    const { exports, instance } = await wasi().spawn(tells, { env: { get: () => null } });
    const before = await library();
    await before.exports.wide(-1n, Math.PI, Math.PI);
    expect(await exports.isNull(null)).toBe(1);
    expect(await exports.isNull(undefined)).toBe(0);
    expect(await exports.isGotNull(Math.PI)).toBe(1);
    instance.close();
    before.instance.close();
  });

  test('host values are let go while a call goes on, and those that it needs are not', async () => {
    const holds = await wat(`(module
      (import "env" "make" (func $make (param i32) (result externref)))
      (import "env" "see" (func $see (param i32 externref)))
      (global $kept (mut externref) (ref.null extern))
      (func (export "run") (param $count i32) (param $given externref) (local $a externref)
        (local.set $a (call $make (i32.const -1)))
        (global.set $kept (call $make (i32.const -2)))
        (loop $next
          (drop (call $make (local.get $count)))
          (br_if $next (local.tee $count (i32.sub (local.get $count) (i32.const 1)))))
        (call $see (i32.const -1) (local.get $a))
        (call $see (i32.const -2) (global.get $kept))
        (call $see (i32.const -3) (local.get $given))))`);
    const code = `
      let wrong = 0;
      const env = {
        make: (id) => ({ id, room: new Array(id < 0 ? 1 : 2500).fill(id) }),
        see(id, value) { if (value?.id !== id) wrong++; },
      };
      const { exports } = await new wn.WASI({ version: 'preview1' }).spawn(bytes.holds, { env });
      const before = process.memoryUsage().rss;
      await exports.run(20_000, { id: -3 });
      console.log(wrong, process.memoryUsage().rss - before < 200e6);`;
    const { stdout, stderr } = child(code, { modules: { holds } });
    expect({ stdout, stderr }).toEqual({ stdout: '0 true\n', stderr: '' });
  });

  test('what cannot go to another thread is refused', async () => {
    const table = await wat('(module (import "env" "t" (table 1 funcref)))');
    const t = new wn.Table({ element: 'anyfunc', initial: 1 });
    expect(await rejection(wasi().spawn(table, { env: { t } }))).toBeInstanceOf(wn.LinkError);
    const takes = await wat('(module (func (export "take") (param funcref)))');
    const { exports } = await wasi().spawn(takes, {});
    expect(await rejection(exports.take(null))).toBeInstanceOf(TypeError);
  });

  test('one that waits for calls does not keep the process alive, one at work does', async () => {
    const code = `
      const make = () => new wn.WASI({ version: 'preview1', stdout: () => {} })
        .spawn(bytes.library, { env: { ask: () => new Promise((resolve) => setTimeout(() => resolve(3), 50).unref()) } });
      const idle = await make();
      const { exports } = await make();
      exports.add(1, 2).then((sum) => console.log('sum', sum));`;
    const { status, stdout, stderr } = child(code, { modules: { library: await wat(LIBRARY) } });
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: 'sum 3\n', stderr: '' });
  });

  test('nobody to use it, it is collected with its thread', async () => {
    if (process.platform !== 'linux') return;
    const code = `
      const threads = () => require('node:fs').readdirSync('/proc/self/task').length;
      const module = await wn.compile(bytes.library);
      const one = async () => {
        const { exports } = await new wn.WASI({ version: 'preview1' })
          .spawn(module, { env: { ask: () => 0 } });
        return exports.add(1, 2);
      };
      await one();
      const before = threads();
      for (let round = 0; round < 30; round++) await one();
      for (let round = 0; round < 50 && threads() > before; round++) {
        gc();
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      console.log(threads() <= before);`;
    const modules = { library: await wat(LIBRARY) };
    const { stdout, stderr } = child(code, { modules, flags: ['--expose-gc'] });
    expect({ stdout, stderr }).toEqual({ stdout: 'true\n', stderr: '' });
  });
});

describe('an instance on this thread', () => {
  test('has the functions of WASI, and is initialized if it is a reactor', async () => {
    const reactor = await wat(`(module
      (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
      (import "env" "two" (func $two (result i32)))
      (memory (export "memory") 1)
      (func (export "_initialize") (drop (call $sizes (i32.const 0) (i32.const 4))))
      (func (export "count") (result i32) (i32.mul (i32.load (i32.const 0)) (call $two))))`);
    const env = { two: () => 2 };
    const { exports } = await wasi({ args: ['a', 'b', 'c'] }).instantiate(reactor, { env });
    expect(exports.count()).toBe(6);
    const sync = wasi({ args: ['a'] }).instantiateSync(reactor, { env });
    expect(sync.exports.count()).toBe(2);
    expect(sync.instance).toBeInstanceOf(wn.Instance);
    expect(sync.module).toBeInstanceOf(wn.Module);
    const signal = new AbortController().signal;
    expect((await rejection(wasi().instantiate(reactor, { env }, { signal }))).message).toMatch(
      /wasi\.spawn\(\)/,
    );
  });
});

describe('close() of an instance on this thread', () => {
  const MEMORY = `(module (memory (export "memory") 100)
    (func (export "load") (result i32) (i32.load (i32.const 0)))
    (func (export "fill") (memory.fill (i32.const 0) (i32.const 1) (i32.const 6553600))))`;
  const make = async () => new wn.Instance(await wn.compile(await wat(MEMORY)));

  test('gives its memory back', async () => {
    // In a process of its own, where nothing else takes memory or gives it back.
    const code = `
      const resident = () => process.memoryUsage().rss;
      const module = new wn.Module(bytes.memory);
      const instances = Array.from({ length: 20 }, () => new wn.Instance(module));
      const before = resident();
      instances.forEach(({ exports }) => exports.fill());
      const filled = resident() - before;
      instances.forEach((instance) => instance.close());
      console.log(JSON.stringify({ filled, left: resident() - before }));`;
    const { stdout, stderr } = child(code, { modules: { memory: await wat(MEMORY) } });
    expect(stderr).toBe('');
    const { filled, left } = JSON.parse(stdout);
    expect(filled).toBeGreaterThan(100e6);
    expect(left).toBeLessThan(60e6);
  });

  test('refuses calls and leaves no bytes', async () => {
    const instance = await make();
    const { exports } = instance;
    const { buffer } = exports.memory;
    instance.close();
    expect(buffer.byteLength).toBe(0);
    expect(exports.memory.buffer.byteLength).toBe(0);
    expect(() => exports.memory.grow(1)).toThrow(RangeError);
    expect(() => exports.load()).toThrow(expect.objectContaining({ code: 'ERR_WASI_CLOSED' }));
    instance.close();
  });

  test('is refused while wasm runs', async () => {
    const module = await wn.compile(
      await wat('(module (import "env" "f" (func $f)) (func (export "go") (call $f)))'),
    );
    const instance = new wn.Instance(module, { env: { f: () => instance.close() } });
    expect(() => instance.exports.go()).toThrow(expect.objectContaining({ code: 'ERR_WASI_BUSY' }));
    instance.close();
  });

  test('one that another instance still uses does no harm', async () => {
    const inner = await make();
    const module = await wn.compile(
      await wat(`(module (import "env" "load" (func $load (result i32))) (import "env" "memory" (memory 0))
        (func (export "load") (result i32) (call $load))
        (func (export "own") (result i32) (i32.load (i32.const 8)))
        (func (export "grow") (result i32) (memory.grow (i32.const 1))))`),
    );
    const outer = new wn.Instance(module, { env: inner.exports });
    inner.close();
    for (const name of ['load', 'own']) {
      try {
        expect(outer.exports[name]()).toBe(0);
      } catch (error) {
        expect(error).toBeInstanceOf(wn.RuntimeError);
      }
    }
    expect(outer.exports.grow()).toBe(-1);
  });
});

test('limits hold for instances on this thread, too', async () => {
  const module = await wn.compile(
    await wat(`(module (import "wasi_snapshot_preview1" "sched_yield" (func (result i32)))
      (memory (export "memory") 1) (table (export "table") 2 funcref)
      (func (export "grow") (result i32) (memory.grow (i32.const 1))))`),
  );
  const make = (limits) => new wn.Instance(module, wasi({ limits }).getImportObject());
  expect(() => make({ memory: 65535 })).toThrow(expect.objectContaining({ code: 'ERR_WASI_LIMIT' }));
  expect(() => make({ table: 1 })).toThrow(/limits\.table/);
  expect(make({ memory: 65536 }).exports.grow()).toBe(-1);
  expect(make({}).exports.grow()).toBe(1);
  expect(make({ table: 2 }).exports.table.length).toBe(2);
});

test('close() closes the descriptors of a program at once', async () => {
  if (process.platform !== 'linux') return;
  const { readdirSync } = require('node:fs');
  const before = readdirSync('/proc/self/fd').length;
  const programs = Array.from({ length: 20 }, () => wasi({ preopens: { '/': __dirname } }));
  programs.forEach((program) => program.getImportObject());
  expect(readdirSync('/proc/self/fd').length).toBeGreaterThanOrEqual(before + 20);
  programs.forEach((program) => program.close());
  expect(readdirSync('/proc/self/fd').length).toBeLessThanOrEqual(before + 2);
  const error = await rejection(programs[0].run(await wat('(module (func (export "_start")))')));
  expect(error.code).toBe('ERR_WASI_CLOSED');
});

test.each(['thread', 'threads'])(
  'the option %s says where instances get threads of their own',
  async (key) => {
    const error = await rejection(wasi().instantiate(await wat('(module)'), {}, { [key]: true }));
    expect(error.code).toBe('ERR_INVALID_ARG_VALUE');
    expect(error.message).toMatch(/wasi\.spawn\(\)/);
  },
);
