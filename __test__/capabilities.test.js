'use strict';

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const wn = require('..');
const { child, thrownBy, wat } = require('./helpers');

const EEXIST = 20;
const ENOENT = 44;
const ENOSPC = 51;
const ENOSYS = 52;
const EPERM = 63;
const EROFS = 69;
const ENOTCAPABLE = 76;

const TYPES = {
  clock_time_get: 'i32 i64 i32',
  fd_read: 'i32 i32 i32 i32',
  fd_seek: 'i32 i64 i32 i32',
  fd_write: 'i32 i32 i32 i32',
  path_create_directory: 'i32 i32 i32',
  path_filestat_get: 'i32 i32 i32 i32 i32',
  path_filestat_set_times: 'i32 i32 i32 i32 i64 i64 i32',
  path_open: 'i32 i32 i32 i32 i32 i64 i64 i32 i32',
  path_rename: 'i32 i32 i32 i32 i32 i32',
  path_symlink: 'i32 i32 i32 i32 i32',
  path_unlink_file: 'i32 i32 i32',
  random_get: 'i32 i32',
};

/** A guest that imports these functions; in its memory lie the names that it uses. */
function guest(names, body, module = 'wasi_snapshot_preview1') {
  const imports = names.map(
    (name) => `(import "${module}" "${name}" (func $${name} (param ${TYPES[name]}) (result i32)))`,
  );
  return `(module ${imports.join('\n')}
    (memory (export "memory") 1)
    (data (i32.const 100) "file") (data (i32.const 110) "new") (data (i32.const 120) "text")
    (func $open (param $oflags i32) (param $rights i64) (result i32)
      ${
        names.includes('path_open')
          ? `(call $path_open (i32.const 3) (i32.const 0) (i32.const 100) (i32.const 4)
              (local.get $oflags) (local.get $rights) (i64.const 0) (i32.const 0) (i32.const 16))`
          : '(i32.const 0)'
      })
    ${body})`;
}

/** Writes "text" to the file, which it makes: the first errno that is not 0, or 0. */
const WRITE = guest(
  ['path_open', 'fd_write'],
  `(func (export "run") (result i32) (local $errno i32)
    (local.set $errno (call $open (i32.const 9) (i64.const 0x42)))
    (if (local.get $errno) (then (return (local.get $errno))))
    (i32.store (i32.const 0) (i32.const 120))
    (i32.store (i32.const 4) (i32.const 4))
    (call $fd_write (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 8)))`,
);

/** Reads the file to address 200: errno and length. */
const READ = guest(
  ['path_open', 'fd_read'],
  `(func (export "run") (result i32 i32) (local $errno i32)
    (local.set $errno (call $open (i32.const 0) (i64.const 2)))
    (if (local.get $errno) (then (return (local.get $errno) (i32.const 0))))
    (i32.store (i32.const 0) (i32.const 200))
    (i32.store (i32.const 4) (i32.const 1000))
    (call $fd_read (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 8))
    (i32.load (i32.const 8)))`,
);

/** Tries in seven ways to change its directory: their errnos. */
const CHANGE = guest(
  [
    'path_open',
    'path_create_directory',
    'path_filestat_set_times',
    'path_rename',
    'path_symlink',
    'path_unlink_file',
  ],
  `(func (export "run") (result i32 i32 i32 i32 i32 i32 i32)
    (call $open (i32.const 0) (i64.const 0x40))
    (call $open (i32.const 8) (i64.const 2))
    (call $path_filestat_set_times (i32.const 3) (i32.const 0) (i32.const 100) (i32.const 4)
      (i64.const 1) (i64.const 1) (i32.const 5))
    (call $path_create_directory (i32.const 3) (i32.const 110) (i32.const 3))
    (call $path_symlink (i32.const 120) (i32.const 4) (i32.const 3) (i32.const 110) (i32.const 3))
    (call $path_rename (i32.const 3) (i32.const 100) (i32.const 4)
      (i32.const 3) (i32.const 110) (i32.const 3))
    (call $path_unlink_file (i32.const 3) (i32.const 100) (i32.const 4)))`,
);

/** Reads the realtime clock to address 200 and random bytes to 208. */
const CLOCK_AND_RANDOM = guest(
  ['clock_time_get', 'random_get'],
  `(func (export "run") (result i32 i32)
    (call $clock_time_get (i32.const 0) (i64.const 1) (i32.const 200))
    (call $random_get (i32.const 208) (i32.const 32)))`,
);

let directory;
beforeAll(() => (directory = fs.mkdtempSync(path.join(os.tmpdir(), 'wasi-native-'))));
afterAll(() => fs.rmSync(directory, { recursive: true }));

/** A host directory with one file. */
function hostDirectory() {
  const made = fs.mkdtempSync(path.join(directory, 'd'));
  fs.writeFileSync(path.join(made, 'file'), 'untouched');
  fs.utimesSync(path.join(made, 'file'), 1e9, 1e9);
  return made;
}

async function started(text, options, namespace = wn) {
  const wasi = new wn.WASI({ version: 'preview1', ...options });
  const module = new namespace.Module(await wat(text));
  const instance = new namespace.Instance(module, wasi.getImportObject());
  wasi.initialize(instance);
  return instance.exports;
}

/** What the guest's `run` returns. */
async function run(text, options, namespace = wn) {
  return (await started(text, options, namespace)).run();
}

describe('a preopened directory', () => {
  test.each([
    ["{ path, mode: 'ro' }", (made) => ({ path: made, mode: 'ro' })],
    ['{ path, write: false }', (made) => ({ path: made, write: false })],
  ])('given as %s keeps bytes, names and times whatever the guest tries', async (_, value) => {
    const made = hostDirectory();
    const preopens = { '/': value(made) };
    expect(await run(CHANGE, { preopens })).toEqual(Array(7).fill(EROFS));
    expect(await run(WRITE, { preopens })).toBe(EROFS);
    expect(await run(READ, { preopens })).toEqual([0, 9]);
    expect(fs.readdirSync(made)).toEqual(['file']);
    expect(fs.readFileSync(path.join(made, 'file'), 'utf8')).toBe('untouched');
    expect(fs.statSync(path.join(made, 'file')).mtimeMs).toBe(1e12);
  });

  test('given as a string or as an object without permissions may be changed', async () => {
    for (const value of [(made) => made, (p) => ({ path: p }), (p) => ({ path: p, mode: 'rw' })]) {
      const made = hostDirectory();
      expect(await run(WRITE, { preopens: { '/': value(made) } })).toBe(0);
      expect(fs.readFileSync(path.join(made, 'file'), 'utf8')).toBe('text');
    }
  });

  test('may have single permissions withheld', async () => {
    const errnos = async (permissions) =>
      run(CHANGE, { preopens: { '/': { path: hostDirectory(), ...permissions } } });
    expect(await errnos({ remove: false })).toEqual([0, 0, 0, 0, EEXIST, EPERM, EPERM]);
    expect((await errnos({ symlinks: false }))[4]).toBe(EPERM);
    expect((await errnos({ create: false }))[3]).toBe(EPERM);
    const unreadable = { preopens: { '/': { path: hostDirectory(), read: false } } };
    expect((await run(READ, unreadable))[0]).toBe(EPERM);
  });

  test('is refused with words if a permission is misspelt or of the wrong kind', () => {
    const failure = (value) =>
      thrownBy(() => new wn.WASI({ version: 'preview1', preopens: { '/d': value } }));
    expect(failure({ path: directory, wirte: false })).toMatchObject({
      code: 'ERR_INVALID_ARG_VALUE',
      message: expect.stringMatching(
        /options\.preopens\["\/d"\]\.wirte' is not known: did you mean "write"\?/,
      ),
    });
    expect(failure({ path: directory, write: 0 }).code).toBe('ERR_INVALID_ARG_TYPE');
    expect(failure({ path: directory, mode: 'r' }).code).toBe('ERR_INVALID_ARG_VALUE');
    expect(failure({ path: directory, mode: 'ro', write: true }).message).toMatch(/beside "mode"/);
    expect(failure({ mode: 'ro' }).code).toBe('ERR_INVALID_ARG_TYPE');
  });
});

describe('MemoryFS', () => {
  test('is written, read and listed from JavaScript', () => {
    const memory = new wn.MemoryFS({ files: { '/a/b.txt': 'text', c: Uint8Array.of(1, 2) } });
    expect(memory.paths()).toEqual(['a/', 'a/b.txt', 'c']);
    expect(memory.readFile('a/b.txt').toString()).toBe('text');
    expect(memory.readFile('a/b.txt', 'utf8')).toBe('text');
    expect(memory.readFile('a/b.txt', { encoding: 'hex' })).toBe('74657874');
    for (const none of [undefined, null, {}, { encoding: null }, 'buffer']) {
      expect(memory.readFile('a/b.txt', none)).toEqual(Buffer.from('text'));
    }
    expect([...memory.readFile('/c')]).toEqual([1, 2]);
    memory.writeFile('c', Uint8Array.of(5, 6).buffer);
    expect(memory.readFile('c', 'latin1')).toBe('\x05\x06');
    memory.writeFile('c', new Uint8Array([1, 2, 3, 4]).subarray(2));
    expect([...memory.readFile('c')]).toEqual([3, 4]);
    const { used } = memory;
    memory.remove('c');
    expect(memory.used).toBeLessThan(used);
    expect(memory.paths()).toEqual(['a/', 'a/b.txt']);
  });

  test('carries a file from one program to another', async () => {
    const memory = new wn.MemoryFS();
    expect(await run(WRITE, { preopens: { '/out': memory } })).toBe(0);
    expect(memory.readFile('file').toString()).toBe('text');
    memory.writeFile('file', 'from JavaScript');
    const exports = await started(READ, { preopens: { '/in': { path: memory, mode: 'ro' } } });
    expect(exports.run()).toEqual([0, 15]);
    expect(Buffer.from(exports.memory.buffer, 200, 15).toString()).toBe('from JavaScript');
  });

  test('can be preopened read-only for one program and writable for another', async () => {
    const memory = new wn.MemoryFS({ files: { file: 'untouched' } });
    expect(await run(WRITE, { preopens: { '/': { path: memory, mode: 'ro' } } })).toBe(EROFS);
    expect(memory.readFile('file').toString()).toBe('untouched');
    expect(await run(WRITE, { preopens: { '/': memory } })).toBe(0);
    expect(memory.readFile('file').toString()).toBe('text');
  });

  test('takes no more than its quota', async () => {
    const memory = new wn.MemoryFS({ quota: 2000 });
    const failure = thrownBy(() => memory.writeFile('large', Buffer.alloc(3000)));
    expect(failure).toMatchObject({ code: 'ENOSPC', message: expect.stringMatching(/quota/) });
    const none = new wn.MemoryFS({ quota: 0 });
    expect(await run(WRITE, { preopens: { '/': none } })).toBe(ENOSPC);
  });

  test('says what is wrong', () => {
    const memory = new wn.MemoryFS({ files: { 'd/f': '' } });
    expect(thrownBy(() => memory.readFile('missing'))).toMatchObject({
      code: 'ENOENT',
      message: 'ENOENT: MemoryFS.readFile("missing"), there is no such file',
    });
    expect(thrownBy(() => memory.readFile('d')).code).toBe('EISDIR');
    expect(thrownBy(() => memory.writeFile('e/', '')).code).toBe('EISDIR');
    expect(thrownBy(() => memory.readFile('../f')).code).toBe('EPERM');
    expect(thrownBy(() => memory.readFile(5)).code).toBe('ERR_INVALID_ARG_TYPE');
    expect(thrownBy(() => memory.readFile('d/f', 'utf9'))).toMatchObject({
      code: 'ERR_INVALID_ARG_VALUE',
      message: expect.stringMatching(
        /'encoding' must be an encoding that Buffer knows, such as 'utf8'. Received 'utf9'/,
      ),
    });
    expect(thrownBy(() => memory.readFile('d/f', { encode: 'utf8' })).message).toMatch(/"encoding"/);
    expect(thrownBy(() => memory.readFile('d/f', 5)).code).toBe('ERR_INVALID_ARG_TYPE');
    expect(thrownBy(() => memory.writeFile('f', 5)).code).toBe('ERR_INVALID_ARG_TYPE');
    expect(thrownBy(() => new wn.MemoryFS({ quota: -1 })).code).toBe('ERR_OUT_OF_RANGE');
    expect(thrownBy(() => new wn.MemoryFS({ file: {} })).code).toBe('ERR_INVALID_ARG_VALUE');
  });
});

describe('allow and deny', () => {
  test('a module that imports what is refused does not link, and the error names it', async () => {
    for (const options of [{ deny: ['path_*'] }, { allow: ['fd_*'] }, { allow: [] }]) {
      const error = await run(WRITE, options).catch((error) => error);
      expect(error).toBeInstanceOf(wn.LinkError);
      expect(error.code).toBe('ERR_WASI_LINK');
      expect(error.message).toMatch(/imports wasi_snapshot_preview1\.path_open, which .* `allow`/);
      const v8 = await run(WRITE, options, WebAssembly).catch((error) => error);
      expect(v8).toBeInstanceOf(WebAssembly.LinkError);
      expect(v8.message).toMatch(/path_open/);
    }
  });

  test('what is allowed and not denied works', async () => {
    const memory = new wn.MemoryFS();
    const options = { allow: ['fd_*', 'path_open'], deny: ['fd_read'], preopens: { '/': memory } };
    expect(await run(WRITE, options)).toBe(0);
    expect(memory.paths()).toEqual(['file']);
  });

  test('a refused import can be a stub that returns an errno', async () => {
    const memory = new wn.MemoryFS();
    const options = { deny: ['path_open'], preopens: { '/': memory } };
    for (const namespace of [wn, WebAssembly]) {
      expect(await run(WRITE, { ...options, onRefused: 'ENOTCAPABLE' }, namespace)).toBe(ENOTCAPABLE);
      expect(await run(WRITE, { ...options, onRefused: 'ENOSYS' }, namespace)).toBe(ENOSYS);
    }
    expect(memory.paths()).toEqual([]);
  });

  test('a pattern that matches nothing is an error', () => {
    const failure = (options) => thrownBy(() => new wn.WASI({ version: 'preview1', ...options }));
    expect(failure({ allow: ['fd_raed'] })).toMatchObject({
      code: 'ERR_WASI_OPTION',
      message: expect.stringMatching(/^options\.allow: the pattern "fd_raed" matches no/),
    });
    expect(failure({ deny: ['nothing'] }).message).toMatch(/^options\.deny: /);
    expect(failure({ allow: 'fd_*' }).code).toBe('ERR_INVALID_ARG_TYPE');
    expect(failure({ deny: [5] }).code).toBe('ERR_INVALID_ARG_TYPE');
    expect(failure({ onRefused: 'EPERM' }).code).toBe('ERR_INVALID_ARG_VALUE');
  });

  test('proc_exit that is refused does not end the process', async () => {
    const options = { deny: ['proc_exit'], returnOnExit: false };
    expect(new wn.WASI({ version: 'preview1', ...options }).wasiImport.proc_exit).toBe(undefined);
  });

  test('capabilities() reports what a module asks for and gets', async () => {
    const text = guest(['path_open', 'fd_write'], '').replace(
      '(module',
      `(module (import "env" "log" (func)) (import "env" "table" (table 1 funcref))
       (import "wasi_unstable" "fd_read" (func)) (import "wasi_native_ext" "fd_lock" (func))`,
    );
    const report = {
      granted: ['wasi_snapshot_preview1.fd_write'],
      refused: ['wasi_native_ext.fd_lock', 'wasi_snapshot_preview1.path_open'],
      stubbed: [],
      unknown: ['env.log', 'wasi_unstable.fd_read'],
    };
    const bytes = await wat(text);
    for (const { Module } of [wn, WebAssembly]) {
      const module = new Module(bytes);
      const wasi = new wn.WASI({ version: 'preview1', allow: ['fd_*'] });
      expect(wasi.capabilities(module)).toEqual(report);
      const stubs = new wn.WASI({ version: 'preview1', allow: ['fd_*'], onRefused: 'ENOSYS' });
      const stubbed = { ...report, refused: [], stubbed: report.refused };
      expect(stubs.capabilities(module)).toEqual(stubbed);
    }
    const wasi = new wn.WASI({ version: 'preview1' });
    expect(() => wasi.capabilities({})).toThrow(TypeError);
  });
});

test('extensions are there when granted by name, and otherwise named by the error', async () => {
  const LOCK = `(module
    (import "wasi_native_ext" "fd_lock" (func $lock (param i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "run") (result i32) (call $lock (i32.const 3) (i32.const 6))))`;
  const preopens = { '/': directory };
  const allow = ['*', 'wasi_native_ext.fd_lock'];
  expect(await run(LOCK, { preopens, allow })).toBe(0);
  for (const options of [{ preopens }, { preopens, allow: ['*'] }]) {
    const error = await run(LOCK, options).catch((error) => error);
    expect(error).toBeInstanceOf(wn.LinkError);
    expect(error.message).toMatch(/wasi_native_ext\.fd_lock/);
  }
});

describe('now and randomSeed', () => {
  const bytesOf = async (options, namespace = wn) => {
    const exports = await started(CLOCK_AND_RANDOM, options, namespace);
    expect(exports.run()).toEqual([0, 0]);
    return Buffer.from(exports.memory.buffer, 200, 40);
  };

  test('make two runs the same', async () => {
    const options = { now: new Date('2001-02-03T04:05:06Z'), randomSeed: 7 };
    const first = await bytesOf(options);
    expect(first.readBigUInt64LE(0) / 1000000n).toBe(BigInt(options.now.getTime()));
    expect(await bytesOf(options)).toEqual(first);
    expect(await bytesOf({ now: options.now.getTime(), randomSeed: 7n }, WebAssembly)).toEqual(first);
    const other = await bytesOf({ ...options, randomSeed: 8 });
    expect(other.subarray(8)).not.toEqual(first.subarray(8));
  });

  test('are neither of them fixed unless given', async () => {
    const [first, second] = [await bytesOf({ now: 0 }), await bytesOf({ now: 0 })];
    expect(first.subarray(8)).not.toEqual(second.subarray(8));
    const clock = await bytesOf({ randomSeed: 1 });
    expect(Math.abs(Number(clock.readBigUInt64LE(0) / 1000000n) - Date.now())).toBeLessThan(60000);
  });

  test('are checked', () => {
    const code = (options) => thrownBy(() => new wn.WASI({ version: 'preview1', ...options })).code;
    expect(code({ now: '2001' })).toBe('ERR_INVALID_ARG_TYPE');
    expect(code({ now: -1 })).toBe('ERR_OUT_OF_RANGE');
    expect(code({ now: new Date(NaN) })).toBe('ERR_OUT_OF_RANGE');
    expect(code({ randomSeed: 1.5 })).toBe('ERR_OUT_OF_RANGE');
    expect(code({ randomSeed: -1n })).toBe('ERR_OUT_OF_RANGE');
  });
});

test('limits bound what a program may hold, and are checked', async () => {
  const preopens = { '/': new wn.MemoryFS({ files: { file: '' } }) };
  const EMFILE = 33;
  const ENAMETOOLONG = 37;
  expect((await run(READ, { preopens, limits: { descriptors: 5 } }))[0]).toBe(0);
  expect((await run(READ, { preopens, limits: { descriptors: 4 } }))[0]).toBe(EMFILE);
  expect((await run(READ, { preopens, limits: { path: 3 } }))[0]).toBe(ENAMETOOLONG);
  const failure = (options) => thrownBy(() => new wn.WASI({ version: 'preview1', ...options }));
  expect(failure({ limits: { strings: 4 }, args: ['long'] }).message).toMatch(
    /exceed the limit of 4 bytes; .*raise options\.limits\.strings/,
  );
  expect(failure({ preopens, limits: { descriptors: 3 } }).message).toMatch(
    /"\/": EMFILE; raise options\.limits\.descriptors/,
  );
  expect(failure({ limits: { descriptors: 2 } }).code).toBe('ERR_OUT_OF_RANGE');
  expect(failure({ limits: { files: 4 } }).code).toBe('ERR_INVALID_ARG_VALUE');
  expect(failure({ limits: { path: -1 } }).code).toBe('ERR_OUT_OF_RANGE');
});

describe('trace', () => {
  const LINES = [
    expect.stringMatching(/^path_open\(fd: 3, .*path: "file", .*\) = ESUCCESS, opened_fd: 4$/),
    expect.stringMatching(/^fd_read\(fd: 4, .*\) = ESUCCESS, iovs: "hello", nread: 5$/),
  ];
  const preopens = () => ({ '/': new wn.MemoryFS({ files: { file: 'hello' } }) });

  test('gives each call to the callback, when it has ended', async () => {
    for (const namespace of [wn, WebAssembly]) {
      const lines = [];
      const options = { preopens: preopens(), trace: (line) => lines.push(line) };
      expect(await run(READ, options, namespace)).toEqual([0, 5]);
      expect(lines).toEqual(LINES);
    }
  });

  test('shows what fails, and what stubs answer', async () => {
    const lines = [];
    const trace = (line) => lines.push(line);
    const memory = { '/': new wn.MemoryFS() };
    expect((await run(READ, { preopens: memory, trace }))[0]).toBe(ENOENT);
    await run(READ, { deny: ['path_*'], onRefused: 'ENOSYS', trace });
    expect(lines.map((line) => line.split(' = ')[1])).toEqual(['ENOENT', 'ENOSYS']);
  });

  test('shows proc_exit, and the exit code is returned as ever', async () => {
    const lines = [];
    const wasi = new wn.WASI({ version: 'preview1', trace: (line) => lines.push(line) });
    const module = new wn.Module(
      await wat(`(module
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1)
        (func (export "_start") (call $exit (i32.const 3))))`),
    );
    expect(wasi.start(new wn.Instance(module, wasi.getImportObject()))).toBe(3);
    expect(lines).toEqual(['proc_exit(rval: 3) = ?']);
  });

  test('what the callback throws ends the program and comes out of it', async () => {
    const thrown = new Error('from the callback');
    const trace = () => {
      throw thrown;
    };
    for (const namespace of [wn, WebAssembly]) {
      const exports = await started(READ, { preopens: preopens(), trace }, namespace);
      expect(thrownBy(exports.run)).toBe(thrown);
      expect(thrownBy(exports.run)).toBe(thrown);
    }
  });

  test('WASI_NATIVE_TRACE=1 prints to standard error', async () => {
    const code = `const wasi = new wn.WASI({ version: 'preview1' });
      const instance = new wn.Instance(new wn.Module(bytes.m), wasi.getImportObject());
      wasi.initialize(instance);
      instance.exports.run();`;
    const modules = { m: await wat(CLOCK_AND_RANDOM) };
    const env = { ...process.env, WASI_NATIVE_TRACE: '1' };
    const { stderr, stdout, status } = child(code, { modules, env });
    expect([stdout, status]).toEqual(['', 0]);
    expect(stderr.trim().split('\n')).toEqual([
      expect.stringMatching(/^clock_time_get\(id: realtime, .*\) = ESUCCESS, time: \d+$/),
      expect.stringMatching(/^random_get\(.*\) = ESUCCESS$/),
    ]);
    expect(child(code, { modules }).stderr).toBe('');
  });
});

test('version: unstable has the older records and numbers', async () => {
  const body = `
    (func (export "run") (result i32 i32 i64 i32 i64)
      (call $path_filestat_get (i32.const 3) (i32.const 0) (i32.const 100) (i32.const 4)
        (i32.const 200))
      (call $open (i32.const 0) (i64.const 0x26))
      (i64.load (i32.const 224))
      (call $fd_seek (i32.load (i32.const 16)) (i64.const 0) (i32.const 1) (i32.const 300))
      (i64.load (i32.const 300)))`;
  const names = ['path_filestat_get', 'path_open', 'fd_seek'];
  const options = { preopens: { '/': new wn.MemoryFS({ files: { file: 'hello' } }) } };
  const older = { ...options, version: 'unstable' };
  for (const namespace of [wn, WebAssembly]) {
    // Here the size is behind a link count of 4 bytes, and 1 seeks from the end.
    const text = guest(names, body, 'wasi_unstable');
    expect(await run(text, older, namespace)).toEqual([0, 0, 5n, 0, 5n]);
    // In preview 1 the link count lies there, and 1 seeks from where the file is.
    expect(await run(guest(names, body), options, namespace)).toEqual([0, 0, 1n, 0, 0n]);
  }
});
