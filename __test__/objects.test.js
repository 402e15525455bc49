'use strict';

const wn = require('..');
const { child, instance, thrownBy, wat } = require('./helpers');

const PAGE = 65536;

describe('Memory', () => {
  test('is the bytes that wasm sees', async () => {
    const { exports } = await instance(
      `(module (memory (export "m") 1)
        (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0)))
        (func (export "store") (param i32 i32) (i32.store8 (local.get 0) (local.get 1))))`,
    );
    const bytes = new Uint8Array(exports.m.buffer);
    expect(bytes).toHaveLength(PAGE);
    bytes[7] = 42;
    expect(exports.load(7)).toBe(42);
    exports.store(8, 43);
    expect(bytes[8]).toBe(43);
    expect(exports.m.buffer).toBe(exports.m.buffer);
  });

  test('growing from JavaScript detaches the buffer and gives a larger one', () => {
    const memory = new wn.Memory({ initial: 1, maximum: 3 });
    const before = memory.buffer;
    new Uint8Array(before)[5] = 5;
    expect(memory.grow(1)).toBe(1);
    expect(before.byteLength).toBe(0);
    const after = memory.buffer;
    expect(after).not.toBe(before);
    expect(after.byteLength).toBe(2 * PAGE);
    expect(new Uint8Array(after)[5]).toBe(5);
    // Growing by nothing renews it too.
    expect(memory.grow(0)).toBe(2);
    expect(after.byteLength).toBe(0);
    expect(memory.buffer.byteLength).toBe(2 * PAGE);
  });

  test('growing beyond the maximum is a RangeError and changes nothing', () => {
    const memory = new wn.Memory({ initial: 1, maximum: 2 });
    const before = memory.buffer;
    expect(() => memory.grow(2)).toThrow(RangeError);
    expect(memory.buffer).toBe(before);
    expect(before.byteLength).toBe(PAGE);
  });

  test('growing inside wasm detaches the buffer before JavaScript runs again', async () => {
    const seen = [];
    let memory;
    const { exports } = await instance(
      `(module (import "m" "look" (func $look)) (memory (export "m") 1)
        (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
        (func (export "growAndLook") (drop (memory.grow (i32.const 1))) call $look))`,
      { m: { look: () => seen.push(memory.buffer.byteLength, view.byteLength) } },
    );
    memory = exports.m;
    let view = new Uint8Array(memory.buffer);
    expect(exports.grow(1)).toBe(1);
    expect(view.byteLength).toBe(0);
    view = new Uint8Array(memory.buffer);
    expect(view.byteLength).toBe(2 * PAGE);
    exports.growAndLook();
    expect(seen).toEqual([3 * PAGE, 0]);
  });

  test('starts empty and grows', () => {
    const memory = new wn.Memory({ initial: 0 });
    expect(memory.buffer.byteLength).toBe(0);
    expect(memory.buffer).toBe(memory.buffer);
    memory.grow(1);
    expect(memory.buffer.byteLength).toBe(PAGE);
  });

  test('is shared by instances that import it and is one object', async () => {
    const memory = new wn.Memory({ initial: 1 });
    const text = `(module (import "m" "m" (memory 1)) (export "m" (memory 0))
      (func (export "load") (result i32) (i32.load (i32.const 0))))`;
    const a = await instance(text, { m: { m: memory } });
    const b = await instance(text, { m: { m: a.exports.m } });
    expect(a.exports.m).toBe(memory);
    expect(b.exports.m).toBe(memory);
    new Int32Array(memory.buffer)[0] = 77;
    expect([a.exports.load(), b.exports.load()]).toEqual([77, 77]);
  });

  test('a buffer that was transferred away does no harm', () => {
    const memory = new wn.Memory({ initial: 1 });
    new Uint8Array(memory.buffer)[1] = 11;
    let moved = null;
    try {
      moved = structuredClone(memory.buffer, { transfer: [memory.buffer] });
    } catch (error) {
      // Newer Nodes refuse.
      expect(error.name).toBe('DataCloneError');
    }
    expect(memory.buffer.byteLength).toBe(PAGE);
    expect(new Uint8Array(memory.buffer)[1]).toBe(11);
    memory.grow(1);
    expect(memory.buffer.byteLength).toBe(2 * PAGE);
    if (moved !== null) expect(new Uint8Array(moved)[1]).toBe(11);
  });

  test('checks its descriptor', () => {
    for (const bad of [undefined, 5, {}, { initial: -1 }, { initial: 2 ** 32 }, { initial: 'x' }]) {
      expect(() => new wn.Memory(bad)).toThrow(TypeError);
    }
    expect(() => new wn.Memory({ initial: 2, maximum: 1 })).toThrow(RangeError);
    expect(() => new wn.Memory({ initial: 65537 })).toThrow(RangeError);
  });
});

describe('Table', () => {
  test('holds functions and gives the same ones back', async () => {
    const { exports } = await instance(
      `(module (table (export "t") 3 funcref) (elem (i32.const 0) $f $g)
        (type $i (func (result i32)))
        (func $f (export "f") (result i32) i32.const 1)
        (func $g (result i32) i32.const 2)
        (func (export "call") (param i32) (result i32)
          (call_indirect (type $i) (local.get 0))))`,
    );
    const { t, f, call } = exports;
    expect(t.length).toBe(3);
    expect(t.get(0)).toBe(f);
    expect(t.get(1)).toBe(t.get(1));
    expect(t.get(1)()).toBe(2);
    expect(t.get(2)).toBe(null);
    t.set(2, t.get(1));
    expect(call(2)).toBe(2);
    t.set(1, f);
    expect(call(1)).toBe(1);
    t.set(0);
    expect(t.get(0)).toBe(null);
    expect(() => call(0)).toThrow(wn.RuntimeError);
    const other = await instance('(module (func (export "f") (result i32) i32.const 9))');
    t.set(0, other.exports.f);
    expect(call(0)).toBe(9);
    expect(t.get(0)).toBe(other.exports.f);
    expect(() => t.set(0, () => 1)).toThrow(TypeError);
  });

  test('refuses places outside', () => {
    const table = new wn.Table({ element: 'anyfunc', initial: 2 });
    for (const index of [2, 2 ** 32 - 1]) {
      expect(thrownBy(() => table.get(index))).toBeInstanceOf(RangeError);
      expect(thrownBy(() => table.set(index, null))).toBeInstanceOf(RangeError);
    }
    for (const index of [-1, NaN, 2 ** 32, undefined]) {
      expect(() => table.get(index)).toThrow(TypeError);
    }
  });

  test('grows with a value', () => {
    const table = new wn.Table({ element: 'externref', initial: 1, maximum: 3 }, 'first');
    expect(table.get(0)).toBe('first');
    expect(table.grow(2, 'more')).toBe(1);
    expect([table.length, table.get(1), table.get(2)]).toEqual([3, 'more', 'more']);
    expect(() => table.grow(1)).toThrow(RangeError);
    table.set(0);
    expect(table.get(0)).toBe(undefined);
  });

  test('checks its descriptor', () => {
    for (const bad of [undefined, {}, { element: 'i32', initial: 1 }, { element: 'anyfunc' }]) {
      expect(() => new wn.Table(bad)).toThrow(TypeError);
    }
    expect(() => new wn.Table({ element: 'anyfunc', initial: 2, maximum: 1 })).toThrow(RangeError);
    expect(() => new wn.Table({ element: 'anyfunc', initial: 1 }, () => 1)).toThrow(TypeError);
    // As if it were missing, which Web IDL and V8 say.
    expect(new wn.Table({ element: 'anyfunc', initial: 1 }, undefined).get(0)).toBe(null);
  });
});

describe('Global', () => {
  test('has a value of its type', () => {
    const cases = [
      ['i32', 2 ** 32 + 1, 1],
      ['i64', 2n ** 64n + 1n, 1n],
      ['f32', 0.1, Math.fround(0.1)],
      ['f64', '0.1', 0.1],
      ['externref', 'any', 'any'],
      ['anyfunc', null, null],
    ];
    for (const [value, given, expected] of cases) {
      const global = new wn.Global({ value, mutable: true }, given);
      expect(global.value).toBe(expected);
      expect(global.valueOf()).toBe(expected);
    }
    expect(new wn.Global({ value: 'i64' }).value).toBe(0n);
    expect(new wn.Global({ value: 'externref' }).value).toBe(undefined);
    expect(() => new wn.Global({ value: 'i64' }, 5)).toThrow(TypeError);
    expect(() => new wn.Global({ value: 'i31' })).toThrow(TypeError);
  });

  test('is shared with wasm and only set if mutable', async () => {
    const shared = new wn.Global({ value: 'i32', mutable: true }, 1);
    const { exports } = await instance(
      `(module (import "m" "g" (global $g (mut i32))) (export "again" (global $g))
        (global (export "fixed") i32 (i32.const 3))
        (func (export "bump") (global.set $g (i32.add (global.get $g) (i32.const 1)))))`,
      { m: { g: shared } },
    );
    expect(exports.again).toBe(shared);
    shared.value = 10;
    exports.bump();
    expect(shared.value).toBe(11);
    expect(exports.fixed.value).toBe(3);
    expect(() => (exports.fixed.value = 4)).toThrow(TypeError);
  });

  test('holds functions', async () => {
    const { exports } = await instance(
      `(module (global (export "g") (mut funcref) (ref.func $f)) (func $f (export "f")))`,
    );
    expect(exports.g.value).toBe(exports.f);
    exports.g.value = null;
    expect(exports.g.value).toBe(null);
    expect(() => (exports.g.value = () => 1)).toThrow(TypeError);
  });
});

describe('lifetimes', () => {
  const run = async (code, modules = {}) => {
    const encoded = {};
    for (const [name, text] of Object.entries(modules)) encoded[name] = await wat(text);
    const { stdout, stderr, status } = child(
      `const settle = async () => {
         for (let i = 0; i < 5; i++) { gc(); await new Promise((go) => setTimeout(go, 5)); }
       };
       ${code}`,
      { flags: ['--expose-gc'], modules: encoded },
    );
    expect(stderr).toBe('');
    expect(status).toBe(0);
    return stdout.trim();
  };

  test('an instance goes though its import function refers back to it', async () => {
    const text = `(module (import "m" "f" (func $f)) (memory (export "m") 1)
      (func (export "run") call $f))`;
    const code = `
      const module = new wn.Module(bytes.m);
      const gone = [];
      const registry = globalThis.registry = new FinalizationRegistry((n) => gone.push(n));
      for (let round = 0; round < 200; round++) {
        const instance = new wn.Instance(module, { m: { f: () => instance.exports } });
        instance.exports.run();
        instance.exports.m.buffer;
        registry.register(instance, round);
        if (round % 20 === 19) await settle();
      }
      await settle();
      const maps = require('node:fs').readFileSync('/proc/self/maps', 'utf8').split('\\n');
      const huge = maps.filter((line) => {
        const [start, end] = line.split(' ')[0].split('-').map((hex) => parseInt(hex, 16));
        return end - start >= 2 ** 31;
      });
      console.log(gone.length > 190, huge.length < 100);`;
    expect(await run(code, { m: text })).toBe('true true');
  });

  test('a function, a buffer or a table element each keeps what it needs', async () => {
    const a = `(module (import "m" "f" (func $f (result i32))) (memory (export "m") 1)
      (table (export "t") 1 funcref) (elem (i32.const 0) $g)
      (func $g (result i32) (i32.add (call $f) (i32.load (i32.const 0))))
      (func (export "run") (result i32) call $g))`;
    const code = `
      const make = () => new wn.Instance(new wn.Module(bytes.a), { m: { f: () => 40 } }).exports;
      const { run } = make();
      const { t } = make();
      const element = make().t.get(0);
      const { buffer } = make().m;
      const table = new wn.Table({ element: 'anyfunc', initial: 1 });
      table.set(0, make().run);
      await settle();
      new Int32Array(buffer)[0] = 1;
      console.log(run(), t.get(0)(), element(), new Int32Array(buffer)[0], table.get(0)());`;
    expect(await run(code, { a })).toBe('40 40 40 1 40');
  });

  test('a funcref that was passed in keeps its instance', async () => {
    const keeper = `(module (table 1 funcref) (type $i (func (result i32)))
      (func (export "put") (param funcref) (table.set (i32.const 0) (local.get 0)))
      (func (export "call") (result i32) (call_indirect (type $i) (i32.const 0))))`;
    const given =
      '(module (memory 1) (func (export "f") (result i32) (i32.load8_u (i32.const 0))) (data (i32.const 0) "\\2a"))';
    const code = `
      const keeper = new wn.Instance(new wn.Module(bytes.keeper)).exports;
      keeper.put(new wn.Instance(new wn.Module(bytes.given)).exports.f);
      await settle();
      for (let i = 0; i < 20; i++) new wn.Instance(new wn.Module(bytes.given));
      await settle();
      console.log(keeper.call());`;
    expect(await run(code, { keeper, given })).toBe('42');
  });

  test('a host value that leads back to what holds it goes with it', async () => {
    const text = `(module (table (export "t") 1 externref) (global $g (mut externref) (ref.null extern))
      (func (export "set") (param externref) (global.set $g (local.get 0)))
      (func (export "put") (param externref) (table.set (i32.const 0) (local.get 0))))`;
    const code = `
      const module = new wn.Module(bytes.m);
      const left = async (make) => {
        let count = 0;
        const registry = new FinalizationRegistry(() => count--);
        for (let round = 0; round < 100; round++) {
          count++;
          registry.register(make(), 0);
        }
        for (let i = 0; i < 20 && count > 5; i++) await settle();
        return count <= 5;
      };
      const externref = { element: 'externref', initial: 1 };
      console.log(
        await left(() => { const t = new wn.Table(externref); const o = { t }; t.set(0, o); return o; }),
        await left(() => { const g = new wn.Global({ value: 'externref', mutable: true }); return g.value = { g }; }),
        await left(() => { const i = new wn.Instance(module); const o = { i }; i.exports.set(o); return o; }),
        await left(() => { const i = new wn.Instance(module); const o = { i }; i.exports.put(o); return o; }),
        // Two that hold each other's.
        await left(() => {
          const [a, b] = [new wn.Table(externref), new wn.Table(externref)];
          const o = { b };
          a.set(0, o);
          b.set(0, { a });
          return o;
        }),
        await left(() => {
          const tag = new wn.Tag({ parameters: ['externref'] });
          const o = { tag };
          return o.exception = new wn.Exception(tag, [o]);
        }),
      );`;
    expect(await run(code, { m: text })).toBe('true true true true true true');
  });

  test('the glue of signatures that nothing uses any more goes', async () => {
    // Each of other numbers of parameters of two types.
    const types = Array.from({ length: 700 }, (_, k) => [k % 26, Math.floor(k / 26)]);
    const params = ([a, b]) => `(param ${'i32 '.repeat(a)}${'f64 '.repeat(b)})`;
    const text = `(module ${types.map((type, k) => `(func (export "f${k}") ${params(type)})`).join('\n')})`;
    const code = `
      const { Session } = require('node:inspector');
      const alive = () => {
        const session = new Session();
        session.connect();
        let count = 0;
        session.on('Debugger.scriptParsed', ({ params }) => {
          if (params.url.startsWith('wasi-native/export/')) count++;
        });
        session.post('Debugger.enable');
        session.disconnect();
        return count;
      };
      let { exports } = new wn.Instance(new wn.Module(bytes.m));
      const all = alive();
      exports = undefined;
      for (let i = 0; i < 10; i++) await settle();
      console.log(all, alive() <= 260);`;
    expect(await run(code, { m: text })).toBe('700 true');
  });

  test('host values stay what they are when what holds them comes together', async () => {
    const text = `(module (table $t (export "t") 3000 externref) (table $f 1 funcref)
      (func (export "put") (param i32 externref) (table.set $t (local.get 0) (local.get 1)))
      (func (export "get") (param i32) (result externref) (table.get $t (local.get 0)))
      (func (export "link") (param funcref) (table.set $f (i32.const 0) (local.get 0))))`;
    const code = `
      const module = new wn.Module(bytes.m);
      const common = { of: 'both' };
      const parts = Array.from({ length: 6 }, () => new wn.Instance(module).exports);
      const value = (k, place) => [common, k * 10000 + place, undefined, null, -0, 0, { k, place }][place % 7];
      const kept = parts.map(() => []);
      const fill = (from, to) => parts.forEach((part, k) => {
        for (let place = from; place < to; place++) part.put(place, kept[k][place] = value(k, place));
      });
      const right = () => parts.every((part, k) =>
        kept[k].every((given, place) => Object.is(part.get(place), given) && Object.is(part.t.get(place), given)));
      fill(0, 600);
      console.log(right());
      parts[0].link(parts[1].put);
      parts[3].link(parts[2].put);
      await settle();
      fill(600, 1500);
      console.log(right());
      parts[1].link(parts[3].get);
      parts[4].link(parts[0].get);
      await settle();
      fill(1500, 3000);
      fill(0, 100);
      await settle();
      console.log(right());`;
    expect(await run(code, { m: text })).toBe('true\ntrue\ntrue');
  });

  test('a single host value goes when wasm lets it go, wherever it was', async () => {
    const text = `(module (import "m" "make" (func $make (result externref)))
      (table $t (export "t") 4 externref) (global $g (export "g") (mut externref) (ref.null extern))
      (elem $passive externref (item (ref.null extern)))
      (func (export "pass") (param externref))
      (func (export "setGlobal") (param externref) (global.set $g (local.get 0)))
      (func (export "setTable") (param externref) (table.set $t (i32.const 1) (local.get 0)))
      (func (export "fill") (param externref)
        (table.fill $t (i32.const 0) (local.get 0) (i32.const 4)))
      (func (export "import") (drop (call $make)))
      (func (export "return") (result externref) (call $make)))`;
    const code = `
      let made;
      const { exports } = new wn.Instance(new wn.Module(bytes.m), { m: { make: () => made } });
      const ways = {
        passed: [(value) => exports.pass(value)],
        returned: [(value) => { made = value; exports.import(); exports.return(); made = null; }],
        global: [(value) => exports.setGlobal(value), () => exports.setGlobal(null)],
        'global of JavaScript': [(value) => { exports.g.value = value; }, () => { exports.g.value = 1; }],
        table: [(value) => exports.setTable(value), () => exports.setTable(null)],
        'table of JavaScript': [(value) => exports.t.set(2, value), () => exports.t.set(2, 0)],
        'all of a table': [(value) => exports.fill(value), () => exports.fill(null)],
        'a table that grew': [(value) => exports.t.grow(1, value), () => exports.t.set(4, null)],
      };
      const isGone = async (reference) => {
        for (let round = 0; round < 8; round++) {
          await new Promise((go) => setTimeout(go, 2));
          gc();
          if (reference.deref() === undefined) return true;
        }
        return false;
      };
      for (const [name, [put, take]] of Object.entries(ways)) {
        const reference = (() => { const value = {}; put(value); return new WeakRef(value); })();
        if (take !== undefined) {
          if (await isGone(reference)) console.log(name, 'went too early');
          take();
        }
        if (!await isGone(reference)) console.log(name, 'stays');
      }
      console.log('done');`;
    expect(await run(code, { m: text })).toBe('done');
  });

  test('host values live as long as wasm holds them and no longer', async () => {
    const text = `(module (table (export "t") 1 externref) (global $g (mut externref) (ref.null extern))
      (func (export "keep") (param externref) (global.set $g (local.get 0)))
      (func (export "pass") (param externref)) (func (export "kept") (result externref) (global.get $g)))`;
    const code = `
      const { keep, pass, kept, t } = new wn.Instance(new wn.Module(bytes.m)).exports;
      keep({ name: 'kept' });
      t.set(0, { name: 'in the table' });
      let gone = 0;
      const registry = globalThis.registry = new FinalizationRegistry(() => gone++);
      for (let i = 0; i < 5000; i++) {
        const value = { i };
        registry.register(value);
        pass(value);
      }
      await settle();
      console.log(gone > 3000, kept().name, t.get(0).name);`;
    expect(await run(code, { m: text })).toBe('true kept in the table');
  });
});
