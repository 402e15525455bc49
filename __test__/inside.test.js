'use strict';
// Seeing inside: profiles, metrics, and lines of a trace that a person can read.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { brotliDecompressSync } = require('node:zlib');

const wn = require('..');
const { PACKAGE, wat } = require('./helpers');
const programs = require('./programs');

const COMMAND = path.join(PACKAGE, 'bin', 'wasi-native.js');
const IMPORT = (name, type) => `(import "wasi_snapshot_preview1" "${name}" (func $${name} ${type}))`;

let scratch;
const at = (...names) => path.join(scratch, ...names);

/** Runs the command to its end: `{status, stdout, stderr}`. */
const command = (...words) =>
  spawnSync(process.execPath, [COMMAND, ...words], {
    cwd: scratch,
    encoding: 'utf8',
    env: { ...process.env, WASI_NATIVE_CACHE_DIR: at('cache') },
  });

/** Works for a while in a function that another one calls, and ends as it is told. */
const busy = (end, count = 200_000_000) => `(module
  ${IMPORT('proc_exit', '(param i32)')}
  (memory (export "memory") 1)
  (func $inner (param i32) (result i32) (local i32)
    (loop $again
      (local.set 1 (i32.rem_u (i32.mul (local.get 0) (i32.const 7)) (i32.add (local.get 1) (i32.const 3))))
      (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    (local.get 1))
  (func $outer (i32.store (i32.const 0) (call $inner (i32.const ${count}))))
  (func $main (export "_start") (call $outer) ${end})
  (func (export "work") (param i32) (result i32) (call $outer) (local.get 0)))`;

beforeAll(async () => {
  scratch = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'wasi-native-')));
  const write = async (name, text) => fs.writeFileSync(at(name), new Uint8Array(await wat(text)));
  await write('exit.wasm', busy('(call $proc_exit (i32.const 3))'));
  await write('trap.wasm', busy('(unreachable)'));
  await write('spin.wasm', busy('(loop $for_ever (br $for_ever))'));
  await write('library.wasm', busy('').replace('_start', '_other'));
});
afterAll(() => fs.rmSync(scratch, { recursive: true }));

describe('run --profile', () => {
  /** The names on the way to the node with most samples. */
  const hottest = (file) => {
    const { nodes } = JSON.parse(fs.readFileSync(at(file), 'utf8'));
    let [node] = [...nodes].sort((a, b) => b.hitCount - a.hitCount);
    const names = [];
    for (; node !== undefined; node = nodes.find(({ children }) => children.includes(node.id))) {
      names.unshift(node.callFrame.functionName);
    }
    return names.slice(1);
  };

  test.each([
    ['exit.wasm', [], 3],
    ['trap.wasm', [], 134],
    ['spin.wasm', ['--timeout', '2s'], 124],
    ['library.wasm', ['--invoke', 'work'], 0, ['5']],
  ])('has the functions of %s, however it ends', (program, options, status, args = []) => {
    const result = command('run', ...options, '--profile', 'out.cpuprofile', program, ...args);
    expect(result.status).toBe(status);
    expect(result.stderr).toMatch(/\d+ samples in out\.cpuprofile/);
    const expected = program === 'spin.wasm' ? [['main'], ['main', 'outer', 'inner']] : [['outer', 'inner']];
    const names = hottest('out.cpuprofile');
    expect(expected.some((end) => `${names}`.endsWith(`${end}`))).toBe(true);
  });

  test('is of the form that profilers open', () => {
    command('run', '--profile', 'form.cpuprofile', 'exit.wasm');
    const { nodes, samples, timeDeltas, startTime, endTime } = JSON.parse(
      fs.readFileSync(at('form.cpuprofile'), 'utf8'),
    );
    const ids = new Set(nodes.map(({ id }) => id));
    expect(nodes[0].callFrame.functionName).toBe('(root)');
    // Each node but the root is the child of one.
    const children = nodes.flatMap((node) => node.children);
    expect([...children].sort((a, b) => a - b)).toEqual([...ids].slice(1).sort((a, b) => a - b));
    for (const { callFrame } of nodes) {
      expect(callFrame).toEqual({
        functionName: expect.any(String),
        scriptId: expect.any(String),
        url: expect.any(String),
        lineNumber: expect.any(Number),
        columnNumber: expect.any(Number),
      });
    }
    expect(samples.every((sample) => ids.has(sample))).toBe(true);
    expect(timeDeltas).toHaveLength(samples.length);
    expect(timeDeltas.every((delta) => delta >= 0)).toBe(true);
    expect(timeDeltas.reduce((sum, delta) => sum + delta, startTime)).toBeLessThanOrEqual(endTime);
    const hits = nodes.reduce((sum, { hitCount }) => sum + hitCount, 0);
    expect(hits).toBe(samples.length);
  });

  test('has a file for each thread of a program', async () => {
    const packed = fs.readFileSync(path.join(__dirname, 'guests', 'threads.wasm.br'));
    fs.writeFileSync(at('threads.wasm'), brotliDecompressSync(packed));
    command('run', '--profile', 'threads.cpuprofile', 'threads.wasm');
    const files = fs.readdirSync(scratch).filter((name) => /^threads.*\.cpuprofile$/.test(name));
    expect(files.length).toBeGreaterThan(0);
    for (const file of files) {
      expect(JSON.parse(fs.readFileSync(at(file), 'utf8')).nodes.length).toBeGreaterThan(0);
    }
  });

  test('a file that cannot be written is told before the program runs', () => {
    const { status, stderr, stdout } = command('run', '--profile', 'no/such/folder.cpuprofile', 'exit.wasm');
    expect([status, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(/no\/such\/folder\.cpuprofile/);
  });
});

describe('the trace', () => {
  /** Opens a file whose path is as long as said, and writes as many bytes. */
  const writer = (length) => `(module
    ${IMPORT('path_open', '(param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)')}
    ${IMPORT('fd_write', '(param i32 i32 i32 i32) (result i32)')}
    (memory (export "memory") 1)
    (func (export "_start")
      (memory.fill (i32.const 1024) (i32.const 97) (i32.const ${length}))
      (drop (call $path_open (i32.const 3) (i32.const 0) (i32.const 1024) (i32.const ${length})
        (i32.const 9) (i64.const -1) (i64.const -1) (i32.const 0) (i32.const 16)))
      (drop (call $path_open (i32.const 3) (i32.const 0) (i32.const 1024) (i32.const ${length})
        (i32.const 9) (i64.const 0x3fffffff) (i64.const 0x42) (i32.const 0) (i32.const 16)))
      (i32.store (i32.const 0) (i32.const 1024))
      (i32.store (i32.const 4) (i32.const ${length}))
      (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))`;

  const traced = async (options) => {
    const lines = [];
    const wasi = new wn.WASI({
      version: 'preview1',
      preopens: { '/': new wn.MemoryFS() },
      stdout: 'ignore',
      trace: (line) => lines.push(line),
      ...options,
    });
    await wasi.run(await wn.compile(await wat(writer(150))));
    return lines;
  };

  test('has lines that fit on a screen, and each tells how the call ended', async () => {
    const lines = await traced();
    expect(lines).toHaveLength(3);
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(200);
    expect(lines.map((line) => /\) = (\w+)/.exec(line)?.[1])).toEqual(['ESUCCESS', 'ESUCCESS', 'ESUCCESS']);
    expect(lines[1]).toMatch(/^path_open\(fd: 3, .*\.\.\.\) = ESUCCESS, opened_fd: 5$/);
  });

  test('is whole if that is asked for', async () => {
    const [, opened] = await traced({ traceFull: true });
    expect(opened.length).toBeGreaterThan(200);
    expect(opened).toContain('fs_rights_base: (all), fs_rights_inheriting: FD_READ|FD_WRITE');
  });
});

describe('metrics', () => {
  test('tell of programs, their time, their memory and what was compiled', async () => {
    const wasi = new wn.WASI({ version: 'preview1' });
    const before = wasi.metrics();
    expect(before).toEqual({
      compile: { modules: expect.any(Number), bytes: expect.any(Number), time: expect.any(Number) },
      cache: { hits: expect.any(Number), directory: expect.anything() },
      programs: { started: 0, running: 0, time: 0 },
      memory: { bytes: 0, peak: 0 },
      calls: null,
    });
    const bytes = await wat(busy('', 1_000_003 + Math.trunc(performance.now())));
    const { instance } = await wasi.spawn(await wn.compile(bytes, { cache: false }));
    const during = wasi.metrics();
    expect(during.compile.modules).toBe(before.compile.modules + 1);
    expect(during.compile.bytes).toBe(before.compile.bytes + bytes.byteLength);
    expect(during.compile.time).toBeGreaterThan(before.compile.time);
    expect(during.programs).toMatchObject({ started: 1, running: 1 });
    expect(during.memory.bytes).toBeGreaterThanOrEqual(65536);
    await instance.exports.work(1);
    expect(wasi.metrics().programs.time).toBeGreaterThan(0);
    instance.close();
    while (wasi.metrics().programs.running > 0) await new Promise(setImmediate);
    expect(wasi.metrics()).toMatchObject({ programs: { started: 1, running: 0 }, memory: { bytes: 0 } });
    expect(wasi.metrics().memory.peak).toBe(during.memory.peak);
  });

  test('count the calls of all programs of the object, with those that failed', async () => {
    const wasi = new wn.WASI({ version: 'preview1', metrics: true, stdout: 'ignore', stderr: 'ignore' });
    expect(wasi.metrics().calls).toEqual({});
    const program = await programs.hello();
    await Promise.all([wasi.run(program), wasi.run(program)]);
    const { calls } = wasi.metrics();
    expect(calls['wasi_snapshot_preview1.fd_write']).toEqual({
      count: 4,
      errors: 0,
      time: expect.any(Number),
    });
    expect(calls['wasi_snapshot_preview1.proc_exit']).toMatchObject({ count: 2, errors: 0 });
    expect(Object.keys(calls)).toEqual([
      'wasi_snapshot_preview1.fd_write',
      'wasi_snapshot_preview1.proc_exit',
    ]);
  });

  test('count those of instances on this thread, and those that JavaScript makes', async () => {
    const wasi = new wn.WASI({ version: 'preview1', metrics: true, returnOnExit: true });
    const module = await wn.compile(
      await wat(`(module ${IMPORT('fd_close', '(param i32) (result i32)')}
        (memory (export "memory") 3)
        (func (export "_start") (drop (call $fd_close (i32.const 99)))))`),
    );
    const { instance } = await wasi.instantiate(module);
    expect(wasi.metrics().memory.bytes).toBe(3 * 65536);
    wasi.start(instance);
    expect(wasi.wasiImport.fd_close(98)).toBe(8);
    expect(wasi.metrics().calls).toEqual({
      'wasi_snapshot_preview1.fd_close': { count: 2, errors: 2, time: expect.any(Number) },
    });
  });
});

describe('a core dump', () => {
  /** Leaves a mark in its memory and one in a global, and traps in a function that others have called. */
  const TRAP = `(module
    (memory (export "memory") 2)
    (global $counter (mut i64) (i64.const 0))
    (global (mut funcref) (ref.null func))
    (func $deep (unreachable))
    (func $middle (call $deep))
    (func (export "_start")
      (global.set $counter (i64.const 77))
      (i64.store offset=70000 (i32.const 0) (i64.const 0x6b72616d20746f4e))
      (call $middle)))`;

  /** LEB128 numbers and bytes, one after another. */
  const reader = (bytes) => {
    let at = 0;
    const u32 = () => {
      let [value, shift] = [0, 0];
      for (;;) {
        const byte = bytes[at++];
        value |= (byte & 0x7f) << shift;
        if (byte < 0x80) return value;
        shift += 7;
      }
    };
    const name = () => {
      const length = u32();
      at += length;
      return Buffer.from(bytes.subarray(at - length, at)).toString();
    };
    return { u32, name, isOver: () => at === bytes.length };
  };

  /** The functions of the frames, and the offsets in them. */
  const framesOf = (dump) => {
    const [section] = WebAssembly.Module.customSections(new WebAssembly.Module(dump), 'corestack');
    const { u32, name, isOver } = reader(new Uint8Array(section));
    expect([u32(), name()]).toEqual([0, 'main']);
    const frames = Array.from({ length: u32() }, () => {
      const [kind, instance, func, offset, locals, stack] = Array.from({ length: 6 }, u32);
      expect([kind, instance, locals, stack]).toEqual([0, 0, 0, 0]);
      return [func, offset];
    });
    expect(isOver()).toBe(true);
    return frames;
  };

  test.each([['run'], ['spawn']])(
    'of a program of %s() has its frames, its memories and its globals',
    async (how) => {
      const file = at(`${how}.core`);
      const wasi = new wn.WASI({ version: 'preview1', coredump: file });
      const module = await wn.compile(await wat(TRAP));
      const trapped = async () => {
        if (how === 'run') return wasi.run(module);
        const { instance } = await wasi.spawn(module);
        return instance.exports._start();
      };
      await expect(trapped()).rejects.toMatchObject({ code: 'ERR_WASI_TRAP' });
      const dump = fs.readFileSync(file);
      expect(fs.statSync(file).mode & 0o077).toBe(0);
      expect(WebAssembly.validate(dump)).toBe(true);
      const parts = new WebAssembly.Module(dump);
      for (const name of ['core', 'coremodules', 'coreinstances']) {
        expect(WebAssembly.Module.customSections(parts, name)).toHaveLength(1);
      }
      const frames = framesOf(dump);
      expect(frames.map(([func]) => func)).toEqual([0, 1, 2]);
      expect(frames.every(([, offset]) => offset > 0 && offset < 60)).toBe(true);
      expect(dump.includes('Not mark')).toBe(true);
      // The global: an i64 that cannot change, and the number as LEB128.
      expect(dump.includes(Buffer.from([0x7e, 0x00, 0x42, 0xcd, 0x00, 0x0b]))).toBe(true);
      // Zeros are not in it.
      expect(dump.length).toBeLessThan(20_000);
    },
  );

  test('is made by the command line, which says so; not for a program that ends in order', () => {
    const result = command('run', '--coredump', 'cli.core', 'trap.wasm');
    expect([result.status, result.stderr]).toEqual([134, expect.stringContaining('core dumped: cli.core')]);
    expect(WebAssembly.validate(fs.readFileSync(at('cli.core')))).toBe(true);
    expect(command('run', '--coredump', 'none.core', 'exit.wasm').status).toBe(3);
    expect(fs.existsSync(at('none.core'))).toBe(false);
    const nowhere = command('run', '--coredump', 'no/such/core', 'trap.wasm');
    expect([nowhere.status, nowhere.stderr]).toEqual([134, expect.stringContaining('no core dump could be')]);
  });

  test('nobody gets one whose time is over', async () => {
    const file = at('timeout.core');
    const wasi = new wn.WASI({ version: 'preview1', coredump: file });
    const running = wasi.run(await wn.compile(fs.readFileSync(at('spin.wasm'))), { timeout: 50 });
    await expect(running).rejects.toMatchObject({ code: 'ERR_WASI_TIMEOUT' });
    expect(fs.existsSync(file)).toBe(false);
  });

  test('a path that is none is refused', () => {
    for (const coredump of ['', 5, 'a\0b', new URL('http://x/y')]) {
      expect(() => new wn.WASI({ version: 'preview1', coredump })).toThrow(/options\.coredump/);
    }
  });
});

const onLinux = process.platform === 'linux' ? describe : describe.skip;

onLinux("perf's files", () => {
  /** Runs a module in a process of its own, and returns the number of that. */
  const running = (flags, env) => {
    const code = `
      const wn = require(${JSON.stringify(PACKAGE)});
      const bytes = require('node:fs').readFileSync(${JSON.stringify(at('library.wasm'))});
      wn.instantiate(bytes, { wasi_snapshot_preview1: { proc_exit() {} } }).then(({ instance }) => {
        instance.exports.work(1);
        console.log(process.pid);
      });`;
    const { stdout, stderr } = spawnSync(process.execPath, [...flags, '-e', code], {
      cwd: scratch,
      encoding: 'utf8',
      env: { ...process.env, WASI_NATIVE_CACHE_DIR: at('cache'), NODE_OPTIONS: '', ...env },
    });
    return { pid: Number(stdout), stderr };
  };
  const mapOf = (pid) => path.join('/tmp', `perf-${pid}.map`);

  test('the map has the functions of wasm, beside those that V8 writes', () => {
    for (const [flags, env] of [
      [[], { WASI_NATIVE_PERF: 'map' }],
      [['--perf-basic-prof'], {}],
      [['--perf_basic_prof'], { PERF_BUILDID_DIR: scratch }],
    ]) {
      const { pid } = running(flags, env);
      const lines = fs.readFileSync(mapOf(pid), 'utf8').trimEnd().split('\n');
      fs.rmSync(mapOf(pid));
      const ours = lines.filter((line) => line.includes('wasm:')).map((line) => line.split(' ')[2]);
      expect(ours).toEqual(expect.arrayContaining(['wasm:inner', 'wasm:outer']));
      expect(lines.every((line) => /^[0-9a-f]+ [0-9a-f]+ \S/.test(line))).toBe(true);
      if (flags.length > 0) expect(lines.length).toBeGreaterThan(ours.length + 100);
    }
  });

  test('the map has functions whose code was in the cache', () => {
    const packed = fs.readFileSync(path.join(__dirname, 'guests', 'std.wasm.br'));
    fs.writeFileSync(at('std.wasm'), brotliDecompressSync(packed));
    const run = (env) =>
      spawnSync(process.execPath, [COMMAND, 'std.wasm'], {
        cwd: scratch,
        env: { ...process.env, WASI_NATIVE_CACHE_DIR: at('cache-of-code'), ...env },
      });
    run();
    const { pid } = run({ WASI_NATIVE_PERF: 'map' });
    const map = fs.readFileSync(mapOf(pid), 'utf8');
    fs.rmSync(mapOf(pid));
    expect(map).toMatch(/^[0-9a-f]+ [0-9a-f]+ wasm:wasm-function\[\d+\]$/m);
  });

  test('the dump has their code', () => {
    const { pid } = running([], { WASI_NATIVE_PERF: 'dump' });
    const dump = fs.readFileSync(at(`jit-${pid}.dump`));
    expect(dump.readUInt32LE(0)).toBe(0x4a695444);
    expect(dump.readUInt32LE(20)).toBe(pid);
    const names = [];
    let end = dump.readUInt32LE(8);
    while (end < dump.length) {
      const size = dump.readUInt32LE(end + 4);
      const record = dump.subarray(end, end + size);
      const name = record.toString('utf8', 56, record.indexOf(0, 56));
      names.push(name);
      expect(record.readUInt32LE(0)).toBe(0);
      expect(Number(record.readBigUInt64LE(40))).toBe(size - 57 - name.length);
      end += size;
    }
    expect(end).toBe(dump.length);
    expect(names).toEqual(expect.arrayContaining(['inner', 'outer']));
  });

  test('nobody gets one who has not asked, and a wrong wish is told without an end to the program', () => {
    const { pid } = running([], {});
    expect(fs.existsSync(mapOf(pid))).toBe(false);
    const { pid: other, stderr } = running([], { WASI_NATIVE_PERF: 'yes' });
    expect(other).toBeGreaterThan(0);
    expect(stderr).toMatch(/WASI_NATIVE_PERF is "yes"; it can be map or dump/);
  });
});
