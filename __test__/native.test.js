'use strict';
// Native modules: a C addon (guests/addon.c), built for wasm with nothing but node-api-headers.

const fs = require('node:fs');
const path = require('node:path');
const { setImmediate: turn } = require('node:timers/promises');
const { Worker } = require('node:worker_threads');
const { brotliDecompressSync } = require('node:zlib');
const { load, loadAsync } = require('..');
const { child, wat } = require('./helpers');

const BYTES = brotliDecompressSync(fs.readFileSync(path.join(__dirname, 'guests', 'addon.wasm.br')));
const addon = () => load(BYTES);
/** A published module that begins with 64 MB. */
const SHARING = '@node-rs/argon2-wasm32-wasi/argon2.wasm32-wasi.wasm';
const m = addon();

/** What a call throws: name, code and message. */
function thrown(run) {
  try {
    run();
  } catch (error) {
    return [error.name, error.code, error.message];
  }
  return undefined;
}

test('functions, by number and by name', () => {
  expect(Object.keys(m)).toContain('add');
  expect(m.add(1, 2)).toBe(3);
  expect(m.noop()).toBeUndefined();
  expect(thrown(() => m.add(1))).toEqual(['TypeError', 'ERR_ARGS', 'too few arguments']);
  expect(thrown(() => m.add('x', 1))).toEqual(['Error', 'STATUS_6', 'A number was expected']);
});

test('values keep what they are', () => {
  expect(m.echo_numbers(-1.5)).toEqual([-1, 4294967295, -1, -1.5]);
  expect(m.echo_numbers(2 ** 53)).toEqual([0, 0, 2 ** 53, 2 ** 53]);
  const values = [undefined, null, true, 1, 's', Symbol('s'), {}, () => 1, {}, 1n];
  values[8] = m.external(1);
  expect(values.map((value) => m.type_of(value))).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  expect(m.big(-(2n ** 64n) - 5n)).toEqual([-5n, false, 2n ** 64n - 5n, false, -(2n ** 64n) - 5n]);
  expect(m.date(new Date(5))).toEqual(new Date(1005));
  const [own, shared, bare] = m.symbols();
  expect([own.description, shared === Symbol.for('shared'), bare.description]).toEqual([
    'own',
    true,
    undefined,
  ]);
});

test.each([8, 1, 16, 17])('text survives encoding %d', (encoding) => {
  const text = encoding === 1 ? 'aé\u00ff' : 'aé\u4f60\u{1f600} end';
  expect(m.echo_text(text, encoding)).toBe(text);
  expect(m.echo_text('', encoding)).toBe('');
  expect(m.echo_text(text.repeat(5000), encoding)).toBe(text.repeat(5000));
});

test('a text is cut where there is no more room for it', () => {
  expect(m.cut_text('abcdefgh', 4)).toBe('abc\0#');
});

test('objects: properties, names, prototypes, freezing', () => {
  const symbol = Symbol('q');
  const found = m.objects({ name: 'x', gone: 1, 7: 8, [symbol]: 2 });
  expect(found).toMatchObject({ name: 'x', has: true, own: false, deleted: true });
  expect(found.names).toEqual(['7', 'name']);
  expect(found.all).toEqual(['7', 'name', symbol]);
  expect(found.prototype).toBe(Object.prototype);
  expect(Object.isFrozen(found)).toBe(true);
  expect([m.instance_of([], Array), m.instance_of({}, Array)]).toEqual([true, false]);
  expect(thrown(() => m.instance_of({}, 1))[1]).toBe('ERR_NAPI_CONS_FUNCTION');
});

test('JavaScript is called, constructed, and caught', () => {
  expect(m.call((a, b) => a + b, 1, 2)).toBe(3);
  expect(m.construct(Map, [[1, 2]])).toEqual(new Map([[1, 2]]));
  const error = new RangeError('mine');
  const fails = () => {
    throw error;
  };
  expect(() => m.call(fails)).toThrow(error);
  expect(m.caught(fails)).toBe(error);
  expect(m.count_arguments()).toEqual([undefined, undefined]);
  const many = Array.from({ length: 100 }, (_, index) => index);
  expect(m.count_arguments(...many)).toEqual([...many, undefined, undefined]);
  const [one, other] = [m.counter(), m.counter()];
  expect([one(), one(), other()]).toEqual([1, 2, 1]);
  expect(m.recurse(m.recurse, 300)).toBe(300);
  expect(m.make_callback(() => 3)).toBe(3);
  expect(m.script('6 * 7')).toBe(42);
});

test('an endless recursion through the guest is an error, and the module goes on', () => {
  const forever = () => m.call(forever);
  expect(forever).toThrow(RangeError);
  expect(m.add(1, 2)).toBe(3);
});

test('classes: construction, accessors, methods, statics, what they wrap', () => {
  const box = new m.Box(3);
  box.value = 5;
  expect([box.value, box.read, box.plus(2), m.Box.answer()]).toEqual([5, 5, 7, 42]);
  expect(thrown(() => (box.read = 1))).toEqual(expect.arrayContaining(['TypeError']));
  class Larger extends m.Box {}
  expect(new Larger(4).plus(1)).toBe(5);
  expect(thrown(() => m.Box(1))).toEqual(['TypeError', undefined, 'Box is a class']);
  expect(thrown(() => m.Box.prototype.plus.call({}, 1))[0]).toBe('TypeError');
  expect(m.box_empty(box)).toBe(5);
  expect(thrown(() => box.value)[1]).toBe('ERR_BOX');
});

test('a method outlives its class', async () => {
  const { plus } = addon().Box.prototype;
  for (let i = 0; i < 20; i++) {
    globalThis.gc?.();
    await turn();
  }
  expect(thrown(() => plus.call({}, 1))[0]).toBe('TypeError');
});

test('what another guest or addon owns is refused', () => {
  const other = addon();
  expect(thrown(() => m.unwrap_any(new other.Box(1)))[1]).toBe('STATUS_1');
  expect(thrown(() => m.external_value(other.external(1)))[1]).toBe('STATUS_1');
  expect(thrown(() => m.box_empty(new other.Box(1)))[1]).toBe('STATUS_1');
  expect(new other.Box(6).value).toBe(6);
  // Handles of the package's own native code are such objects, too.
  const { native, realm } = require('../dist/native.js')('native/binding');
  expect(thrown(() => m.external_value(realm))[1]).toBe('STATUS_1');
  expect(thrown(() => m.unwrap_any(native.traceLines()))[1]).toBe('STATUS_1');
});

test('references hold values, and count', () => {
  const value = { a: 1 };
  m.keep(value, 1);
  expect(m.kept_value()).toBe(value);
  expect([m.count_kept(true), m.count_kept(false)]).toEqual([2, 1]);
});

test('scopes let go of thousands of values; one escapes once', () => {
  expect(m.scopes(10_000)).toBe('escaped');
});

test('errors of each kind, thrown and made', () => {
  expect(thrown(() => m.throw_kind(0))).toEqual(['Error', 'CODE', 'plain']);
  expect(thrown(() => m.throw_kind(1))).toEqual(['TypeError', undefined, 'type']);
  expect(thrown(() => m.throw_kind(2))).toEqual(['RangeError', 'RANGE', 'range']);
  expect(thrown(() => m.throw_kind(3))).toEqual(['SyntaxError', undefined, 'syntax']);
  const kinds = m.make_errors().map(({ name, code }) => [name, code]);
  expect(kinds).toEqual([
    ['Error', 'CODE'],
    ['TypeError', undefined],
    ['RangeError', 'CODE'],
    ['SyntaxError', undefined],
  ]);
  let value;
  try {
    m.throw_any('any');
  } catch (error) {
    value = error;
  }
  expect(value).toBe('any');
  expect(m.last_error(1)).toBe('7 7 A boolean was expected');
});

test('promises settle', async () => {
  const kept = m.promise();
  m.settle(true, 8);
  await expect(kept).resolves.toBe(8);
  const broken = m.promise();
  m.settle(false, new Error('no'));
  await expect(broken).rejects.toThrow('no');
});

describe('bytes', () => {
  test('the guest reads views of every kind', () => {
    const bytes = new Uint8Array([1, 2, 3, 4, 5, 6]);
    expect(m.sum(bytes)).toBe(21);
    expect(m.sum(bytes.subarray(2, 4))).toBe(7);
    expect(m.sum(Buffer.from('pooled'))).toBe([...Buffer.from('pooled')].reduce((a, b) => a + b));
    expect(m.sum(Buffer.alloc(3 << 20, 1))).toBe(3 << 20);
    expect(m.sum(new Uint8Array(0))).toBe(0);
    expect(m.sum(new Uint8Array(new SharedArrayBuffer(4)).fill(2))).toBe(8);
  });

  test('JavaScript sees what the guest writes, and nothing else changes', () => {
    const bytes = new Uint8Array(16);
    m.fill(bytes.subarray(4, 8), 7);
    expect([...bytes]).toEqual([0, 0, 0, 0, 7, 7, 7, 7, 0, 0, 0, 0, 0, 0, 0, 0]);
    expect(m.fill(new Uint16Array(2), 1)).toEqual(new Uint16Array([257, 0]));
    expect(m.fill(new BigInt64Array(1), 1)).toEqual(new BigInt64Array([1n]));
    expect(new Uint8Array(m.fill(new ArrayBuffer(3), 9))).toEqual(new Uint8Array([9, 9, 9]));
    const view = m.fill(new DataView(new ArrayBuffer(5), 1, 3), 4);
    expect([...new Uint8Array(view.buffer)]).toEqual([0, 4, 4, 4, 0]);
    const large = Buffer.alloc(5 << 20);
    m.fill(large, 3);
    expect(large.every((byte) => byte === 3)).toBe(true);
  });

  test('both sides see each other around a call of JavaScript', () => {
    const bytes = Buffer.from([9, 9, 9]);
    const seen = m.write_around(bytes, () => {
      expect(bytes[0]).toBe(1);
      bytes[2] = 50;
    });
    expect([seen, ...bytes]).toEqual([50, 1, 51, 50]);
  });

  test.each(['getter', 'proxy'])('both sides see each other around a property (%s)', (kind) => {
    const bytes = Buffer.from([9, 9, 9]);
    const get = () => {
      expect(bytes[0]).toBe(1);
      return (bytes[2] = 50);
    };
    const object = kind === 'proxy' ? new Proxy({}, { get }) : Object.defineProperty({}, 'value', { get });
    expect([m.write_around_property(bytes, object), ...bytes]).toEqual([50, 1, 51, 50]);
    const own = new Uint8Array(64).fill(5);
    const taken = Object.defineProperty({}, 'value', {
      get: () => void structuredClone(own, { transfer: [own.buffer] }),
    });
    expect([m.write_around_property(own, taken), own.length]).toEqual([5, 0]);
  });

  test('bytes that go away meanwhile are left alone', () => {
    const bytes = new Uint8Array(64).fill(5);
    expect(m.write_around(bytes, () => void structuredClone(bytes, { transfer: [bytes.buffer] }))).toBe(5);
    expect(bytes.length).toBe(0);
    const shrinking = new ArrayBuffer(64, { maxByteLength: 64 });
    if (shrinking.resizable) {
      m.write_around(new Uint8Array(shrinking), () => void shrinking.resize(1));
      expect(shrinking.byteLength).toBe(1);
    }
  });

  test('views of the same bytes lie where they do in JavaScript', () => {
    const bytes = new Uint8Array(100);
    expect(m.same_place(bytes, bytes.subarray(7))).toBe(7);
    m.same_place(bytes.subarray(0, 50), bytes.subarray(30, 80), 1);
    expect([bytes[0], bytes[79]]).toEqual([1, 1]);
  });

  test.each([10, 200_000])('%d bytes that the guest holds by a reference stay the same', (length) => {
    const own = addon();
    const bytes = new Uint8Array(length);
    own.hold(bytes);
    bytes[3] = 5;
    expect(own.write_held(3, 6)).toBe(5);
    expect(bytes[3]).toBe(6);
    own.write_held(4, 1);
    own.sum(new Uint8Array(50_000));
    expect([bytes[3], bytes[4]]).toEqual([6, 1]);
    own.release();
    own.close();
  });

  test.each([0, 1, 2, 3, 4, 5])('bytes of the guest, made in way %d', (way) => {
    const made = m.make_bytes(way, 300);
    const bytes = new Uint8Array(made.buffer ?? made);
    const expected = Uint8Array.from({ length: 300 }, (_, index) => index);
    expect(new Uint8Array(made.buffer ?? made, made.byteOffset ?? 0, 300)).toEqual(expected);
    expect(bytes.buffer).toBeInstanceOf(ArrayBuffer);
    if ([2, 3].includes(way)) expect(made.byteLength).toBe(bytes.buffer.byteLength);
    m.fill(made, 8);
    expect(new Uint8Array(made.buffer ?? made, made.byteOffset ?? 0, 300).every((byte) => byte === 8)).toBe(
      true,
    );
    expect(m.make_bytes(way, 0).byteLength).toBe(0);
    const copy = structuredClone(made);
    expect(copy.byteLength).toBe(300);
  });

  test('buffers keep their bytes when the module is closed', () => {
    const own = addon();
    const made = own.make_bytes(2, 1000);
    own.close();
    expect(made[999]).toBe(999 & 255);
    made.fill(1);
    expect(made[0]).toBe(1);
  });

  test('views over an ArrayBuffer', () => {
    const { buffer } = new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]);
    const [words, view, bytes] = m.make_views(buffer);
    expect(words).toEqual(new Uint16Array([0x0403, 0x0605]));
    expect([view.byteOffset, view.byteLength]).toEqual([1, 3]);
    expect([Buffer.isBuffer(bytes), ...bytes]).toEqual([true, 2, 3, 4, 5]);
    expect(() => m.make_views(new ArrayBuffer(3))).toThrow(/length/i);
    expect(m.detach(new ArrayBuffer(3))).toBe(1);
  });
});

describe('the end', () => {
  test('a trap is an error with the frames of the guest, and the module runs no more', () => {
    const own = addon();
    let error;
    try {
      own.trap();
    } catch (given) {
      error = given;
    }
    expect(error).toMatchObject({ name: 'RuntimeError', code: 'ERR_WASI_TRAP' });
    expect(error.stack).toMatch(/wasm:\/\/wasm|trap/);
    expect(thrown(() => own.add(1, 2))).toEqual([
      'Error',
      'ERR_WASI_DEAD',
      expect.stringMatching(/unreachable/),
    ]);
    expect(() => new own.Box(1)).toThrow(/runs no more/);
    expect(m.add(1, 2)).toBe(3);
  });

  test('a trap below JavaScript ends the calls above, whatever that catches', () => {
    const own = addon();
    let inner;
    const catching = () => {
      try {
        own.trap();
      } catch (error) {
        inner = error;
      }
      return 1;
    };
    expect(() => own.call(catching)).toThrow(/runs no more/);
    expect(inner.code).toBe('ERR_WASI_TRAP');
  });

  test('napi_fatal_error and exit end the module, not the process', () => {
    const fatal = addon();
    expect(() => fatal.fatal()).toThrow(/napi_fatal_error: addon.c: the end/);
    expect(() => fatal.noop()).toThrow(/runs no more/);
    const leaving = addon();
    expect(() => leaving.leave()).toThrow(expect.objectContaining({ code: 'ERR_WASI_EXIT', exitCode: 3 }));
    expect(() => leaving.noop()).toThrow(/proc_exit\(3\)/);
  });

  test('close() frees it all, and says so afterwards', () => {
    const own = addon();
    const { add, Box } = own;
    const box = new Box(1);
    own.close();
    own.close();
    expect(thrown(() => add(1, 2))).toEqual(['Error', 'ERR_WASI_CLOSED', expect.stringMatching(/closed/)]);
    expect(() => box.value).toThrow(/closed/);
    expect(() => new Box(1)).toThrow(/closed/);
    expect(Object.keys(own)).not.toContain('close');
  });

  test('close() refuses while the module runs', () => {
    const own = addon();
    expect(() => own.call(() => own.close())).toThrow(expect.objectContaining({ code: 'ERR_WASI_BUSY' }));
    own.close();
  });

  test('cleanup hooks run in reverse order, then the instance data is let go', () => {
    const run = (end) => `const m = wn.load(bytes.addon); console.log(m.at_end()); ${end}`;
    for (const end of ['m.close()', '', 'process.on("exit", () => console.log("exit"))']) {
      const { stdout, stderr, status } = child(run(end), { modules: { addon: BYTES } });
      expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
      expect(stdout.replace('exit\n', '').split('\n')).toEqual(['data', 'second', 'first', 'data', '']);
    }
  });

  test('finalizers run', async () => {
    const { stdout, stderr } = child(
      `const m = wn.load(bytes.addon);
       for (let i = 0; i < 100; i++) { m.external(1); m.watch({}); new m.Box(1); m.make_bytes(2, 100); }
       for (let i = 0; i < 100 && m.finalized_count() < 300; i++) {
         gc();
         await new Promise(setImmediate);
       }
       console.log(m.finalized_count() >= 300);`,
      { flags: ['--expose-gc'], modules: { addon: BYTES } },
    );
    expect([stderr, stdout]).toEqual(['', 'true\n']);
  });
});

describe('loading', () => {
  test('nothing is granted that is not asked for', () => {
    expect(m.environment()).toBe('none closed');
    const granted = load(BYTES, { env: { HOME: '/h' }, preopens: { '/': '/' } });
    expect(granted.environment()).toBe('/h open');
    granted.close();
  });

  test('the module is told where it is from, and of what its host is', async () => {
    const file = path.join(fs.mkdtempSync(path.join(require('node:os').tmpdir(), 'native-')), 'a b.wasm');
    fs.writeFileSync(file, BYTES);
    const url = require('node:url').pathToFileURL(file).href;
    const [release, version, api] = [process.release.name, process.versions.node, 'napi 10'];
    expect(load(file).host()).toBe(`${release} ${version} ${api} ${url}`);
    expect((await loadAsync(new URL(url))).host()).toMatch(/a%20b\.wasm$/);
    fs.rmSync(path.dirname(file), { recursive: true });
  });

  test('a path alone loads what options that say nothing load, and fails as they do', async () => {
    const folder = fs.mkdtempSync(path.join(require('node:os').tmpdir(), 'native-'));
    const files = {
      'addon.wasm': BYTES,
      'no-extension': BYTES,
      'library.wasm': await wat('(module (func (export "five") (result i32) (i32.const 5)))'),
      'program.wasm': await wat('(module (memory (export "memory") 1) (func (export "_start")))'),
      'component.wasm': Buffer.from([0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0]),
      'wrong.wasm': Buffer.from('no module'),
    };
    for (const [name, bytes] of Object.entries(files)) fs.writeFileSync(path.join(folder, name), bytes);
    const found = (source, ...options) => {
      try {
        const made = load(source, ...options);
        const names = Reflect.ownKeys(made).map(String);
        made.close();
        return names;
      } catch (error) {
        return [error.constructor.name, error.code, error.message];
      }
    };
    for (const name of [...Object.keys(files), 'missing.wasm', '.', 'nul\0.wasm']) {
      const file = path.join(folder, name);
      const expected = found(file, { env: {} });
      expect(expected.length).toBeGreaterThan(2);
      expect(found(file)).toEqual(expected);
      expect(found(file, {})).toEqual(expected);
      // It stands in messages as it was given.
      const near = path.relative(process.cwd(), folder);
      expect(found(path.join(near, name))).toEqual(
        expected.map((each) => each?.replace(folder, near) ?? each),
      );
    }
    fs.rmSync(folder, { recursive: true });
  });

  test('a module that is given nothing gets what options that say nothing come to', () => {
    const part = require('../dist/native.js');
    const { template, program, threads } = part('load/index').NOTHING;
    const parsed = part('wasi/options').parse({ version: 'preview1', stdin: 'ignore' });
    expect(parsed.native).toEqual(template);
    expect(parsed.program).toEqual(program);
    expect(parsed.threadLimits.threads).toBe(threads);
  });

  test('V8 does not collect for the memories of modules, which it cannot give back', () => {
    // Each of them begins with 64 MB.
    const sharing = path.join(__dirname, '..', 'scripts/packages/wasm/node_modules', SHARING);
    const { stdout, stderr } = child(`
      const { PerformanceObserver, constants } = require('node:perf_hooks');
      const large = [constants.NODE_PERFORMANCE_GC_MAJOR, constants.NODE_PERFORMANCE_GC_INCREMENTAL];
      const seen = [];
      const observer = new PerformanceObserver((list) => seen.push(...list.getEntries()));
      observer.observe({ entryTypes: ['gc'] });
      const modules = Array.from({ length: 8 }, () => wn.load(${JSON.stringify(sharing)}));
      await new Promise((resolve) => setTimeout(resolve, 500));
      console.log(modules.length, seen.filter(({ detail }) => large.includes(detail.kind)).length);
    `);
    expect(stdout + stderr).toBe('8 0\n');
  });

  test('options for libraries are refused', async () => {
    const wanted = { name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE' };
    for (const options of [{ imports: { env: { log() {} } } }, { alloc: 'malloc' }, { free: 'free' }]) {
      const message = expect.stringContaining(`options.${Object.keys(options)[0]}`);
      const refused = expect.objectContaining({ ...wanted, message });
      expect(() => load(BYTES, options)).toThrow(refused);
      await expect(loadAsync(BYTES, options)).rejects.toEqual(refused);
    }
    load(BYTES, { imports: {} }).close();
  });

  test('each load is a module of its own', () => {
    const [one, other] = [addon(), addon()];
    one.keep({ of: 'one' }, 1);
    other.keep({ of: 'other' }, 1);
    expect([one.kept_value(), other.kept_value()]).toEqual([{ of: 'one' }, { of: 'other' }]);
    expect(one.Box).not.toBe(other.Box);
  });

  test('what is imported and not known fails when it is called', async () => {
    const guest = load(
      await wat(`(module
        (import "env" "no_such_function" (func $unknown (param i32)))
        (import "napi" "napi_create_function" (func $make (param i32 i32 i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (table (export "__indirect_function_table") 2 funcref)
        (elem (i32.const 1) $call)
        (func $call (param i32 i32) (result i32) (call $unknown (i32.const 1)) (i32.const 0))
        (func (export "napi_register_wasm_v1") (param i32 i32) (result i32)
          (drop (call $make (local.get 0) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 8)))
          (i32.load (i32.const 8))))`),
    );
    expect(guest).toThrow(
      expect.objectContaining({
        code: 'ERR_WASI_IMPORT',
        message: expect.stringMatching(/env\.no_such_function/),
      }),
    );
    guest.close();
  });

  test('a module made for the package napi-wasm has its constructors run, and its allocator used', async () => {
    const guest = load(
      await wat(`(module
        (import "env" "napi_create_function" (func $make (param i32 i32 i32 i32 i32 i32) (result i32)))
        (import "env" "napi_get_cb_info" (func $info (param i32 i32 i32 i32 i32 i32) (result i32)))
        (import "env" "napi_get_buffer_info" (func $bytes (param i32 i32 i32 i32) (result i32)))
        (import "env" "napi_create_uint32" (func $number (param i32 i32 i32) (result i32)))
        (memory (export "memory") 4)
        (global $registered (mut i32) (i32.const 0))
        (table (export "__indirect_function_table") 2 funcref)
        (elem (i32.const 1) $call)
        (func (export "napi_wasm_malloc") (param i32) (result i32) (i32.const 65536))
        (func (export "register_module") (global.set $registered (i32.const 1)))
        (func $call (param $env i32) (param i32) (result i32)
          (i32.store (i32.const 16) (i32.const 1))
          (drop (call $info (local.get $env) (local.get 1) (i32.const 16) (i32.const 20) (i32.const 0) (i32.const 0)))
          (drop (call $bytes (local.get $env) (i32.load (i32.const 20)) (i32.const 24) (i32.const 0)))
          (drop (call $number (local.get $env) (i32.load8_u (i32.load (i32.const 24))) (i32.const 20)))
          (i32.load (i32.const 20)))
        (func (export "napi_register_module_v1") (param $env i32) (param i32) (result i32)
          (if (i32.eqz (global.get $registered)) (then unreachable))
          (drop (call $make (local.get $env) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 8)))
          (i32.load (i32.const 8))))`),
    );
    expect(guest(Buffer.from([7, 8]))).toBe(7);
    guest.close();
  });

  test('a module that throws while it registers hands that on', async () => {
    const guest = await wat(`(module
      (import "napi" "napi_throw_error" (func $throw (param i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (data (i32.const 16) "not here\\00")
      (func (export "napi_register_wasm_v1") (param i32 i32) (result i32)
        (drop (call $throw (local.get 0) (i32.const 0) (i32.const 16))) (i32.const 0)))`);
    expect(() => load(guest)).toThrow('not here');
  });

  test('limits hold for a guest as for any program', () => {
    const own = load(BYTES, { limits: { memory: 20 << 20 } });
    expect(() => own.sum(Buffer.alloc(8 << 20))).toThrow('Unknown failure');
    expect(own.sum(Buffer.alloc(100, 1))).toBe(100);
  });
});

test('Workers have modules of their own, which end with them', async () => {
  const code = `
    const { parentPort, workerData } = require('node:worker_threads');
    const m = require(workerData.package).load(workerData.bytes);
    const box = new m.Box(4);
    globalThis.kept = m.make_bytes(0, 1 << 20);
    parentPort.postMessage([m.add(1, 2), box.value, m.sum(Buffer.alloc(16, 1))]);`;
  for (let round = 0; round < 10; round++) {
    const worker = new Worker(code, {
      eval: true,
      workerData: { package: path.join(__dirname, '..'), bytes: BYTES },
    });
    const exit = require('node:events').once(worker, 'exit');
    const [message] = await require('node:events').once(worker, 'message');
    expect(message).toEqual([3, 4, 16]);
    if (round % 2) await worker.terminate();
    else await exit;
  }
});

test('10,000 calls with bytes leave nothing behind', () => {
  const own = addon();
  const bytes = Buffer.alloc(100_000, 1);
  for (let i = 0; i < 100; i++) own.sum(bytes);
  const before = process.memoryUsage.rss();
  for (let i = 0; i < 10_000; i++) {
    own.sum(bytes);
    own.add(i, 1);
    own.echo_text('text', 8);
  }
  expect(process.memoryUsage.rss() - before).toBeLessThan(64 << 20);
});
