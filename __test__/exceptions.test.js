'use strict';

const wn = require('..');
const { child, instance, thrownBy, wat } = require('./helpers');

/** Throws and catches in every way, with a tag of its own, an imported one and the JSTag. */
const MODULE = `(module
  (import "m" "tag" (tag $tag (param i32 externref)))
  (import "m" "js" (tag $js (param externref)))
  (import "m" "f" (func $f (param externref)))
  (tag $own (export "own") (param i32 i64 f32 f64 externref funcref))
  (export "again" (tag $own))
  (export "tag" (tag $tag))
  (export "js" (tag $js))
  (func $throw (export "throw") (param i32 externref)
    (throw $tag (local.get 0) (local.get 1)))
  (elem declare func $throw)
  (func (export "throwOwn") (param externref)
    (throw $own (i32.const -1) (i64.const -2) (f32.const 0.1) (f64.const 0.1) (local.get 0)
      (ref.func $throw)))
  (func (export "throwJs") (param externref) (throw $js (local.get 0)))
  (func (export "catchTag") (param externref) (result i32 externref)
    (block $caught (result i32 externref)
      (try_table (catch $tag $caught) (call $f (local.get 0)))
      (i32.const 0) (ref.null extern)))
  (func (export "catchJs") (param externref) (result externref)
    (block $caught (result externref)
      (try_table (catch $js $caught) (call $f (local.get 0)))
      (ref.null extern)))
  (func (export "catchAll") (param externref) (result i32)
    (block $caught
      (try_table (catch_all $caught) (call $f (local.get 0)))
      (return (i32.const 0)))
    (i32.const 1))
  (func (export "rethrow") (param externref)
    (block $caught (result exnref)
      (try_table (catch_all_ref $caught) (call $f (local.get 0)))
      (return))
    throw_ref)
  (table $kept 1 exnref)
  (func (export "keep") (param externref) (local $exception exnref)
    (block $caught (result exnref)
      (try_table (catch_all_ref $caught) (call $f (local.get 0)))
      (return))
    (local.set $exception)
    (table.set $kept (i32.const 0) (local.get $exception)))
  (func (export "throwKept") (throw_ref (table.get $kept (i32.const 0))))
  (func (export "trap") unreachable)
  (func $deep (export "deep") (call $deep)))`;

let tag;
let wasm;
/** What the imported function does. */
let f;

beforeAll(async () => {
  tag = new wn.Tag({ parameters: ['i32', 'externref'] });
  wasm = (await instance(MODULE, { m: { tag, js: wn.JSTag, f: (x) => f(x) } })).exports;
});

beforeEach(() => {
  f = (x) => {
    throw x;
  };
});

describe('Tag', () => {
  test('takes a type with parameters', () => {
    expect(() => new wn.Tag()).toThrow(TypeError);
    expect(() => wn.Tag({ parameters: [] })).toThrow(TypeError);
    for (const type of [undefined, null, false, '', 'test', Symbol(), 1, NaN, {}]) {
      expect(() => new wn.Tag(type)).toThrow(TypeError);
    }
    for (const parameters of [null, 'i32', 5, ['i16'], ['u32'], ['i32\0'], [undefined], ['exnref']]) {
      expect(() => new wn.Tag({ parameters })).toThrow(TypeError);
    }
    expect(new wn.Tag({ parameters: new Set(['i32', 'v128']) })).toBeInstanceOf(wn.Tag);
    expect(Object.isExtensible(tag)).toBe(true);
  });

  test('is one object wherever it is exported', () => {
    expect(wasm.own).toBe(wasm.again);
    expect(Object.getPrototypeOf(wasm.own)).toBe(wn.Tag.prototype);
    expect(wasm.tag).toBe(tag);
    expect(wasm.js).toBe(wn.JSTag);
  });

  test('is imported by type', async () => {
    const text = '(module (import "m" "t" (tag (param i32))))';
    const link = (t) => instance(text, { m: { t } });
    await expect(link(tag)).rejects.toThrow(wn.LinkError);
    await expect(link(tag)).rejects.toThrow(/"m" "t".*a tag \(i32\).*a tag \(i32, externref\)/);
    for (const other of [undefined, {}, 1, () => {}, Object.create(wn.Tag.prototype)]) {
      await expect(link(other)).rejects.toThrow(/must be a WebAssembly.Tag/);
    }
    expect(await link(new wn.Tag({ parameters: ['i32'] }))).toBeInstanceOf(wn.Instance);
  });

  test('the JSTag does not make one group of all who import it', async () => {
    const { stdout } = child(
      `let gone = 0;
       const registry = globalThis.registry = new FinalizationRegistry(() => gone++);
       const module = new wn.Module(bytes.m);
       for (let i = 0; i < 50; i++) {
         registry.register(new wn.Instance(module, { m: { js: wn.JSTag } }).exports.memory);
       }
       for (let i = 0; i < 20 && gone < 40; i++) {
         await new Promise(setImmediate);
         gc();
       }
       console.log(gone >= 40);`,
      {
        flags: ['--expose-gc'],
        modules: {
          m: await wat('(module (import "m" "js" (tag (param externref))) (memory (export "memory") 1))'),
        },
      },
    );
    expect(stdout).toBe('true\n');
  });
});

describe('Exception', () => {
  test('checks its arguments', () => {
    const none = new wn.Tag({ parameters: [] });
    expect(() => new wn.Exception()).toThrow(TypeError);
    expect(() => new wn.Exception(none)).toThrow(TypeError);
    expect(() => wn.Exception(none, [])).toThrow(TypeError);
    for (const other of [undefined, null, true, '', Symbol(), 1, {}, wn.Tag, wn.Tag.prototype]) {
      expect(() => new wn.Exception(other, [])).toThrow(TypeError);
    }
    for (const payload of [[1], [1, 2, 3], 'ab', 5, null, {}]) {
      expect(() => new wn.Exception(tag, payload)).toThrow(TypeError);
    }
    for (const [type, value] of [
      ['i32', 1n],
      ['i32', Symbol()],
      ['f32', 1n],
      ['i64', undefined],
      ['i64', 1],
      ['anyfunc', () => {}],
      ['anyfunc', undefined],
      ['v128', 1],
    ]) {
      expect(() => new wn.Exception(new wn.Tag({ parameters: [type] }), [value])).toThrow(TypeError);
    }
    expect(() => new wn.Exception(wn.JSTag, [{}])).toThrow(TypeError);
    expect(() => new wn.Exception(none, [], 5)).toThrow(TypeError);
    expect(new wn.Exception(none, [], null)).toBeInstanceOf(wn.Exception);
  });

  test('carries converted values', () => {
    const { throw: f } = wasm;
    const types = ['i32', 'i64', 'f32', 'f64', 'externref', 'anyfunc', 'anyfunc'];
    const all = new wn.Tag({ parameters: types });
    const object = {};
    const exception = new wn.Exception(all, [4294967295.5, '8', 0.1, '0.1', object, f, null]);
    const values = types.map((_, k) => exception.getArg(all, k));
    expect(values).toEqual([-1, 8n, Math.fround(0.1), 0.1, object, f, null]);
    expect(values[4]).toBe(object);
    expect(exception.is(all)).toBe(true);
    expect(exception.is(tag)).toBe(false);
  });

  test('getArg and is check their arguments', () => {
    const exception = new wn.Exception(tag, [1, 2]);
    const { getArg, is } = wn.Exception.prototype;
    for (const other of [undefined, null, true, '', Symbol(), 1, {}]) {
      expect(() => exception.getArg(other, 0)).toThrow(TypeError);
      expect(() => exception.is(other)).toThrow(TypeError);
      expect(() => getArg.call(other, tag, 0)).toThrow(TypeError);
      expect(() => is.call(other, tag)).toThrow(TypeError);
    }
    expect(() => exception.getArg()).toThrow(TypeError);
    expect(() => exception.getArg(tag)).toThrow(TypeError);
    for (const index of [undefined, NaN, Infinity, -Infinity, -1, 2 ** 32, '0x100000000']) {
      expect(() => exception.getArg(tag, index)).toThrow(TypeError);
    }
    expect(() => exception.getArg(tag, 2)).toThrow(RangeError);
    expect(() => exception.getArg(new wn.Tag({ parameters: ['i32'] }), 0)).toThrow(TypeError);
    expect(exception.getArg(tag, '1')).toBe(2);
  });

  test('has a stack if asked', () => {
    expect(new wn.Exception(tag, [1, 2]).stack).toBeUndefined();
    expect(new wn.Exception(tag, [1, 2], { traceStack: true }).stack).toMatch(/exceptions\.test\.js/);
  });
});

describe('an exception of wasm', () => {
  test('is an Exception in JavaScript', () => {
    const object = {};
    const exception = thrownBy(() => wasm.throw(7, object));
    expect(exception).toBeInstanceOf(wn.Exception);
    expect(Object.getPrototypeOf(exception)).toBe(wn.Exception.prototype);
    expect(exception.is(tag)).toBe(true);
    expect(exception.is(wasm.own)).toBe(false);
    expect([exception.getArg(tag, 0), exception.getArg(tag, 1)]).toEqual([7, object]);
    expect(thrownBy(() => wasm.throw(7, object))).not.toBe(exception);
  });

  test('carries values of all types', () => {
    for (const value of [undefined, null, true, 'text', Symbol(), 1n, -0, NaN, {}, () => {}]) {
      const exception = thrownBy(() => wasm.throwOwn(value));
      const values = [0, 1, 2, 3, 4, 5].map((k) => exception.getArg(wasm.own, k));
      expect(values).toEqual([-1, -2n, Math.fround(0.1), 0.1, value, wasm.throw]);
      expect(Object.is(values[4], value)).toBe(true);
      expect(values[5]).toBe(wasm.throw);
    }
  });

  test('keeps its identity and what was put on it on its way through wasm', () => {
    const exception = thrownBy(() => wasm.throwOwn(1));
    exception.note = 'mine';
    expect(thrownBy(() => wasm.rethrow(exception))).toBe(exception);
    expect(thrownBy(() => wasm.rethrow(exception)).note).toBe('mine');
    const made = new wn.Exception(tag, [1, 2]);
    expect(thrownBy(() => wasm.rethrow(made))).toBe(made);
    expect(thrownBy(() => wasm.catchJs(made))).toBe(made);
  });

  test('is one object each time wasm throws it', () => {
    f = () => wasm.throw(8, 'kept');
    wasm.keep();
    const first = thrownBy(() => wasm.throwKept());
    expect(first.getArg(tag, 1)).toBe('kept');
    expect(thrownBy(() => wasm.throwKept())).toBe(first);
  });

  test('of JavaScript is caught by its tag, with its values', () => {
    expect(wasm.catchTag(new wn.Exception(tag, [5, 'five']))).toEqual([5, 'five']);
    expect(wasm.catchAll(new wn.Exception(tag, [5, 'five']))).toBe(1);
    const other = new wn.Exception(new wn.Tag({ parameters: ['i32', 'externref'] }), [5, 'five']);
    expect(thrownBy(() => wasm.catchTag(other))).toBe(other);
  });

  test('thrown by a start function is at home in its module', async () => {
    const text = `(module (tag $t (param funcref)) (func $s (throw $t (ref.func $s)))
      (elem declare func $s) (start $s))`;
    const module = new wn.Module(await wat(text));
    const exception = thrownBy(() => new wn.Instance(module));
    expect(exception).toBeInstanceOf(wn.Exception);
    expect(exception.is(tag)).toBe(false);
  });

  test('keeps payload that JavaScript cannot have', async () => {
    const { exports: own } = await instance(
      `(module (import "m" "f" (func $f)) (tag $t (export "t") (param v128 i32))
        (func (export "throw") (throw $t (v128.const i64x2 7 8) (i32.const 9)))
        (func (export "catch") (result i64 i32) (local $n i32)
          (block $caught (result v128 i32)
            (try_table (catch $t $caught) (call $f)) unreachable)
          (local.set $n) (i64x2.extract_lane 1) (local.get $n)))`,
      { m: { f: () => f() } },
    );
    const exception = thrownBy(() => own.throw());
    expect(exception.getArg(own.t, 1)).toBe(9);
    expect(() => exception.getArg(own.t, 0)).toThrow(TypeError);
    f = () => {
      throw exception;
    };
    expect(own.catch()).toEqual([8n, 9]);
  });
});

describe('what JavaScript throws', () => {
  test('is an exception of the JSTag', () => {
    for (const value of [undefined, null, 0, -0, NaN, 'text', Symbol(), 1n, {}, new Error()]) {
      expect(wasm.catchAll(value)).toBe(1);
      expect(wasm.catchJs(value)).toBe(value);
      expect(thrownBy(() => wasm.rethrow(value))).toBe(value);
      expect(thrownBy(() => wasm.throwJs(value))).toBe(value);
      expect(thrownBy(() => wasm.catchTag(value))).toBe(value);
    }
  });

  test('unless it is a trap or the end of a program', async () => {
    f = () => wasm.trap();
    expect(thrownBy(() => wasm.catchAll())).toBeInstanceOf(wn.RuntimeError);
    f = () => wasm.deep();
    expect(thrownBy(() => wasm.catchAll())).toBeInstanceOf(RangeError);
    // An error that only looks like a trap is a value like any other.
    f = () => {
      throw new wn.RuntimeError('mine');
    };
    expect(wasm.catchAll()).toBe(1);

    const wasi = new wn.WASI({ version: 'preview1' });
    const program = await instance(
      `(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1)
        (func (export "_start")
          (block $caught (try_table (catch_all $caught) (call $exit (i32.const 7))))))`,
      wasi.getImportObject(),
    );
    expect(wasi.start(program)).toBe(7);
  });

  test('wasm catches it after many came and went', () => {
    for (let i = 0; i < 20000; i++) {
      if (wasm.catchJs(i) !== i) throw new Error(`${i}`);
      if (wasm.catchTag(new wn.Exception(tag, [i, 0]))[0] !== i) throw new Error(`${i}`);
    }
  });
});

test('exceptions and what they carry live no longer than somebody holds them', async () => {
  const { stdout, stderr } = child(
    `const tag = new wn.Tag({ parameters: ['i32', 'externref'] });
     const { exports } = new wn.Instance(new wn.Module(bytes.m), {
       m: { tag, js: wn.JSTag, f: (x) => { throw x; } },
     });
     let gone = 0;
     const registry = globalThis.registry = new FinalizationRegistry(() => gone++);
     const watched = (value) => { registry.register(value); return value; };
     const attempt = (run) => { try { run(); } catch (error) { return error; } };
     (() => {
       for (let i = 0; i < 100; i++) {
         // A cycle through the payload.
         const object = watched({});
         object.exception = watched(attempt(() => exports.throw(i, object)));
         attempt(() => exports.rethrow(object.exception));
         attempt(() => exports.rethrow(watched({})));
         exports.catchAll(watched({}));
       }
       exports.keep(new wn.Exception(tag, [1, watched({ name: 'kept' })]));
     })();
     for (let i = 0; i < 50 && gone < 400; i++) {
       await new Promise(setImmediate);
       gc();
     }
     // What the last call left on the stack may still look alive.
     console.log(gone >= 396, gone <= 400, attempt(() => exports.throwKept()).getArg(tag, 1).name);`,
    { flags: ['--expose-gc'], modules: { m: await wat(MODULE) } },
  );
  expect(stderr).toBe('');
  expect(stdout).toBe('true true kept\n');
});
