'use strict';

const wn = require('..');
const { child, instance, thrownBy, wat } = require('./helpers');

const NUMBERS = `(module
  (func (export "i") (param i32) (result i32) local.get 0)
  (func (export "l") (param i64) (result i64) local.get 0)
  (func (export "f") (param f32) (result f32) local.get 0)
  (func (export "d") (param f64) (result f64) local.get 0)
  (func (export "e") (param externref) (result externref) local.get 0)
  (func (export "r") (param funcref) (result funcref) local.get 0)
  (func (export "none"))
  (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add)
  (func (export "mixed") (param i32 i64 f32 f64) (result f64)
    local.get 0 f64.convert_i32_s
    local.get 1 f64.convert_i64_s f64.add
    local.get 2 f64.promote_f32 f64.add
    local.get 3 f64.add)
  (func (export "swap") (param i32 i64) (result i64 i32) local.get 1 local.get 0)
  (func (export "v") (param v128)))`;

describe('calling an export', () => {
  let exports;
  beforeAll(async () => ({ exports } = await instance(NUMBERS)));

  test('converts i32 arguments as ToInt32 does', () => {
    const cases = [
      [5, 5],
      [-1, -1],
      [2 ** 32 + 3, 3],
      [2 ** 31, -(2 ** 31)],
      [1.9, 1],
      [NaN, 0],
      [Infinity, 0],
      ['12', 12],
      [null, 0],
      [true, 1],
      [{ valueOf: () => 9 }, 9],
    ];
    for (const [given, expected] of cases) expect(exports.i(given)).toBe(expected);
    expect(exports.i()).toBe(0);
    expect(exports.i(1, 2, 3)).toBe(1);
    expect(() => exports.i(1n)).toThrow(TypeError);
    expect(() => exports.i(Symbol())).toThrow(TypeError);
  });

  test('converts i64 arguments as ToBigInt64 does', () => {
    expect(exports.l(5n)).toBe(5n);
    expect(exports.l(2n ** 64n - 1n)).toBe(-1n);
    expect(exports.l(2n ** 63n)).toBe(-(2n ** 63n));
    expect(exports.l('12')).toBe(12n);
    expect(exports.l(true)).toBe(1n);
    expect(() => exports.l(1)).toThrow(TypeError);
    expect(() => exports.l()).toThrow(TypeError);
    expect(() => exports.l('x')).toThrow(SyntaxError);
  });

  test('converts floats', () => {
    expect(exports.f(0.1)).toBe(Math.fround(0.1));
    expect(exports.d(0.1)).toBe(0.1);
    expect(exports.d(-0)).toBe(-0);
    expect(exports.d(undefined)).toBeNaN();
    expect(exports.f('1.5')).toBe(1.5);
    expect(() => exports.d(1n)).toThrow(TypeError);
  });

  test('takes several arguments of different types', () => {
    expect(exports.add(2, 3)).toBe(5);
    expect(exports.mixed(1, 2n, 0.5, 0.25)).toBe(3.75);
    expect(() => exports.mixed(1, 2, 3, 4)).toThrow(TypeError);
    expect(exports.none(1)).toBe(undefined);
  });

  test('gives several results as an array', () => {
    const results = exports.swap(1, 2n);
    expect(Array.isArray(results)).toBe(true);
    expect(results).toEqual([2n, 1]);
  });

  test('passes any JavaScript value as an externref', () => {
    const values = [{}, () => 1, 'text', 7, -0, 0, NaN, Symbol('s'), 10n, undefined, null, true];
    for (const value of values) expect(exports.e(value)).toBe(value);
    expect(exports.e()).toBe(undefined);
  });

  test('passes functions of wasm as funcrefs and refuses others', () => {
    expect(exports.r(exports.add)).toBe(exports.add);
    expect(exports.r(null)).toBe(null);
    for (const other of [() => 1, undefined, {}, 5]) {
      expect(() => exports.r(other)).toThrow(TypeError);
    }
  });

  test('refuses v128 in a signature', () => {
    expect(() => exports.v(1)).toThrow(TypeError);
    expect(exports.v.length).toBe(1);
  });

  test('converts all arguments, in order, before the call', () => {
    const order = [];
    const value = (name, result) => ({
      valueOf() {
        order.push(name);
        // Calls wasm while the arguments of the outer call are being converted.
        expect(exports.add(10, 20)).toBe(30);
        return result;
      },
    });
    expect(exports.add(value('a', 1), value('b', 2))).toBe(3);
    expect(exports.mixed(value('c', 1), value('d', 2n), value('e', 4), value('f', 8))).toBe(15);
    expect(order).toEqual(['a', 'b', 'c', 'd', 'e', 'f']);
    const fails = {
      valueOf: () => {
        throw new Error('from valueOf');
      },
    };
    expect(() => exports.add(fails, value('never', 1))).toThrow('from valueOf');
    expect(order).toHaveLength(6);
  });

  test('exported functions look like those of WebAssembly', () => {
    const { add } = exports;
    expect(add.name).toBe('7');
    expect(add.length).toBe(2);
    expect(Object.hasOwn(add, 'prototype')).toBe(false);
    expect(() => new add(1, 2)).toThrow(TypeError);
    const name = Object.getOwnPropertyDescriptor(add, 'name');
    expect(name).toMatchObject({ writable: false, enumerable: false, configurable: true });
    expect(add.call({}, 1, 2)).toBe(3);
  });
});

test('code generation from strings may be off', async () => {
  const { stdout, stderr, status } = child(
    `const { exports } = (await wn.instantiate(bytes.numbers)).instance;
     const order = [];
     const v = (x) => ({ valueOf() { order.push(x); exports.add(7, 7); return x; } });
     console.log(exports.add(v(1), v(2)), exports.l(5n), exports.swap(1, 2n), exports.e('x'),
       exports.r(exports.add) === exports.add, exports.mixed(1, 2n, 0.5, 0.25), order,
       exports.add.name, exports.add.length);
     const imports = { m: { f: (a, b) => [b, BigInt(a)] } };
     console.log((await wn.instantiate(bytes.multi, imports)).instance.exports.run());`,
    {
      flags: ['--disallow-code-generation-from-strings'],
      modules: {
        numbers: await wat(NUMBERS),
        multi: await wat(`(module (import "m" "f" (func $f (param i32 f64) (result f64 i64)))
          (func (export "run") (result f64 i64) (call $f (i32.const 4) (f64.const 2.5))))`),
      },
    },
  );
  expect(stderr).toBe('');
  expect(stdout).toBe('3 5n [ 2n, 1 ] x true 3.75 [ 1, 2 ] 7 2\n[ 2.5, 4n ]\n');
  expect(status).toBe(0);
});

describe('importing a JavaScript function', () => {
  test('gives it the arguments and converts its result', async () => {
    const seen = [];
    const imports = {
      m: {
        i: (...args) => (seen.push(args), '41'),
        l: (...args) => (seen.push(args), 2n ** 64n + 1n),
        f: (...args) => (seen.push(args), 0.1),
        none: function (...args) {
          seen.push([this, ...args]);
          return 'ignored';
        },
      },
    };
    const { exports } = await instance(
      `(module
        (import "m" "i" (func $i (param i32 i64 f32 f64) (result i32)))
        (import "m" "l" (func $l (result i64)))
        (import "m" "f" (func $f (result f32)))
        (import "m" "none" (func $none (param externref)))
        (func (export "i") (result i32)
          (call $i (i32.const -1) (i64.const -2) (f32.const 0.5) (f64.const 0.25)))
        (func (export "l") (result i64) call $l)
        (func (export "f") (result f32) call $f)
        (func (export "none") (param externref) local.get 0 call $none))`,
      imports,
    );
    expect(exports.i()).toBe(41);
    expect(exports.l()).toBe(1n);
    expect(exports.f()).toBe(Math.fround(0.1));
    expect(exports.none('x')).toBe(undefined);
    expect(seen).toEqual([[-1, -2n, 0.5, 0.25], [], [], [undefined, 'x']]);
  });

  test('takes several results from any iterable', async () => {
    let returned;
    const { exports } = await instance(
      `(module (import "m" "f" (func $f (result i32 i64 externref)))
        (func (export "run") (result i32 i64 externref) call $f))`,
      { m: { f: () => returned } },
    );
    returned = [1, 2n, 'three'];
    expect(exports.run()).toEqual([1, 2n, 'three']);
    returned = new Set([4, 5n, null]);
    expect(exports.run()).toEqual([4, 5n, null]);
    for (const bad of [[1, 2n], [1, 2n, 3, 4], 7, undefined, {}]) {
      returned = bad;
      expect(exports.run).toThrow(TypeError);
    }
    returned = [1, 2, 3];
    expect(exports.run).toThrow(TypeError);
  });

  test('an exception comes out as itself', async () => {
    const { exports } = await instance(
      `(module (import "m" "f" (func $f (param i32)))
        (func (export "run") (param i32) local.get 0 call $f))`,
      {
        m: {
          f(index) {
            throw thrown[index];
          },
        },
      },
    );
    const thrown = [new Error('e'), { any: 'object' }, 'text', 5, undefined, null, Symbol('s')];
    thrown.forEach((value, index) => expect(thrownBy(() => exports.run(index))).toBe(value));
  });

  test('exceptions pass through several layers of wasm and JavaScript', async () => {
    const error = new Error('from the depth');
    const layers = [];
    const { exports } = await instance(
      `(module (import "m" "step" (func $step (param i32) (result i32)))
        (func (export "go") (param i32) (result i32)
          (i32.add (call $step (local.get 0)) (i32.const 1))))`,
      {
        m: {
          step(depth) {
            if (depth === 0) throw error;
            try {
              return exports.go(depth - 1);
            } catch (caught) {
              layers.push(caught === error);
              if (depth === 3) return 100;
              throw caught;
            }
          },
        },
      },
    );
    expect(thrownBy(() => exports.go(2))).toBe(error);
    expect(layers).toEqual([true, true]);
    // Layer 3 catches it; wasm goes on normally from there.
    expect(exports.go(5)).toBe(103);
  });

  test('re-enters wasm with the outer arguments intact', async () => {
    const { exports } = await instance(
      `(module (import "m" "fib" (func $fib (param i32) (result i64)))
        (func (export "fib") (param i32) (result i64)
          (if (result i64) (i32.lt_s (local.get 0) (i32.const 2))
            (then (i64.extend_i32_s (local.get 0)))
            (else (i64.add
              (call $fib (i32.sub (local.get 0) (i32.const 1)))
              (call $fib (i32.sub (local.get 0) (i32.const 2))))))))`,
      { m: { fib: (n) => exports.fib(n) } },
    );
    expect(exports.fib(15)).toBe(610n);
  });

  test('many calls in one run keep no handles', async () => {
    let count = 0;
    const { exports } = await instance(
      `(module (import "m" "f" (func $f (param i32) (result i32)))
        (func (export "run") (param i32) (local i32)
          (loop
            (local.set 1 (call $f (local.get 1)))
            (br_if 0 (i32.lt_s (local.get 1) (local.get 0))))))`,
      { m: { f: (n) => (count++, n + 1) } },
    );
    exports.run(300000);
    expect(count).toBe(300000);
  });

  test('an imported export is linked as the wasm function it is', async () => {
    const a = await instance('(module (func (export "f") (result i32) i32.const 5))');
    const b = await instance(
      `(module (import "m" "f" (func $f (result i32))) (export "again" (func $f))
        (func (export "run") (result i32) call $f))`,
      { m: { f: a.exports.f } },
    );
    expect(b.exports.again).toBe(a.exports.f);
    expect(b.exports.run()).toBe(5);
  });

  test('an imported JavaScript function that is exported becomes a wasm function', async () => {
    const f = (a) => a + 1;
    const { exports } = await instance(
      '(module (import "m" "f" (func $f (param i32) (result i32))) (export "f" (func $f)))',
      { m: { f } },
    );
    expect(exports.f).not.toBe(f);
    expect(exports.f('4')).toBe(5);
    expect(exports.f.name).toBe('0');
  });
});

describe('linking', () => {
  const importing = (field) => wat(`(module (import "a" "b" ${field}))`);
  const attempt = async (field, value) => {
    const module = new wn.Module(await importing(field));
    return thrownBy(() => new wn.Instance(module, { a: { b: value } }));
  };

  test('a missing imports object or module is a TypeError', async () => {
    const module = new wn.Module(await importing('(func)'));
    expect(() => new wn.Instance(module)).toThrow(TypeError);
    expect(() => new wn.Instance(module, 5)).toThrow(TypeError);
    expect(() => new wn.Instance(module, {})).toThrow(/"a".*must be an object/);
    expect(thrownBy(() => new wn.Instance(module, {}))).toBeInstanceOf(TypeError);
  });

  test('a wrong kind is a LinkError that names module, field, expectation and value', async () => {
    const cases = [
      ['(func)', 5, /"a" "b" must be a function, not a number/],
      ['(func)', undefined, /must be a function, not undefined/],
      ['(memory 1)', {}, /must be a WebAssembly.Memory, not an instance of Object/],
      ['(memory 1)', new WebAssembly.Memory({ initial: 1 }), /must be a WebAssembly.Memory/],
      ['(table 1 funcref)', null, /must be a WebAssembly.Table, not null/],
      ['(global i32)', 5n, /must be a number or a WebAssembly.Global, not a bigint/],
      ['(global i64)', 5, /must be a BigInt or a WebAssembly.Global, not a number/],
      ['(global (mut i32))', 5, /must be a mutable WebAssembly.Global/],
      ['(global funcref)', () => 1, /must be null, a WebAssembly function or/],
    ];
    for (const [field, value, message] of cases) {
      const error = await attempt(field, value);
      expect(error).toBeInstanceOf(wn.LinkError);
      expect(error.code).toBe('ERR_WASI_LINK');
      expect(error.message).toMatch(/^WebAssembly.Instance\(\): /);
      expect(error.message).toMatch(message);
    }
  });

  test('a wrong type is a LinkError that names both', async () => {
    const { exports } = await instance('(module (func (export "f") (param i32)))');
    const cases = [
      ['(func (result i64))', exports.f],
      ['(memory 2)', new wn.Memory({ initial: 1 })],
      ['(memory 1 2)', new wn.Memory({ initial: 1, maximum: 3 })],
      ['(table 2 funcref)', new wn.Table({ element: 'anyfunc', initial: 1 })],
      ['(table 1 externref)', new wn.Table({ element: 'anyfunc', initial: 1 })],
      ['(global i64)', new wn.Global({ value: 'i32' }, 1)],
      ['(global (mut i32))', new wn.Global({ value: 'i32' }, 1)],
    ];
    for (const [field, value] of cases) {
      const error = await attempt(field, value);
      expect([field, error.constructor]).toEqual([field, wn.LinkError]);
      expect(error.message).toMatch(/a.*b/);
    }
  });

  test('values stand for immutable globals', async () => {
    const { exports } = await instance(
      `(module (import "a" "i" (global $i i32)) (import "a" "l" (global $l i64))
        (import "a" "e" (global $e externref)) (import "a" "r" (global $r funcref))
        (export "i" (global $i)) (export "l" (global $l))
        (export "e" (global $e)) (export "r" (global $r)))`,
      { a: { i: 7.9, l: 2n ** 63n, e: 'any', r: null } },
    );
    const values = Object.values(exports).map((global) => global.value);
    expect(values).toEqual([7, -(2n ** 63n), 'any', null]);
  });
});

describe('calling back and forth', () => {
  const LOOP = `(module
    (import "m" "f" (func $f (param i32) (result i32)))
    (func (export "loop") (param $n i32) (result i32) (local $i i32) (local $sum i32)
      (loop $next
        (local.set $sum (i32.add (local.get $sum) (call $f (local.get $i))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $next (i32.lt_u (local.get $i) (local.get $n))))
      (local.get $sum)))`;

  test('many calls of an import, each of which enters wasm again', async () => {
    const inner = await instance(LOOP, { m: { f: (i) => i } });
    const outer = await instance(LOOP, { m: { f: (i) => inner.exports.loop(200) + i } });
    expect(outer.exports.loop(200)).toBe(200 * 19900 + 19900);
  });

  test('two imports in turns, and from several depths', async () => {
    const text = `(module
      (import "m" "a" (func $a (param i32) (result i32)))
      (import "m" "b" (func $b (param i32) (result i32)))
      (func (export "f") (param i32) (result i32)
        (i32.add (call $a (local.get 0)) (i32.add (call $b (local.get 0)) (call $a (local.get 0))))))`;
    const depths = [];
    const { exports } = await instance(text, {
      m: { a: (n) => (n > 0 ? exports.f(n - 1) : 1), b: (n) => (depths.push(n), 10) },
    });
    expect(exports.f(3)).toBe(8 * 12 + 7 * 10);
    expect(depths.length).toBe(15);
  });

  test('instances made inside of an import, whose start functions call imports', async () => {
    const module = new wn.Module(
      await wat(`(module (import "m" "s" (func $s))
      (func $start (call $s) (call $s)) (start $start))`),
    );
    let started = 0;
    const { exports } = await instance(LOOP, {
      m: { f: (i) => (new wn.Instance(module, { m: { s: () => started++ } }), i) },
    });
    expect(exports.loop(150)).toBe(11175);
    expect(started).toBe(300);
  });

  test('an import that throws in the middle leaves nothing behind', async () => {
    let limit = 100;
    const { exports } = await instance(LOOP, {
      m: {
        f(i) {
          if (i === limit) throw new RangeError('enough');
          return i;
        },
      },
    });
    for (let round = 0; round < 50; round++) expect(() => exports.loop(200)).toThrow('enough');
    limit = 1000;
    expect(exports.loop(200)).toBe(19900);
  });

  test('what an import returned is not kept', () => {
    const { status, stderr } = child(
      `let made = 0, gone = 0;
       const registry = new FinalizationRegistry(() => gone++);
       const exports = new wn.Instance(new wn.Module(bytes.loop), { m: { f() {
         const object = { valueOf: () => 1 };
         registry.register(object); made++;
         if (made === 1000) { gc(); }
         return object;
       } } }).exports;
       exports.loop(2000);
       gc(); await new Promise((resolve) => setTimeout(resolve, 50)); gc();
       await new Promise((resolve) => setTimeout(resolve, 50));
       if (made !== 2000 || gone < 1900) throw new Error(made + ' made, ' + gone + ' gone');`,
      { flags: ['--expose-gc'], modules: { loop: loopBytes } },
    );
    expect([status, stderr]).toEqual([0, '']);
  });

  let loopBytes;
  beforeAll(async () => (loopBytes = await wat(LOOP)));

  test('more realms than have a place of their own', () => {
    const { status, stderr } = child(
      `const exports = [];
       for (let i = 0; i < 40; i++) {
         for (const key of Object.keys(require.cache)) if (!key.endsWith('.node')) delete require.cache[key];
         const wn = require(${JSON.stringify(require.resolve('..'))});
         exports.push(new wn.Instance(new wn.Module(bytes.loop), { m: { f: (n) => n + i } }).exports);
       }
       exports.forEach(({ loop }, i) => { if (loop(2) !== 2 * i + 1) throw new Error('realm ' + i + ': ' + loop(2)); });`,
      { modules: { loop: loopBytes } },
    );
    expect([status, stderr]).toEqual([0, '']);
  });
});

test('references to less than all functions and values are checked', () => {
  const section = (id, ...items) => {
    const bytes = [items.length, ...items.flat()];
    return [id, bytes.length, ...bytes];
  };
  const name = (text) => [text.length, ...Buffer.from(text)];
  const body = (...code) => [code.length + 2, 0, ...code, 0x0b];
  const exported = ['via', 'seven', 'same', 'call', 'value', 'other'].map((text, k) => [
    ...name(text),
    0,
    k === 0 ? 6 : k,
  ]);
  // prettier-ignore
  const bytes = Uint8Array.from([
    0, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
    ...section(1,
      [0x60, 0, 1, 0x7f], // $0: (func (result i32))
      [0x60, 1, 0x64, 0x70, 1, 0x64, 0x70], // (func (param (ref func)) (result (ref func)))
      [0x60, 1, 0x63, 0, 1, 0x7f], // (func (param (ref null $0)) (result i32))
      [0x60, 1, 0x64, 0x6f, 1, 0x64, 0x6f], // (func (param (ref extern)) (result (ref extern)))
      [0x60, 1, 0x7c, 0]), // (func (param f64))
    ...section(2, [...name('m'), ...name('f'), 0, 1]),
    ...section(3, [0], [1], [2], [3], [4], [1]),
    ...section(4, [0x63, 0, 0, 1]), // (table 1 (ref null $0))
    ...section(6, [0x63, 0, 1, 0xd0, 0, 0x0b]), // (global (mut (ref null $0)) (ref.null $0))
    ...section(7, ...exported, [...name('t'), 1, 0], [...name('g'), 3, 0]),
    ...section(10,
      body(0x41, 7), // i32.const 7
      body(0x20, 0), // local.get 0
      body(0x20, 0, 0x14, 0), // local.get 0, call_ref $0
      body(0x20, 0),
      body(),
      body(0x20, 0, 0x10, 0)), // local.get 0, call 0
  ]);
  let given;
  const imports = { m: { f: (f) => (given === undefined ? f : given) } };
  const { exports } = new wn.Instance(new wn.Module(bytes), imports);
  const { via, seven, same, call, value, other, t, g } = exports;

  expect(same(seven)).toBe(seven);
  expect(via(other)).toBe(other);
  for (const none of [null, undefined, () => {}, 1]) {
    expect(() => same(none)).toThrow(TypeError);
    given = none === undefined ? {} : none;
    expect(() => via(seven)).toThrow(TypeError);
  }
  const object = {};
  for (const some of [object, undefined, 0, 'text']) expect(value(some)).toBe(some);
  expect(() => value(null)).toThrow(TypeError);

  expect(call(seven)).toBe(7);
  expect(() => call(null)).toThrow(wn.RuntimeError);
  for (const wrong of [other, same, () => 1]) {
    expect(() => call(wrong)).toThrow(TypeError);
    expect(() => t.set(0, wrong)).toThrow(TypeError);
    expect(() => (g.value = wrong)).toThrow(TypeError);
  }
  t.set(0, seven);
  g.value = seven;
  expect([t.get(0), g.value]).toEqual([seven, seven]);
  t.set(0);
  g.value = null;
  expect([t.get(0), g.value, t.length]).toEqual([null, null, 1]);
});
