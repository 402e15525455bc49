'use strict';
// load() of libraries: what a module is decides what it becomes, and functions with strings and bytes.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const { brotliDecompressSync } = require('node:zlib');
const wn = require('..');
const { wat } = require('./helpers');

const guest = (name) =>
  brotliDecompressSync(fs.readFileSync(path.join(__dirname, 'guests', `${name}.wasm.br`)));

let scratch;
beforeAll(() => (scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'wasi-native-'))));
afterAll(() => fs.rmSync(scratch, { recursive: true }));

const noted = (act) => {
  try {
    return act();
  } catch (error) {
    return error;
  }
};

describe('what is loaded', () => {
  test('a library may be a path, the URL of a file, bytes or a Module', async () => {
    const file = path.join(scratch, 'add.wasm');
    const bytes = await wat(
      '(module (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))',
    );
    fs.writeFileSync(file, bytes);
    for (const source of [file, pathToFileURL(file), pathToFileURL(file).href, bytes, new wn.Module(bytes)]) {
      expect(wn.load(source).add(2, 3)).toBe(5);
      expect((await wn.loadAsync(source)).add(2, 3)).toBe(5);
    }
    expect((await wn.loadAsync(new Blob([bytes]))).add(2, 3)).toBe(5);
    expect((await wn.loadAsync(Promise.resolve(bytes))).add(2, 3)).toBe(5);
  });

  test('what takes time to read is told to go to loadAsync', () => {
    for (const source of [
      new URL('https://example.org/a.wasm'),
      new Blob([]),
      Promise.resolve(Buffer.alloc(0)),
    ]) {
      expect(noted(() => wn.load(source))).toMatchObject({
        code: 'ERR_INVALID_ARG_VALUE',
        message: expect.stringContaining('loadAsync()'),
      });
    }
  });

  test('a program is told to be run, and a component that it is one', async () => {
    const program = await wat('(module (memory (export "memory") 1) (func (export "_start")))');
    expect(noted(() => wn.load(program))).toMatchObject({
      code: 'ERR_WASI_NO_LIBRARY',
      message: expect.stringContaining('run()'),
    });
    const component = Buffer.from([0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0]);
    expect(noted(() => wn.load(component))).toMatchObject({
      code: 'ERR_WASI_COMPILE',
      message: expect.stringMatching(/^load\(\): .*component/),
    });
  });

  test('a file that is not there is named', () => {
    const file = path.join(scratch, 'none.wasm');
    expect(noted(() => wn.load(file))).toMatchObject({ code: 'ENOENT', path: file });
    expect(noted(() => wn.load(scratch))).toMatchObject({ code: 'EISDIR', path: scratch });
  });

  test('a misspelt option is refused', () => {
    expect(noted(() => wn.load(guest('shout'), { preopen: {} }))).toMatchObject({
      code: 'ERR_INVALID_ARG_VALUE',
      message: expect.stringContaining('preopens'),
    });
  });

  test('a signal ends loadAsync', async () => {
    await expect(wn.loadAsync(guest('shout'), { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'ABORT_ERR',
    });
  });
});

describe('what a library gets', () => {
  const asking = `(module
    (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (global $ready (mut i32) (i32.const 0))
    (func (export "_initialize") (global.set $ready (i32.add (global.get $ready) (i32.const 1))))
    (func (export "ready") (result i32) (global.get $ready))
    (func (export "preopen") (result i32) (call $prestat (i32.const 3) (i32.const 0)))
    (func (export "variables") (result i32) (drop (call $environ (i32.const 0) (i32.const 4))) (i32.load (i32.const 0)))
    (func (export "input") (result i32)
      (i32.store (i32.const 16) (i32.const 64))
      (i32.store (i32.const 20) (i32.const 8))
      (drop (call $read (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 24)))
      (i32.load (i32.const 24))))`;

  test('no directory, no environment, no standard input, unless it is given', async () => {
    const bytes = await wat(asking);
    const bare = wn.load(bytes);
    const EBADF = 8;
    expect([bare.ready(), bare.preopen(), bare.variables(), bare.input()]).toEqual([1, EBADF, 0, 0]);
    const given = wn.load(bytes, {
      preopens: { '/': scratch },
      env: { A: '1', B: '2' },
      stdin: { input: 'text' },
    });
    expect([given.preopen(), given.variables(), given.input()]).toEqual([0, 2, 4]);
    given.close();
    expect(given.preopen()).toBe(EBADF);
  });

  test('imports of its host', async () => {
    const bytes = await wat(
      '(module (import "env" "f" (func $f (result i32))) (func (export "g") (result i32) (call $f)))',
    );
    expect(wn.load(bytes, { imports: { env: { f: () => 7 } } }).g()).toBe(7);
    expect(noted(() => wn.load(bytes))).toMatchObject({ code: 'ERR_WASI_LINK' });
  });

  test('names that an export takes are still to be had from exports', async () => {
    const bytes = await wat(
      '(module (memory (export "memory") 1) (func (export "fn") (result i32) (i32.const 1)))',
    );
    const library = wn.load(bytes);
    expect(library.exports.fn()).toBe(1);
    expect(typeof library.fn).toBe('function');
    expect(library.exports.memory).toBeInstanceOf(wn.Memory);
    expect(Object.keys(library)).toEqual([]);
    expect(library.memory.size).toBe(65536);
  });

  test('its memory is read and written by its host', async () => {
    const { memory } = wn.load(guest('library'), { imports: { env: { ask: () => 0 } } });
    const at = 1024;
    expect(memory.writeString(at, 'größe\0')).toBe(8);
    expect(memory.readString(at)).toBe('größe');
    expect(memory.writeString(at, 'ab', 'utf16le')).toBe(4);
    expect(memory.read(at, 4)).toEqual(Buffer.from('ab', 'utf16le'));
    expect(memory.write(at, Uint8Array.of(1, 2, 3))).toBe(3);
    expect([...memory.read(at, 3)]).toEqual([1, 2, 3]);
    expect(noted(() => memory.writeString(memory.size - 1, 'ab'))).toMatchObject({ code: 'ERR_WASI_RANGE' });
  });
});

describe('functions with strings and bytes', () => {
  const c = (imports = { ask: () => 0 }) => wn.load(guest('library'), { imports: { env: imports } });
  const rust = () => wn.load(guest('shout'));
  const texts = ['', 'a', 'größer', '漢字', '👩‍🚀', 'x'.repeat(31), 'é'.repeat(33), 'y'.repeat(100_000)];

  test('of C: a string with its length, and a result of the caller that ends with NUL', () => {
    const greet = c().fn('greet', { params: ['string'], result: 'string', freeResult: true });
    for (const text of texts) expect(greet(text)).toBe(`Hello, ${text}!`);
    expect([greet.name, greet.length]).toEqual(['greet', 1]);
  });

  test('of C: strings that end with NUL, and a result that may be null', () => {
    const find = c().fn('find', { params: ['string', 'cstring'], result: 'cstring' });
    expect(find('in the haystack', 'hay')).toBe('haystack');
    expect(find('größer', 'ß')).toBe('ßer');
    expect(find('a', 'b')).toBe(null);
    expect(noted(() => find('a\0b', 'b'))).toMatchObject({ code: 'ERR_INVALID_ARG_VALUE' });
  });

  test('of C: bytes, and a struct of address and length as the result', () => {
    const reverse = c().fn('reverse', { params: ['bytes'], result: 'bytes', freeResult: true });
    expect(reverse(Buffer.from('abc'))).toEqual(Buffer.from('cba'));
    expect(reverse(new Uint8Array(0))).toEqual(Buffer.alloc(0));
    const large = Buffer.alloc(3_000_000, 'ab');
    expect(reverse(large).equals(Buffer.alloc(3_000_000, 'ba'))).toBe(true);
    expect(reverse(new Uint16Array([0x0102, 0x0304]))).toEqual(Buffer.from([3, 4, 1, 2]));
    expect(reverse(Uint8Array.of(1, 2).buffer)).toEqual(Buffer.from([2, 1]));
  });

  test('of C: bytes that the function takes over are not freed twice', () => {
    const library = c();
    const consume = library.fn('consume', { params: ['bytes'], result: 'u32', freeParams: false });
    for (let k = 0; k < 1000; k++) expect(consume(Uint8Array.of(1, 2, 3))).toBe(6);
  });

  test('of C: numbers of every kind', () => {
    const scale = c().fn('scale', { params: ['f32', 'i64', 'u32', 'bool'], result: 'f64' });
    expect(scale(0.5, 10n, 4, false)).toBe(9);
    expect(scale(0.5, -10, 4294967295, true)).toBe(-4294967290);
    expect(noted(() => scale('1', 1n, 1, true))).toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' });
    expect(noted(() => scale(1, 1.5, 1, true))).toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' });
    expect(noted(() => scale(1, 2n ** 63n, 1, true))).toMatchObject({ code: 'ERR_OUT_OF_RANGE' });
    expect(noted(() => scale(1, 1n, -1, true))).toMatchObject({ code: 'ERR_OUT_OF_RANGE' });
    expect(noted(() => scale(1, 1n, 1, 1))).toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' });
    expect(noted(() => scale(1, 1n, 1))).toMatchObject({ code: 'ERR_MISSING_ARGS' });
  });

  test('of Rust: an allocator of its own, and an i64 of address and length', () => {
    const library = rust();
    const shout = library.fn('shout', { params: ['string'], result: 'string', freeResult: true });
    for (const text of texts) expect(shout(text)).toBe(text.toUpperCase());
    const count = library.fn('count', { params: ['string'], result: 'u32' });
    for (const text of texts) expect(count(text)).toBe([...text].length);
    expect(count('\ud800')).toBe(1);
    expect(library.fn('count', { params: ['bytes'], result: 'u32' })(Uint8Array.of(0xff))).toBe(0xffffffff);
  });

  test('calls inside of calls keep their arguments', () => {
    let lengths;
    const library = c({ ask: (depth) => lengths(String.fromCharCode(97 + depth).repeat(200), depth) });
    lengths = library.fn('lengths', { params: ['string', 'u32'], result: 'u32' });
    // 26 of them need more than the area that small arguments share.
    expect(lengths('z'.repeat(200), 25)).toBe(26 * 200);
  });

  test('what is allocated for arguments is given back, also when a call fails', () => {
    const library = c({
      ask() {
        throw new Error('no');
      },
    });
    const live = library.fn('live', { result: 'u32' });
    const lengths = library.fn('lengths', { params: ['string', 'u32'], result: 'u32' });
    const greet = library.fn('greet', { params: ['string'], result: 'cstring', freeResult: true });
    greet('warm');
    const before = [live(), library.memory.size];
    for (let k = 0; k < 500; k++) {
      greet('x'.repeat(50_000));
      expect(() => lengths('x'.repeat(50_000), 1)).toThrow('no');
      expect(() => lengths('x'.repeat(50_000), 'one')).toThrow();
    }
    expect(live()).toBe(before[0]);
    // One megabyte more than before at most: not what 1,500 such texts take.
    expect(library.memory.size - before[1]).toBeLessThan(1 << 20);
  });

  test('a trap of the library is an error with its functions in the stack', () => {
    const library = wn.load(guest('library'), { imports: { env: { ask: () => 0 } }, stderr: 'ignore' });
    const fail = library.fn('fail', { params: ['string'] });
    expect(noted(() => fail('why'))).toMatchObject({
      code: 'ERR_WASI_TRAP',
      stack: expect.stringContaining('wasm://'),
    });
    // What it has left behind is nothing to go on with.
    for (const call of [
      () => fail('again'),
      () => library.alloc(1),
      () => library.fn('live', { result: 'u32' }),
    ]) {
      expect(noted(call)).toMatchObject({
        code: 'ERR_WASI_DEAD',
        message: expect.stringContaining('unreachable'),
      });
    }
    expect(wn.load(guest('library'), { imports: { env: { ask: () => 0 } } }).alloc(1)).toBeGreaterThan(0);
  });

  test('bytes in the memory of the library are taken as they were, though it grows meanwhile', async () => {
    const bytes = await wat(`(module (memory (export "memory") 1)
      (func (export "alloc") (param i32) (result i32) (drop (memory.grow (i32.const 1))) (i32.const 4096))
      (func (export "first") (param i32 i32) (result i32) (i32.load8_u (local.get 0))))`);
    const library = wn.load(bytes);
    library.memory.write(0, Uint8Array.of(42));
    const first = library.fn('first', { params: ['bytes'], result: 'u32' });
    expect(first(new Uint8Array(library.exports.memory.buffer, 0, 1))).toBe(42);
  });

  test('addresses of a library are checked', async () => {
    const bytes = await wat(`(module (memory (export "memory") 1)
      (func (export "packed") (result i64) (i64.const 0xffffffff00000002))
      (func (export "pair") (result i32 i32) (i32.const 65535) (i32.const 2))
      (func (export "endless") (result i32) (i32.store8 (i32.const 65535) (i32.const 1)) (i32.const 65535))
      (func (export "outside") (result i32) (i32.const -1))
      (func (export "alloc") (param i32) (result i32) (i32.const 65535))
      (func (export "full") (param i32) (result i32) (i32.const 0))
      (func (export "take") (param i32 i32)))`);
    const library = wn.load(bytes);
    for (const name of ['packed', 'pair', 'endless', 'outside']) {
      const call = library.fn(name, { result: 'string' });
      expect(noted(call)).toMatchObject({ code: 'ERR_WASI_RANGE' });
    }
    const take = library.fn('take', { params: ['bytes'] });
    expect(noted(() => take(Buffer.alloc(5000)))).toMatchObject({ code: 'ERR_WASI_RANGE' });
    const full = wn.load(bytes, { alloc: 'full' }).fn('take', { params: ['bytes'] });
    expect(noted(() => full(Buffer.alloc(1)))).toMatchObject({
      code: 'ERR_WASI_RANGE',
      message: expect.stringContaining('full'),
    });
  });

  test('what cannot be is told when the function is made', async () => {
    const library = c();
    for (const [name, signature, code] of [
      ['greet', { params: ['i32'], result: 'string' }, 'ERR_WASI_SIGNATURE'],
      ['greet', { params: ['string'], result: 'i64' }, 'ERR_WASI_SIGNATURE'],
      ['greet', { params: ['string'], result: 'bytes' }, 'ERR_WASI_SIGNATURE'],
      ['greet', { params: ['str'] }, 'ERR_INVALID_ARG_VALUE'],
      ['greet', { param: ['string'] }, 'ERR_INVALID_ARG_VALUE'],
      ['greet', { params: 'string' }, 'ERR_INVALID_ARG_TYPE'],
      ['scale', { result: 'f64', freeResult: true }, 'ERR_INVALID_ARG_VALUE'],
      ['nothing', {}, 'ERR_INVALID_ARG_VALUE'],
      ['greet', undefined, 'ERR_INVALID_ARG_TYPE'],
    ]) {
      expect([name, signature, noted(() => library.fn(name, signature)).code]).toEqual([
        name,
        signature,
        code,
      ]);
    }
    const bare = await wat('(module (memory (export "memory") 1) (func (export "take") (param i32 i32)))');
    expect(noted(() => wn.load(bare).fn('take', { params: ['string'] }))).toMatchObject({
      code: 'ERR_WASI_NO_ALLOCATOR',
      message: expect.stringContaining('malloc'),
    });
    expect(noted(() => wn.load(bare, { alloc: 'take' }))).toMatchObject({ code: 'ERR_INVALID_ARG_VALUE' });
  });

  test('alloc and free are there for what needs them', () => {
    const library = c();
    const address = library.alloc(10);
    expect(address).toBeGreaterThan(0);
    library.memory.writeString(address, 'by hand\0');
    expect(library.memory.readString(library.find(address, address + 3))).toBe('hand');
    library.free(address, 10);
  });

  test('a closed library is called no more', () => {
    const library = c();
    const greet = library.fn('greet', { params: ['string'], result: 'string' });
    library.close();
    library.close();
    for (const call of [() => greet('a'), () => library.fn('greet', {}), () => library.alloc(1)]) {
      expect(noted(call)).toMatchObject({ code: 'ERR_WASI_CLOSED' });
    }
  });
});
