'use strict';
// The stack of an error that came out of wasm.

const fs = require('node:fs');
const path = require('node:path');
const { isDeepStrictEqual } = require('node:util');
const wn = require('..');
const { child, instance, thrownBy, wat } = require('./helpers');

const fixture = (name) => fs.readFileSync(path.join(__dirname, 'fixtures', name));

/** The lines of the stack of what a function of a module throws, up to the JavaScript. */
function wasmLines(bytes, name) {
  const { exports } = new wn.Instance(new wn.Module(bytes));
  const lines = thrownBy(() => exports[name](0)).stack.split('\n');
  const end = lines.findIndex((line) => line.includes('__test__'));
  expect(end).toBeGreaterThan(0);
  return lines.slice(1, end);
}

test('has file, line and column where the module has debug information', () => {
  expect(wasmLines(fixture('inlined.wasm'), 'nested')).toEqual([
    '    at divide (/src/inlined.c:6:12)',
    '    at mean (/src/inlined.c:12:10)',
    '    at average (/src/inlined.c:18:10)',
    '    at outer (/src/inlined.c:22:10)',
    '    at nested (/src/inlined.c:26:10)',
  ]);
});

test('has the names of Rust as they were written', () => {
  const lines = wasmLines(fixture('shapes.wasm'), 'measure');
  expect(lines[0]).toMatch(/^ {4}at <shapes::Circle as shapes::Shape>::area \(\/src\/shapes\.rs:\d+:\d+\)$/);
  expect(lines.at(-1)).toMatch(/^ {4}at measure \(\/src\/shapes\.rs:\d+:\d+\)$/);
});

test('has demangled names without debug information, too', async () => {
  const text = '(module (func $_ZN5outer5innerEi (export "f") (param i32) unreachable))';
  const [line] = wasmLines(await wat(text), 'f');
  expect(line).toMatch(
    /^ {4}at outer::inner\(int\) \(wasm:\/\/wasm\/[0-9a-f]{8}:wasm-function\[0\]:0x[0-9a-f]+\)$/,
  );
});

test('names the module: by a hash of its bytes, and by its name if it has one', async () => {
  const text = (number) =>
    `(module (func (export "f") (param i32) (drop (i32.const ${number})) unreachable))`;
  const place = async (bytes) =>
    wasmLines(bytes, 'f')[0].match(/^ {4}at wasm:\/\/wasm\/(.*):wasm-function\[0\]/)[1];
  const plain = Buffer.from(await wat(text(1)));
  expect(await place(plain)).toMatch(/^[0-9a-f]{8}$/);
  expect(await place(plain)).toBe(await place(plain));
  expect(await place(plain)).not.toBe(await place(await wat(text(2))));
  const named = (name) => {
    const custom = [4, ...Buffer.from('name'), 0, name.length + 1, name.length, ...Buffer.from(name)];
    return Buffer.concat([plain, Buffer.from([0, custom.length, ...custom])]);
  };
  expect(await place(named('shapes'))).toMatch(/^shapes-[0-9a-f]{8}$/);
});

test('cannot be made to look like other lines by the names of a module', async () => {
  const bytes = Buffer.from(await wat('(module (func $one@two (export "f") (param i32) unreachable))'));
  const name = bytes.indexOf('one@two');
  bytes[name + 3] = '\n'.charCodeAt(0);
  const lines = wasmLines(bytes, 'f');
  expect(lines).toHaveLength(1);
  expect(lines[0]).toContain('at one\u{fffd}two (');
});

describe('of an Error that JavaScript makes while wasm runs', () => {
  let exports;
  let act;
  beforeAll(async () => {
    ({ exports } = await instance(
      `(module (import "e" "act" (func $act (result i32)))
        (func $inner (result i32) (call $act))
        (func $outer (export "outer") (result i32) (i32.add (call $inner) (i32.const 1)))
        (func $number (export "number") (param i32 i32) (result i32) (local.get 0))
        (func $trap (export "trap") unreachable))`,
      { e: { act: () => act() } },
    ));
  });

  const isGlue = /wasi-native\/(export|import)|\/lib\//;

  test('the wasm functions are between those of JavaScript', () => {
    let read;
    act = function imported() {
      read = new Error('here').stack;
      return 1;
    };
    (function caller() {
      exports.outer();
    })();
    expect(read).toMatch(
      /imported[^]*\n {4}at inner \(wasm:\/\/wasm\/[^]*\n {4}at outer \(wasm:\/\/wasm\/[^]*caller/,
    );
    expect(read).not.toMatch(isGlue);
  });

  test('also of one that leaves wasm, and through several entries', () => {
    let depth = 0;
    act = function imported() {
      if (depth++ === 0) {
        return (function middle() {
          return exports.outer();
        })();
      }
      throw new TypeError('deep');
    };
    const error = thrownBy(function caller() {
      exports.outer();
    });
    expect(error.message).toBe('deep');
    expect(error.stack).toMatch(/^TypeError: deep\n {4}at imported/);
    const lines = error.stack.split('\n').slice(1);
    const kinds = lines.map((line) => /at (inner|outer) \(wasm:/.exec(line)?.[1] ?? 'js');
    const once = ['js', 'js', 'inner', 'outer', 'js'];
    expect(kinds.slice(0, 9)).toEqual([...once, ...once].slice(0, 9));
    expect(error.stack).not.toMatch(isGlue);
  });

  test('there is no wasm between a conversion and the call', () => {
    let read;
    const value = {
      valueOf: function convert() {
        read = new Error('here').stack;
        return 1;
      },
    };
    (function caller() {
      exports.number(value, value);
    })();
    expect(read).not.toMatch(/wasm:/);
    act = function imported() {
      exports.number(value, 1);
      return 1;
    };
    (function caller() {
      exports.outer();
    })();
    expect(
      read
        .match(/at .*(convert|imported|inner|outer)\b/g)
        .map((line) => /\w+$/.exec(line)[0])
        .slice(0, 4),
    ).toEqual(['convert', 'imported', 'inner', 'outer']);
  });

  test("Error.stackTraceLimit holds for wasm's functions, too", () => {
    const { stackTraceLimit } = Error;
    const lines = [0, 1, 2, 3].map((limit) => {
      Error.stackTraceLimit = limit;
      act = () => {
        throw new Error('here');
      };
      return [thrownBy(exports.trap), thrownBy(exports.outer)].map(
        ({ stack }) => (stack ?? '').split('\n').length - 1,
      );
    });
    Error.stackTraceLimit = stackTraceLimit;
    expect(lines.map(([trap]) => trap)).toEqual([0, 1, 2, 3]);
    expect(lines.map(([, thrown]) => thrown)).toEqual([0, 1, 2, 3]);
  });

  test("the program's Error.prepareStackTrace is used", () => {
    const { prepareStackTrace } = Error;
    const seen = [];
    const own = (error, trace) => {
      seen.push(trace.length > 0);
      return `own ${error.message}\n    at ${trace.join('\n    at ')}`;
    };
    try {
      Error.prepareStackTrace = own;
      act = () => {
        // As packages do that want the call sites: read, replaced, and put back.
        const before = Error.prepareStackTrace;
        Error.prepareStackTrace = (_, trace) => trace;
        expect(Array.isArray(new Error().stack)).toBe(true);
        Error.prepareStackTrace = before;
        expect(new Error('here').stack).toMatch(/^own here\n[^]*at inner \(wasm:/);
        return 1;
      };
      exports.outer();
      expect(Error.prepareStackTrace).toBe(own);
      expect(thrownBy(exports.trap).stack).toMatch(/^own unreachable\n {4}at trap \(wasm:/);
    } finally {
      Error.prepareStackTrace = prepareStackTrace;
    }
  });

  test('what Error.prepareStackTrace throws hides no trap', () => {
    const { prepareStackTrace } = Error;
    try {
      Error.prepareStackTrace = () => {
        throw new EvalError('of the hook');
      };
      expect(Object.getPrototypeOf(thrownBy(exports.trap))).toBe(wn.RuntimeError.prototype);
    } finally {
      Error.prepareStackTrace = prepareStackTrace;
    }
  });

  test('Node writes of its own errors what it always does', () => {
    const { stdout } = child(
      `let text;
       const { f } = new wn.Instance(new wn.Module(bytes.m), { e: { f() {
         try { Buffer.alloc('x'); } catch (error) { text = error.stack; }
       } } }).exports;
       f();
       console.log(text.split('\\n')[0], /at f \\(wasm:/.test(text));
       console.log(Error.prepareStackTrace, Object.keys(Error).join());`,
      { modules: { m: wasmOfF } },
    );
    expect(stdout).toMatch(/^TypeError \[ERR_INVALID_ARG_TYPE\]: The "size" argument .* true\n/);
  });

  let wasmOfF;
  beforeAll(async () => {
    wasmOfF = await wat('(module (import "e" "f" (func $e)) (func $f (export "f") (call $e)))');
  });
});

test('code generation from strings may be off, and stacks are the same', async () => {
  const m = await wat(`(module (import "e" "f" (func $e (param i32) (result i32)))
    (func $f (export "f") (param i32) (result i32) (call $e (local.get 0)))
    (func $t (export "t") unreachable))`);
  const { stdout } = child(
    `let text;
     const { f, t } = new wn.Instance(new wn.Module(bytes.m), { e: { f: function imported() {
       text = new Error('here').stack;
       return { valueOf() { text += '\\n' + new Error('converted').stack; return 1; } };
     } } }).exports;
     (function caller() { f(1); })();
     try { t(); } catch (error) { text += '\\n' + error.stack; }
     console.log(text.replace(/^ *at (\\S+) .*$/gm, '$1').split('\\n').join(' '));`,
    { flags: ['--disallow-code-generation-from-strings'], modules: { m } },
  );
  expect(stdout).toMatch(
    /^Error: here (\S+\.)?imported f caller .*Error: converted (\S+\.)?valueOf f caller .*RuntimeError: unreachable t /,
  );
});

test('errors of the interface have nothing to see but what V8 has', async () => {
  const { trap } = (await instance('(module (func (export "trap") unreachable))')).exports;
  const errors = [
    [thrownBy(trap), wn.RuntimeError],
    [thrownBy(() => new wn.Module(Uint8Array.of(1))), wn.CompileError],
    [thrownBy(() => new wn.Memory({ initial: 1, maximum: 1 }).grow(1)), RangeError],
    [thrownBy(() => new wn.Table({ element: 'anyfunc', initial: 1 }).get(1)), RangeError],
  ];
  for (const [error, Class] of errors) {
    expect(error.code).toMatch(/^ERR_WASI_/);
    expect(Object.keys(error)).toEqual([]);
    expect(isDeepStrictEqual(error, new Class(error.message))).toBe(true);
  }
});

test('exported functions show no source of ours', async () => {
  const { exports } = await instance(
    '(module (func) (func (export "f") (param i64) (result i64) (local.get 0)))',
  );
  expect(exports.f.toString()).toBe('function 1() { [native code] }');
  expect(`${exports.f}`).toBe('function 1() { [native code] }');
  expect(Object.keys(exports.f)).toEqual([]);
  const wasi = new wn.WASI({ version: 'preview1' });
  expect(`${wasi.wasiImport.fd_write}`).toBe('function fd_write() { [native code] }');
});
