'use strict';
// What the WebAssembly JavaScript Interface says of conversions, their order, and attributes.

const vm = require('node:vm');
const wn = require('..');
const { instance, thrownBy, wat } = require('./helpers');

const NO_OBJECTS = [undefined, null, false, true, '', 'test', Symbol(), 1, NaN];
const PAST_32_BITS = [NaN, Infinity, -Infinity, -1, 0x100000000, 0x1000000000];
const PAST_64_BITS = [-1n, 2n ** 64n];
const EMPTY = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);

/** What a class is called with to make an object. */
const MAKERS = {
  Module: () => [EMPTY],
  Instance: () => [new wn.Module(EMPTY)],
  Memory: () => [{ initial: 0 }],
  Table: () => [{ element: 'anyfunc', initial: 0 }],
  Global: () => [{ value: 'i32' }],
  Tag: () => [{ parameters: [] }],
  Exception: () => [new wn.Tag({ parameters: [] }), []],
  CompileError: () => [],
  LinkError: () => [],
  RuntimeError: () => [],
};

/** An object that tells of each look at a property and of each conversion of its value. */
function spy(properties) {
  const seen = [];
  const object = {};
  // Defined backwards, so that the order seen is not that of definition.
  for (const [name, value] of Object.entries(properties).reverse()) {
    Object.defineProperty(object, name, {
      get() {
        seen.push(name);
        const converted = () => {
          seen.push(`${name} converted`);
          return value;
        };
        return { valueOf: converted, toString: converted };
      },
    });
  }
  return { object, seen };
}

describe.each(Object.keys(MAKERS))('%s', (name) => {
  const Class = wn[name];

  test('has the attributes of an interface', () => {
    const fixed = { writable: false, enumerable: false, configurable: true };
    const property = (object, key) => Object.getOwnPropertyDescriptor(object, key);
    expect(property(Class, 'name')).toEqual({ value: name, ...fixed });
    // As many as are required; V8 in Node 20 and 22 has one for all.
    const length = name === 'Exception' ? 2 : 1;
    expect(property(Class, 'length')).toEqual({ value: length, ...fixed });
    expect(property(Class, 'prototype')).toMatchObject({
      writable: false,
      enumerable: false,
      configurable: false,
    });
    expect(property(Class.prototype, 'constructor')).toEqual({
      value: Class,
      writable: true,
      enumerable: false,
      configurable: true,
    });
    // The error interfaces are made like the native errors, which have none.
    expect(Object.hasOwn(Class.prototype, Symbol.toStringTag)).toBe(!name.endsWith('Error'));
  });

  test('makes extensible objects and ignores arguments that are too many', () => {
    const object = new Class(...MAKERS[name](), undefined, {});
    expect(Object.getPrototypeOf(object)).toBe(Class.prototype);
    expect(Object.isExtensible(object)).toBe(true);
    class Sub extends Class {}
    expect(new Sub(...MAKERS[name]())).toBeInstanceOf(Sub);
  });

  test("gives objects the prototype of newTarget's realm if newTarget has none", () => {
    const other = vm.createContext();
    for (const prototype of [undefined, null, 0, '', Symbol()]) {
      const newTarget = vm.runInContext('(function () {})', other);
      newTarget.prototype = prototype;
      for (const target of [newTarget, newTarget.bind(), new Proxy(newTarget, {})]) {
        const make = () => Reflect.construct(Class, MAKERS[name](), target);
        other.WebAssembly = WebAssembly;
        expect(Object.getPrototypeOf(make())).toBe((WebAssembly[name] ?? Class).prototype);
        other.WebAssembly = {};
        expect(Object.getPrototypeOf(make())).toBe(Class.prototype);
      }
    }
  });

  if (name.endsWith('Error')) return;

  test('cannot be called, and is made of what it is for', () => {
    expect(() => Class(...MAKERS[name]())).toThrow(TypeError);
    expect(() => new Class()).toThrow(TypeError);
    for (const other of [...NO_OBJECTS, {}, ArrayBuffer, ArrayBuffer.prototype, Array.from(EMPTY)]) {
      expect(() => new Class(other)).toThrow(TypeError);
    }
  });

  test('has members that refuse other objects before they look at arguments', () => {
    const argument = {
      valueOf: () => {
        throw new Error('converted');
      },
    };
    const others = [...NO_OBJECTS, {}, Class, Class.prototype, Object.create(Class.prototype)];
    for (const [key, property] of Object.entries(Object.getOwnPropertyDescriptors(Class.prototype))) {
      if (key === 'constructor') continue;
      // Ours alone do not show.
      const isOurs = ['Instance.close', 'Module.serialize'].includes(`${name}.${key}`);
      expect([key, property.enumerable, property.configurable]).toEqual([key, !isOurs, true]);
      for (const member of [property.value, property.get, property.set].filter(Boolean)) {
        for (const other of others) {
          expect(() => member.call(other, argument, argument)).toThrow(TypeError);
        }
      }
      if (property.get) expect(property.get.name).toBe(`get ${key}`);
      if (property.set) expect([property.set.name, property.set.length]).toEqual([`set ${key}`, 1]);
    }
  });
});

describe('Module', () => {
  test('has static members that need no receiver and give new arrays', async () => {
    const module = new wn.Module(await wat('(module (import "a" "b" (func)) (func (export "f")))'));
    for (const name of ['exports', 'imports', 'customSections']) {
      const property = Object.getOwnPropertyDescriptor(wn.Module, name);
      expect(property).toMatchObject({ writable: true, enumerable: true, configurable: true });
      for (const receiver of [...NO_OBJECTS, {}]) {
        const list = property.value.call(receiver, module, 'name', {});
        expect(list).toHaveLength(1);
        expect(property.value.call(receiver, module, 'name')).not.toBe(list);
      }
      for (const other of [...NO_OBJECTS, {}, wn.Module, wn.Module.prototype]) {
        expect(() => property.value(other, '')).toThrow(TypeError);
      }
      expect(property.value).toThrow(TypeError);
    }
    expect(wn.Module.customSections.length).toBe(2);
    const [described] = wn.Module.exports(module);
    expect(Object.getOwnPropertyDescriptor(described, 'name')).toEqual({
      value: 'f',
      writable: true,
      enumerable: true,
      configurable: true,
    });
  });

  test('finds custom sections by their exact names', () => {
    const section = (name, bytes) => {
      const encoded = Buffer.from(name);
      return [0, encoded.length + bytes.length + 1, encoded.length, ...encoded, ...bytes];
    };
    const bytes = [section('name', [0]), section('a\u{10437}b', [1, 2]), section('name', [3])];
    const module = new wn.Module(Uint8Array.from([...EMPTY, ...bytes.flat()]));
    const found = (name) =>
      wn.Module.customSections(module, name).map((buffer) => [...new Uint8Array(buffer)]);
    expect(found('name')).toEqual([[0], [3]]);
    expect(found('a\u{10437}b')).toEqual([[1, 2]]);
    for (const name of ['', '\0', 'name\0', 'a\uFFFDb', 'a\uD801b', 'nam']) {
      expect(found(name)).toEqual([]);
    }
  });
});

describe('Memory', () => {
  const make = (descriptor) => new wn.Memory(descriptor);

  test('reads its descriptor in order, each property once', () => {
    const { object, seen } = spy({ address: 'i32', initial: 1, maximum: 1, shared: true });
    make({ __proto__: object, shared: undefined });
    expect(seen).toEqual([
      'address',
      'address converted',
      'initial',
      'initial converted',
      'maximum',
      'maximum converted',
    ]);
    const proxy = new Proxy(
      {},
      {
        has: () => {
          throw new Error('has');
        },
        get: (_, key) => (['initial', 'maximum'].includes(key) ? 0 : undefined),
      },
    );
    expect(make(proxy).buffer.byteLength).toBe(0);
  });

  test('refuses what is out of range', () => {
    for (const value of PAST_32_BITS) {
      expect(() => make({ initial: value })).toThrow(TypeError);
      expect(() => make({ initial: 0, maximum: value })).toThrow(TypeError);
    }
    for (const value of [...PAST_64_BITS, 1, null, undefined]) {
      expect(() => make({ address: 'i64', initial: value })).toThrow(TypeError);
      if (value === undefined) continue;
      expect(() => make({ address: 'i64', initial: 0n, maximum: value })).toThrow(TypeError);
    }
    for (const address of ['none', '', null, 'I32', 32]) {
      expect(() => make({ address, initial: 1 })).toThrow(TypeError);
    }
    expect(() => make({ initial: 1n })).toThrow(TypeError);
    const ranges = [
      { initial: 10, maximum: 9 },
      { initial: 65537 },
      { initial: 0, maximum: 65537 },
      { address: 'i64', initial: 10n, maximum: 9n },
      { address: 'i64', initial: 262145n },
      { address: 'i64', initial: 0n, maximum: 2n ** 37n },
    ];
    for (const range of ranges) expect(() => make(range)).toThrow(RangeError);
    make({ initial: 0, maximum: 65536 });
    make({ address: 'i64', initial: 0n, maximum: 2n ** 37n - 1n });
  });

  test('converts what it is given', () => {
    for (const initial of ['3', 3.9, { valueOf: () => 3 }]) {
      expect(make({ initial }).buffer.byteLength).toBe(3 * 65536);
    }
    expect(make({ initial: true }).buffer.byteLength).toBe(65536);
    for (const initial of ['3', 3n, { valueOf: () => 3n }]) {
      expect(make({ address: 'i64', initial }).buffer.byteLength).toBe(3 * 65536);
    }
  });

  test.each(['i32', 'i64'])('grows, with %s addresses', (address) => {
    const number = address === 'i64' ? BigInt : Number;
    const memory = make({ address, initial: number(1), maximum: number(4) });
    const first = memory.buffer;
    expect(memory.buffer).toBe(first);
    expect(memory.grow(number(2))).toBe(number(1));
    expect([first.byteLength, memory.buffer.byteLength]).toEqual([0, 3 * 65536]);
    const second = memory.buffer;
    expect(() => memory.grow(number(2))).toThrow(RangeError);
    expect(memory.buffer).toBe(second);
    expect(memory.grow(number(0))).toBe(number(3));
    expect([second.byteLength, memory.buffer.byteLength]).toEqual([0, 3 * 65536]);
    expect(memory.grow(number(1), {})).toBe(number(3));
    const wrong = address === 'i64' ? [...PAST_64_BITS, '0x10000000000000000', 1] : [...PAST_32_BITS, 1n];
    for (const delta of [...wrong, undefined]) expect(() => memory.grow(delta)).toThrow(TypeError);
    expect(() => memory.grow()).toThrow(TypeError);
  });

  test('with 64-bit addresses is imported and exported as such', async () => {
    const text = `(module (import "m" "m" (memory i64 1)) (export "m" (memory 0))
      (func (export "load") (param i64) (result i32) (i32.load8_u (local.get 0))))`;
    const memory = make({ address: 'i64', initial: 1n });
    const { exports } = await instance(text, { m: { m: memory } });
    expect(exports.m).toBe(memory);
    new Uint8Array(memory.buffer)[65535] = 9;
    expect(exports.load(65535n)).toBe(9);
    expect(() => exports.load(2n ** 32n + 65535n)).toThrow(/out of bounds/);
    expect(memory.grow(1n)).toBe(1n);
    expect(exports.load(131071n)).toBe(0);
    const own = await instance('(module (memory (export "own") i64 2))');
    expect(own.exports.own.grow(1n)).toBe(2n);
    const narrow = make({ initial: 1 });
    await expect(instance(text, { m: { m: narrow } })).rejects.toThrow(wn.LinkError);
  });
});

describe('Table', () => {
  const make = (descriptor, ...rest) => new wn.Table(descriptor, ...rest);
  let f;
  beforeAll(async () => {
    ({ f } = (await instance('(module (func (export "f")))')).exports);
  });

  test('reads its descriptor in order, each property once', () => {
    const { object, seen } = spy({ address: 'i32', element: 'anyfunc', initial: 1, maximum: 1 });
    make(object);
    expect(seen).toEqual(
      ['element', 'address', 'initial', 'maximum'].flatMap((name) => [name, `${name} converted`]),
    );
  });

  test('refuses what is out of range', () => {
    const element = 'anyfunc';
    for (const value of PAST_32_BITS) {
      expect(() => make({ element, initial: value })).toThrow(TypeError);
      expect(() => make({ element, initial: 0, maximum: value })).toThrow(TypeError);
    }
    for (const value of [...PAST_64_BITS, 1]) {
      expect(() => make({ element, address: 'i64', initial: value })).toThrow(TypeError);
      expect(() => make({ element, address: 'i64', initial: 0n, maximum: value })).toThrow(TypeError);
    }
    for (const wrong of [undefined, null, 'i32', 'v128', 'exnref']) {
      expect(() => make({ element: wrong, initial: 0 })).toThrow(TypeError);
    }
    expect(() => make({ element, initial: 10, maximum: 9 })).toThrow(RangeError);
    expect(() => make({ element, address: 'i64', initial: 10n, maximum: 9n })).toThrow(RangeError);
    expect(() => make({ element, initial: 10_000_001 })).toThrow(RangeError);
    const large = make({ element, initial: 1, maximum: 10_000_001 });
    expect(() => large.grow(10_000_000)).toThrow(RangeError);
    expect(make({ element, address: 'i64', initial: 0n, maximum: 2n ** 64n - 1n }).length).toBe(0n);
  });

  test.each(['i32', 'i64'])('gets, sets and grows, with %s indices', (address) => {
    const number = address === 'i64' ? BigInt : Number;
    const table = make({ element: 'anyfunc', address, initial: number(2), maximum: number(5) });
    const all = () => Array.from({ length: Number(table.length) }, (_, k) => table.get(number(k)));
    expect(table.length).toBe(number(2));
    expect(table.set(number(1), f, {})).toBe(undefined);
    expect(all()).toEqual([null, f]);
    expect(table.grow(number(2), f)).toBe(number(2));
    expect(table.grow(number(1))).toBe(number(4));
    expect(all()).toEqual([null, f, f, f, null]);
    table.set(number(1));
    expect(all()).toEqual([null, null, f, f, null]);
    expect(() => table.grow(number(1))).toThrow(RangeError);
    expect(() => table.get(number(5))).toThrow(RangeError);
    expect(() => table.set(number(5), f)).toThrow(RangeError);
    const wrong = address === 'i64' ? [...PAST_64_BITS, '0x10000000000000000', 1] : [...PAST_32_BITS, 1n];
    for (const index of [...wrong, undefined]) {
      expect(() => table.get(index)).toThrow(TypeError);
      expect(() => table.set(index, null)).toThrow(TypeError);
      expect(() => table.grow(index)).toThrow(TypeError);
    }
    for (const other of [undefined, true, 'test', Symbol(), 7, NaN, {}, () => {}, function () {}]) {
      expect(() => table.set(number(0), other)).toThrow(TypeError);
      if (other === undefined) continue;
      expect(() => table.grow(number(0), other)).toThrow(TypeError);
    }
    for (const run of [() => table.get(), () => table.set(), () => table.grow()]) {
      expect(run).toThrow(TypeError);
    }
    let converted = 0;
    expect(() => table.set({ valueOf: () => number(converted++) }, {})).toThrow(TypeError);
    expect(converted).toBe(1);
    expect(all()).toEqual([null, null, f, f, null]);
  });

  test('starts with the value it is given', () => {
    const object = {};
    expect(make({ element: 'anyfunc', initial: 1 }, f).get(0)).toBe(f);
    expect(make({ element: 'externref', initial: 1 }, object).get(0)).toBe(object);
    expect(make({ element: 'externref', initial: 1 }).get(0)).toBe(undefined);
    const table = make({ element: 'externref', initial: 1 }, object);
    table.set(0);
    expect(table.get(0)).toBe(undefined);
    for (const other of [{}, 'text', 37]) {
      expect(() => make({ element: 'anyfunc', initial: 1 }, other)).toThrow(TypeError);
    }
  });

  test('with 64-bit indices is imported and exported as such', async () => {
    const bytes = Buffer.from(
      // (import "m" "t" (table i64 1 funcref)) (export "t" (table 0))
      '0061736d01000000' + '020901016d0174017004' + '01' + '0705010174' + '0100',
      'hex',
    );
    const table = make({ element: 'anyfunc', address: 'i64', initial: 1n });
    const { exports } = new wn.Instance(new wn.Module(bytes), { m: { t: table } });
    expect(exports.t).toBe(table);
    const narrow = make({ element: 'anyfunc', initial: 1 });
    expect(() => new wn.Instance(new wn.Module(bytes), { m: { t: narrow } })).toThrow(wn.LinkError);
  });
});

describe('Global', () => {
  const make = (value, ...rest) => new wn.Global({ value }, ...rest);

  test('reads its descriptor in order, then its value', () => {
    const { object, seen } = spy({ mutable: true, value: 'f64' });
    const value = {
      valueOf() {
        seen.push('value');
      },
    };
    expect(new wn.Global(object, value).value).toBeNaN();
    expect(seen).toEqual(['mutable', 'value', 'value converted', 'value']);
  });

  test('has types', () => {
    for (const type of ['i16', 'i128', 'f16', 'u32', 'u64', 'i32\0', '', undefined, 'exnref']) {
      expect(() => make(type)).toThrow(TypeError);
    }
    expect(() => make('v128')).toThrow(TypeError);
    expect(() => make('v128', 0)).toThrow(TypeError);
    expect(make('anyfunc').value).toBe(null);
    expect(make('externref').value).toBe(undefined);
    expect(make('externref', null).value).toBe(null);
  });

  test.each(['i32', 'f32', 'f64'])('converts numbers, for %s', (type) => {
    const given = [
      [undefined, 0],
      [null, 0],
      [true, 1],
      [false, 0],
      [2, 2],
      ['3', 3],
      [{ toString: () => '5' }, 5],
      [{ valueOf: () => '8' }, 8],
      [{ toString: () => 6 }, 6],
    ];
    for (const [value, expected] of given) {
      const global = make(type, value);
      expect([global.value, global.valueOf()]).toEqual([expected, expected]);
    }
    expect(make(type).value).toBe(0);
    for (const value of [0n, Symbol()]) expect(() => make(type, value)).toThrow(TypeError);
  });

  test('converts BigInts, for i64', () => {
    const given = [
      [undefined, 0n],
      [true, 1n],
      ['3', 3n],
      [123n, 123n],
      [2n ** 63n, -(2n ** 63n)],
      [{ toString: () => '5' }, 5n],
      [{ valueOf: () => 9n }, 9n],
    ];
    for (const [value, expected] of given) expect(make('i64', value).value).toBe(expected);
    for (const value of [null, 666, { valueOf: () => 8 }, Symbol()]) {
      expect(() => make('i64', value)).toThrow(TypeError);
    }
  });

  test('is set only if it is mutable, whatever says so', () => {
    const { set } = Object.getOwnPropertyDescriptor(wn.Global.prototype, 'value');
    for (const mutable of [undefined, null, false, '', 0]) {
      const global = new wn.Global({ value: 'i32', mutable });
      const value = {
        valueOf: () => {
          throw new Error('converted');
        },
      };
      expect(() => (global.value = value)).toThrow(TypeError);
      expect(global.value).toBe(0);
    }
    for (const mutable of [true, 1, 'x', {}]) {
      const global = new wn.Global({ value: 'i32', mutable }, 5);
      global.value = 7;
      expect(global.value).toBe(7);
      expect(set.call(global, 8, {})).toBe(undefined);
      expect(global.value).toBe(8);
      set.call(global);
      expect(global.value).toBe(0);
      expect(() => (global.value = 2n)).toThrow(TypeError);
    }
  });

  test('of a type that JavaScript cannot have refuses to be read and set', async () => {
    const { exports } = await instance(`(module
      (global (export "v") (mut v128) (v128.const i64x2 1 2))
      (global (export "e") (mut exnref) (ref.null exn)))`);
    for (const global of [exports.v, exports.e]) {
      expect(() => global.value).toThrow(TypeError);
      expect(() => global.valueOf()).toThrow(TypeError);
      expect(() => (global.value = null)).toThrow(TypeError);
    }
  });
});

describe('Instance', () => {
  test('reads its imports in the order of the module', async () => {
    const text = `(module (import "a" "g" (global i32)) (import "b" "h" (global i32))
      (import "a" "m" (memory 0)) (import "a" "i" (global i32)))`;
    const seen = [];
    const fields = (module, values) =>
      Object.defineProperties(
        {},
        Object.fromEntries(
          Object.entries(values).map(([name, value]) => [
            name,
            { get: () => (seen.push(`${module}.${name}`), value) },
          ]),
        ),
      );
    const imports = {
      get a() {
        seen.push('a');
        return fields('a', { g: 0, i: 0, m: new wn.Memory({ initial: 1 }) });
      },
      get b() {
        seen.push('b');
        return fields('b', { h: 0 });
      },
      get c() {
        throw new Error('not imported');
      },
    };
    const order = ['a', 'a.g', 'b', 'b.h', 'a', 'a.m', 'a', 'a.i'];
    const module = new wn.Module(await wat(text));
    new wn.Instance(module, imports);
    expect(seen.splice(0)).toEqual(order);
    const linked = wn.instantiate(module, imports);
    // Of a module they are read at once, of bytes when they are compiled.
    expect(seen.splice(0)).toEqual(order);
    await linked;
    const compiled = wn.instantiate(await wat(text), imports);
    expect(seen).toEqual([]);
    await compiled;
    expect(seen).toEqual(order);
  });

  test('refuses imports that are none, by kind of error', async () => {
    const need = async (field, imports, error) => {
      const bytes = await wat(`(module (import "m" "x" ${field}))`);
      const module = new wn.Module(bytes);
      expect(() => new wn.Instance(module, imports)).toThrow(error);
      await expect(wn.instantiate(module, imports)).rejects.toThrow(error);
      await expect(wn.instantiate(bytes, imports)).rejects.toThrow(error);
    };
    for (const imports of NO_OBJECTS) await need('(func)', imports, TypeError);
    for (const imports of NO_OBJECTS.slice(1)) {
      expect(() => new wn.Instance(new wn.Module(EMPTY), imports)).toThrow(TypeError);
      await expect(wn.instantiate(EMPTY, imports)).rejects.toThrow(TypeError);
    }
    for (const m of NO_OBJECTS) await need('(func)', { m }, TypeError);
    const kinds = { Memory: '(memory 0 128)', Table: '(table 0 128 funcref)', Global: '(global i32)' };
    for (const [name, field] of Object.entries(kinds)) {
      const { prototype } = wn[name];
      const others = [undefined, null, true, '', Symbol(), {}, wn[name], prototype];
      for (const x of [...others, Object.create(prototype)]) {
        await need(field, { m: { x } }, wn.LinkError);
      }
    }
    for (const x of [...NO_OBJECTS, {}]) await need('(func)', { m: { x } }, wn.LinkError);
    await need(kinds.Memory, { m: { x: new wn.Memory({ initial: 129 }) } }, wn.LinkError);
    const table = new wn.Table({ element: 'anyfunc', initial: 129 });
    await need(kinds.Table, { m: { x: table } }, wn.LinkError);
    await need(kinds.Global, { m: { x: new wn.Global({ value: 'f32' }) } }, wn.LinkError);
    await need('(global i64)', { m: { x: 0 } }, wn.LinkError);
    await need('(global i32)', { m: { x: 0n } }, wn.LinkError);
  });

  test('exports the same objects for the same things', async () => {
    const module = new wn.Module(
      await wat(`(module (import "m" "f" (func $f (param i32)))
      (import "m" "t" (table $t 1 funcref)) (import "m" "g" (global $g (mut i32)))
      (import "m" "m" (memory $m 1))
      (export "f" (func $f)) (export "t" (table $t)) (export "g" (global $g)) (export "m" (memory $m))
      (func $own (export "own")) (export "again" (func $own))
      (elem (i32.const 0) func $own))`),
    );
    const imports = {
      f: () => {},
      t: new wn.Table({ element: 'anyfunc', initial: 1 }),
      g: new wn.Global({ value: 'i32', mutable: true }),
      m: new wn.Memory({ initial: 1 }),
    };
    const first = new wn.Instance(module, { m: imports }).exports;
    expect([first.t, first.g, first.m]).toEqual([imports.t, imports.g, imports.m]);
    expect(first.f).not.toBe(imports.f);
    expect(first.own).toBe(first.again);
    expect(imports.t.get(0)).toBe(first.own);
    const second = new wn.Instance(module, { m: { ...imports, f: first.f } }).exports;
    expect(second.f).toBe(first.f);
    expect(new wn.Instance(module, { m: imports }).exports.f).not.toBe(first.f);
    for (const [key, index, length] of [
      ['own', '1', 0],
      ['f', '0', 1],
    ]) {
      expect([first[key].name, first[key].length]).toEqual([index, length]);
      expect(() => new first[key]()).toThrow(TypeError);
      expect(Object.hasOwn(first[key], 'prototype')).toBe(false);
    }
  });
});

describe('promises', () => {
  const calls = Object.entries({
    compile: wn.compile,
    instantiate: wn.instantiate,
    compileStreaming: wn.compileStreaming,
    instantiateStreaming: wn.instantiateStreaming,
  });

  test.each(calls)('%s rejects and never throws', async (name, call) => {
    for (const other of [...NO_OBJECTS, {}, wn.Module, wn.Module.prototype, Array.from(EMPTY)]) {
      const promise = call(other);
      expect(promise).toBeInstanceOf(Promise);
      await expect(promise).rejects.toThrow(TypeError);
    }
    await expect(call()).rejects.toThrow(TypeError);
  });

  test('compile and instantiate need no receiver and copy their bytes', async () => {
    for (const receiver of [...NO_OBJECTS, {}]) {
      const bytes = Uint8Array.from(EMPTY);
      const promises = [wn.compile.call(receiver, bytes, {}), wn.instantiate.call(receiver, bytes)];
      bytes.fill(1);
      const [module, result] = await Promise.all(promises);
      expect(module).toBeInstanceOf(wn.Module);
      expect(Object.getPrototypeOf(result)).toBe(Object.prototype);
      expect(Object.keys(result)).toEqual(['module', 'instance']);
      expect(result.module).toBeInstanceOf(wn.Module);
      expect(result.instance).toBeInstanceOf(wn.Instance);
    }
    for (const bytes of [new Uint8Array(), Uint8Array.from([...EMPTY, 0, 0])]) {
      await expect(wn.compile(bytes)).rejects.toThrow(wn.CompileError);
      await expect(wn.instantiate(bytes)).rejects.toThrow(wn.CompileError);
      expect(() => new wn.Module(bytes)).toThrow(wn.CompileError);
    }
  });

  test('the start function runs after instantiate has returned', async () => {
    const module = new wn.Module(await wat('(module (import "m" "f" (func $f)) (start $f))'));
    let started = false;
    const f = () => {
      started = true;
      throw new Error('from start');
    };
    const promise = wn.instantiate(module, { m: { f } });
    expect(started).toBe(false);
    await expect(promise).rejects.toThrow('from start');
  });

  test('streaming takes responses of the right type', async () => {
    const bytes = await wat('(module (import "m" "g" (global i32)) (func (export "f")))');
    const response = (type, options = {}, body = bytes) =>
      new Response(body, { headers: type === undefined ? {} : { 'Content-Type': type }, ...options });
    for (const type of ['application/wasm', ' Application/WASM\t']) {
      expect(await wn.compileStreaming(response(type))).toBeInstanceOf(wn.Module);
    }
    const imports = { m: { g: 1 } };
    const later = Promise.resolve(response('application/wasm'));
    const { instance, module } = await wn.instantiateStreaming(later, imports);
    expect(instance.exports.f()).toBe(undefined);
    expect(module).toBeInstanceOf(wn.Module);

    const refused = async (given, match, error = TypeError) => {
      await expect(wn.compileStreaming(given())).rejects.toThrow(error);
      await expect(wn.instantiateStreaming(given(), imports)).rejects.toThrow(match);
    };
    for (const type of [undefined, '', 'application/octet-stream', 'application/wasm;', 'text/html']) {
      await refused(() => response(type), /MIME type 'application\/wasm'/);
    }
    await refused(() => response('application/wasm', { status: 404 }), /status code 404/);
    const used = response('application/wasm');
    await used.arrayBuffer();
    await refused(() => used, /has been read/);
    await refused(() => Promise.reject(new RangeError('network')), 'network', RangeError);
    await refused(
      () => response('application/wasm', {}, null),
      /compileStreaming|instantiateStreaming/,
      wn.CompileError,
    );
    await expect(wn.instantiateStreaming(response('application/wasm'))).rejects.toThrow(TypeError);
    await expect(wn.instantiateStreaming(response('application/wasm'), 1)).rejects.toThrow(TypeError);
    const error = await wn.compileStreaming(response('text/html')).catch((error) => error);
    expect(error.code).toBe('ERR_WEBASSEMBLY_RESPONSE');
  });
});

test('several results are taken from an iterable before any is converted', async () => {
  const seen = [];
  const results = [2, 7.3];
  const iterable = {
    get [Symbol.iterator]() {
      seen.push('iterator');
      let count = 0;
      return () => ({
        get next() {
          seen.push('next');
          return (...args) => {
            const place = count++;
            seen.push(`next ${args.length}`);
            const value = { valueOf: () => (seen.push(`converted ${place}`), results[place]) };
            return { done: place === results.length, value };
          };
        },
      });
    },
  };
  const { exports } = await instance(
    `(module (import "m" "f" (func $f (param f64 i32) (result i32 f64)))
      (func (export "f") (result f64) (local f64)
        (call $f (f64.const 4.2) (i32.const 7)) (local.set 0) (drop) (local.get 0)))`,
    { m: { f: (...args) => (seen.push(...args), iterable) } },
  );
  expect(exports.f()).toBe(7.3);
  expect(seen).toEqual([
    4.2,
    7,
    'iterator',
    'next',
    'next 0',
    'next 0',
    'next 0',
    'converted 0',
    'converted 1',
  ]);
});

test('a Proxy, a generator or a null for several results is what JavaScript says it is', async () => {
  let given;
  const { exports } = await instance(
    `(module (import "m" "f" (func $f (result i32 i32)))
      (func (export "f") (result i32 i32) (call $f)))`,
    { m: { f: () => given } },
  );
  for (given of [
    new Proxy([1, 2], {}),
    (function* () {
      yield 1;
      yield 2;
    })(),
    new Set([1, 2]),
    '12',
  ]) {
    expect(exports.f()).toEqual([1, 2]);
  }
  for (given of [null, undefined, 1, {}, [1], [1, 2, 3], { [Symbol.iterator]: 1 }]) {
    expect(thrownBy(() => exports.f())).toBeInstanceOf(TypeError);
  }
});
