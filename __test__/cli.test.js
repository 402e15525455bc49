'use strict';
// The command line, as a shell starts it.

const { spawn, spawnSync } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { brotliDecompressSync } = require('node:zlib');

const { PACKAGE, wat } = require('./helpers');

const COMMAND = path.join(PACKAGE, 'bin', 'wasi-native.js');

let scratch;
const at = (...names) => path.join(scratch, ...names);

/** Runs the command to its end: `{status, stdout, stderr}`. */
function command(words, options = {}) {
  const env = { ...process.env, WASI_NATIVE_CACHE_DIR: at('cache'), ...options.env };
  return spawnSync(process.execPath, [COMMAND, ...words], {
    cwd: scratch,
    encoding: 'utf8',
    ...options,
    env,
  });
}

const IMPORT = (name, type) => `(import "wasi_snapshot_preview1" "${name}" (func $${name} ${type}))`;

const PROGRAMS = {
  // Writes what it reads, to its end.
  cat: `${IMPORT('fd_read', '(param i32 i32 i32 i32) (result i32)')}
    ${IMPORT('fd_write', '(param i32 i32 i32 i32) (result i32)')}
    (memory (export "memory") 1)
    (func (export "_start")
      (loop $more
        (i32.store (i32.const 0) (i32.const 64))
        (i32.store (i32.const 4) (i32.const 4096))
        (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
        (i32.store (i32.const 4) (i32.load (i32.const 8)))
        (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12)))
        (br_if $more (i32.load (i32.const 8)))))`,
  // Exits with the number of its arguments.
  count: `${IMPORT('args_sizes_get', '(param i32 i32) (result i32)')}
    ${IMPORT('proc_exit', '(param i32)')}
    (memory (export "memory") 1)
    (func (export "_start")
      (drop (call $args_sizes_get (i32.const 0) (i32.const 4)))
      (call $proc_exit (i32.load (i32.const 0))))`,
  // Writes until it cannot, and exits with 7 then.
  yes: `${IMPORT('fd_write', '(param i32 i32 i32 i32) (result i32)')}
    ${IMPORT('proc_exit', '(param i32)')}
    (memory (export "memory") 1)
    (func (export "_start")
      (i32.store (i32.const 4) (i32.const 1000))
      (loop $more
        (br_if $more (i32.eqz (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
      (call $proc_exit (i32.const 7)))`,
  twice: `${IMPORT('random_get', '(param i32 i32) (result i32)').repeat(2).replace('$', '$another_')}
    ${IMPORT('fd_write', '(param i32 i32 i32 i32) (result i32)')}
    (func (export "_start") (f64.const 1) (drop))`,
  addon: '(func (export "napi_register_wasm_v1") (param i32 i32) (result i32) (local.get 1))',
  spin: '(memory (export "memory") 1) (func (export "_start") (loop $again (br $again)))',
  trap: '(memory (export "memory") 1) (func $deep (unreachable)) (func (export "_start") (call $deep))',
  grow: `${IMPORT('proc_exit', '(param i32)')}
    (memory (export "memory") 1)
    (func (export "_start") (call $proc_exit (i32.eq (memory.grow (i32.const 100)) (i32.const -1))))`,
  // Prints its environment and its directories, a line for each.
  lister: `${IMPORT('environ_sizes_get', '(param i32 i32) (result i32)')}
    ${IMPORT('environ_get', '(param i32 i32) (result i32)')}
    ${IMPORT('fd_prestat_get', '(param i32 i32) (result i32)')}
    ${IMPORT('fd_prestat_dir_name', '(param i32 i32 i32) (result i32)')}
    ${IMPORT('fd_write', '(param i32 i32 i32 i32) (result i32)')}
    (memory (export "memory") 1)
    (func $print (param i32 i32)
      (i32.store (i32.const 0) (local.get 0))
      (i32.store (i32.const 4) (local.get 1))
      (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
    (func (export "_start") (local $at i32) (local $end i32) (local $fd i32)
      (drop (call $environ_sizes_get (i32.const 16) (i32.const 20)))
      (drop (call $environ_get (i32.const 1024) (i32.const 8192)))
      (local.set $at (i32.const 8192))
      (local.set $end (i32.add (i32.const 8192) (i32.load (i32.const 20))))
      (block $done
        (loop $next
          (br_if $done (i32.eq (local.get $at) (local.get $end)))
          (if (i32.eqz (i32.load8_u (local.get $at))) (then (i32.store8 (local.get $at) (i32.const 10))))
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (br $next)))
      (call $print (i32.const 8192) (i32.load (i32.const 20)))
      (local.set $fd (i32.const 3))
      (block $last
        (loop $each
          (br_if $last (call $fd_prestat_get (local.get $fd) (i32.const 16)))
          (local.set $end (i32.load (i32.const 20)))
          (drop (call $fd_prestat_dir_name (local.get $fd) (i32.const 32768) (local.get $end)))
          (i32.store8 offset=32768 (local.get $end) (i32.const 10))
          (call $print (i32.const 32768) (i32.add (local.get $end) (i32.const 1)))
          (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
          (br $each))))`,
  library: `(memory (export "memory") 1)
    (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
    (func (export "wide") (param i64 f64) (result i64 f64) (local.get 0) (local.get 1))
    (func (export "single") (param f32) (result f32) (local.get 0))
    (func (export "\\1b[31mred"))`,
};

beforeAll(async () => {
  scratch = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'wasi-native-')));
  for (const [name, text] of Object.entries(PROGRAMS)) {
    fs.writeFileSync(at(`${name}.wasm`), new Uint8Array(await wat(`(module ${text})`)));
  }
  const packed = fs.readFileSync(path.join(__dirname, 'guests', 'std.wasm.br'));
  fs.writeFileSync(at('std.wasm'), brotliDecompressSync(packed));
  fs.writeFileSync(at('component.wasm'), Buffer.from([0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0]));
  fs.writeFileSync(at('cut.wasm'), fs.readFileSync(at('cat.wasm')).subarray(0, 60));
  fs.mkdirSync(at('data'));
  fs.writeFileSync(at('data', 'file'), 'text');
});
afterAll(() => fs.rmSync(scratch, { recursive: true }));

describe('run', () => {
  test('standard streams go straight through', () => {
    const input = 'some text\n'.repeat(10_000);
    const { status, stdout, stderr } = command(['run', 'cat.wasm'], { input });
    expect([status, stdout === input, stderr]).toEqual([0, true, '']);
  });

  test('the exit code is that of the program, and what follows the file are its arguments', () => {
    expect(command(['run', 'count.wasm']).status).toBe(1);
    expect(command(['run', 'count.wasm', 'a', '--trace', '--help']).status).toBe(4);
    expect(command(['run', 'count.wasm', '--', '-a', '--', 'b']).status).toBe(4);
  });

  test('a trap is told with the functions of the program', () => {
    const { status, stderr } = command(['run', 'trap.wasm']);
    expect(status).toBe(134);
    expect(stderr).toMatch(/^wasi-native: unreachable\n {4}at deep/);
    expect(stderr).not.toContain('node:');
    expect(stderr).not.toMatch(/\.js:/);
  });

  test('a file without a command is run, with options before it or not', () => {
    expect(command(['count.wasm', 'a']).status).toBe(2);
    expect(command(['--env', 'A=1', 'lister.wasm']).stdout).toBe('A=1\n');
    expect(command(['--', 'count.wasm', '-a']).status).toBe(2);
    fs.copyFileSync(at('count.wasm'), at('tool'));
    expect(command(['./tool']).status).toBe(1);
    expect(command(['--tiemout', '1s', 'count.wasm'])).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('Did you mean --timeout?'),
    });
  });

  test('a program ends when nobody reads what it prints, and nothing of ours is printed', async () => {
    const env = { ...process.env, WASI_NATIVE_CACHE_DIR: at('cache') };
    for (const words of [
      ['run', 'yes.wasm'],
      ['--help'],
      ['run', '--help'],
      ['inspect', 'std.wasm'],
      ['cache', 'ls'],
    ]) {
      const child = spawn(process.execPath, [COMMAND, ...words], { cwd: scratch, env });
      let stderr = '';
      child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
      if (words[0] === 'run' && words[1] === 'yes.wasm') await once(child.stdout, 'data');
      child.stdout.destroy();
      const [code, signal] = await once(child, 'close');
      expect([words, code, signal, stderr]).toEqual([words, words[1] === 'yes.wasm' ? 7 : 0, null, '']);
    }
  });

  test('megabytes go through pipes as they are', () => {
    const input = Buffer.alloc(10 << 20, Buffer.from(Array.from({ length: 251 }, (_, byte) => byte)));
    const { status, stdout } = command(['run', 'cat.wasm'], {
      input,
      encoding: 'buffer',
      maxBuffer: 20 << 20,
    });
    expect([status, stdout.equals(input)]).toEqual([0, true]);
  });

  test.each([
    [['--timeout', '100ms', 'spin.wasm'], 'the program did not end within 100 ms (--timeout)'],
    [['--max-memory', '12', 'cat.wasm'], 'a memory of 65536 bytes is over the limit of 12 (--max-memory)'],
    [['--deny', 'fd_raed', 'cat.wasm'], '--deny: the pattern "fd_raed" matches no WASI function; '],
    [
      ['--deny', 'fd_*', 'cat.wasm'],
      'the module imports wasi_snapshot_preview1.fd_read, which this program is not granted; grant it by `--allow`',
    ],
    [['--dir', 'nowhere', 'cat.wasm'], '--dir or --mapdir of "nowhere": cannot open "nowhere"'],
    [
      ['library.wasm'],
      'the module is no command: it exports no function _start. A function of a library is called by --invoke',
    ],
  ])('%j is told in the words of the command line, in one line', (words, told) => {
    const { stderr } = command(['run', ...words]);
    expect(stderr.startsWith(`wasi-native: ${told}`)).toBe(true);
    expect(stderr.split('\n')).toEqual([expect.any(String), '']);
  });

  test('a timeout ends the program', () => {
    const { status, stderr } = command(['run', '--timeout', '100ms', 'spin.wasm']);
    expect([status, stderr]).toEqual([124, expect.stringContaining('100 ms')]);
  });

  test('fuel and memory are limited', () => {
    const fuel = command(['run', '--fuel', '1_000', 'spin.wasm']);
    expect([fuel.status, fuel.stderr]).toEqual([134, expect.stringContaining('fuel')]);
    expect(command(['run', '--max-memory', '1M', 'grow.wasm']).status).toBe(1);
    expect(command(['run', '--max-memory', '1G', 'grow.wasm']).status).toBe(0);
  });

  test.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ])('%s ends the program and the process', async (signal, expected) => {
    const env = { ...process.env, WASI_NATIVE_CACHE_DIR: at('cache') };
    const child = spawn(process.execPath, [COMMAND, 'run', '--trace', 'cat.wasm'], { cwd: scratch, env });
    // It runs when it has asked for input.
    child.stdin.write('a');
    await once(child.stdout, 'data');
    child.kill(signal);
    const [code] = await once(child, 'exit');
    expect(code).toBe(expected);
  });

  test('what is handed in is what the program has', () => {
    const listed = (...words) => {
      const { stdout, stderr } = command(['run', ...words, 'lister.wasm'], { env: { LEVEL: '3' } });
      return stdout + stderr;
    };
    expect(listed()).toBe('');
    expect(listed('--dir', 'data')).toBe('data\n');
    expect(listed('-d', './data::/d:ro', '--mapdir', '/e::data', '--mem', '/m')).toBe('/d\n/e\n/m\n');
    expect(listed('--dir=data::/d:rw')).toBe('/d\n');
    expect(listed('--env', 'A=1=2', '-e', 'LEVEL', '-e', 'NOT_THERE')).toBe('A=1=2\nLEVEL=3\n');
  });

  test('calls are traced, and functions granted and withheld', () => {
    expect(command(['run', '--trace', 'cat.wasm'], { input: '' }).stderr).toMatch(/^fd_read\(fd: 0/);
    expect(command(['run', '--deny', 'fd_*', 'cat.wasm'], { input: '' })).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('fd_read'),
    });
    expect(command(['run', '--allow', 'fd_read,fd_write', 'cat.wasm'], { input: 'a' }).stdout).toBe('a');
  });

  test('a function of a library is called, with numbers of its types', () => {
    expect(command(['run', '--invoke', 'add', 'library.wasm', '2', '-5']).stdout).toBe('-3\n');
    expect(command(['run', '--invoke', 'add', 'library.wasm', '4294967295', '-2147483648']).stdout).toBe(
      '2147483647\n',
    );
    expect(command(['run', '--invoke', 'wide', 'library.wasm', '9007199254740993', '1.5']).stdout).toBe(
      '9007199254740993\n1.5\n',
    );
    for (const shown of ['0.1', '3.4028235e+38', '-16777216', '0.33333334', '-0', 'Infinity']) {
      expect(command(['run', '--invoke', 'single', 'library.wasm', shown]).stdout).toBe(`${shown}\n`);
    }
    for (const words of [
      ['sub', 'library.wasm'],
      ['add', 'library.wasm', '1'],
      ['add', 'library.wasm', '1', 'two'],
      ['add', 'library.wasm', '1', '1.5'],
      ['add', 'library.wasm', '1', '4294967296'],
      ['wide', 'library.wasm', '18446744073709551616', '1'],
    ]) {
      expect(command(['run', '--invoke', ...words])).toMatchObject({
        status: 1,
        stderr: expect.stringMatching(/^wasi-native: --invoke: /),
      });
    }
  });

  test('what is wrong with the command line is told, and what was meant', () => {
    for (const [words, text] of [
      [['rnu'], 'Did you mean run?'],
      [['run', '--tiemout', '1s', 'cat.wasm'], 'Did you mean --timeout?'],
      [['run', '--timeout', 'soon', 'cat.wasm'], '500ms'],
      [['run', '--max-memory', 'much', 'cat.wasm'], '256M'],
      [['run', '--timeout', '0', 'cat.wasm'], '500ms'],
      [['run', '--timeout', '9999h', 'cat.wasm'], 'too long'],
      [['run', '--max-memory', '9999999T', 'cat.wasm'], '256M'],
      [['run', '--fuel', '', 'cat.wasm'], '1000000'],
      [['run', '--mem', '', 'cat.wasm'], '/tmp'],
      [['run', '--dir', '::/a', 'cat.wasm'], './data::/data'],
      // As other tools have it.
      [['run', '--dir', 'data:/d', 'cat.wasm'], './data::/data'],
      [['run', '--dir', 'data::/d::ro', 'cat.wasm'], './data::/data:ro'],
      [['run', '--dir', 'data::/d:readonly', 'cat.wasm'], 'the modes are ro and rw'],
      [['run', '--listen', 'here', 'cat.wasm'], '0.0.0.0:8080'],
      [['run'], 'file'],
    ]) {
      const { status, stderr } = command(words);
      expect([words, status, stderr]).toEqual([words, 2, expect.stringContaining(text)]);
    }
  });

  test('what cannot be run is told without a stack', () => {
    for (const [file, text] of [
      ['none.wasm', 'none.wasm'],
      ['component.wasm', 'component'],
      ['library.wasm', '_start'],
      ['none.wasm', 'cannot read none.wasm: there is no such file'],
      ['data', 'cannot read data: it is a directory'],
      ['cut.wasm', 'wasi-native: cut.wasm: '],
      ['addon.wasm', 'load('],
    ]) {
      const { status, stderr } = command(['run', file]);
      expect([file, status, stderr]).toEqual([file, 1, expect.stringContaining(text)]);
      expect(stderr.trimEnd().split('\n').length).toBe(1);
    }
  });
});

test('a compiled file is run if that is allowed', () => {
  const compiled = command(['compile', 'count.wasm', '-o', 'count.compiled']);
  expect(compiled).toMatchObject({ status: 0, stdout: expect.stringContaining('count.compiled') });
  expect(command(['run', '--allow-precompiled', 'count.compiled', 'a', 'b']).status).toBe(3);
  expect(command(['run', 'count.compiled'])).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(/^wasi-native: count\.compiled: .*--allow-precompiled/),
  });
  // It allows, and does not ask for it.
  expect(command(['run', '--allow-precompiled', 'count.wasm', 'a', 'b']).status).toBe(3);
});

test('a file that cannot be written is named, with the reason', () => {
  const reason = 'wasi-native: cannot write nowhere/out: there is no such directory\n';
  const refused = { status: 1, stdout: '', stderr: reason.replaceAll('/', path.sep) };
  const place = path.join('nowhere', 'out');
  expect(command(['compile', 'count.wasm', '-o', place])).toEqual(expect.objectContaining(refused));
  expect(command(['run', '--profile', place, 'count.wasm'])).toEqual(expect.objectContaining(refused));
});

test('a program with threads and a native module run with what was compiled of them', () => {
  const threads = brotliDecompressSync(fs.readFileSync(path.join(__dirname, 'guests', 'threads.wasm.br')));
  fs.writeFileSync(at('threads.wasm'), threads);
  const folder = path.join(PACKAGE, 'scripts/packages/wasm/node_modules/@node-rs/xxhash-wasm32-wasi');
  fs.copyFileSync(path.join(folder, 'xxhash.wasm32-wasi.wasm'), at('addon.wasm'));
  const load = `require(${JSON.stringify(PACKAGE)}).load('./addon.wasm')`;
  const env = { WASI_NATIVE_CACHE_DIR: at('compiled-cache') };
  const kept = () =>
    fs
      .readdirSync(at('compiled-cache'))
      .filter((name) => !name.endsWith('.wnnote'))
      .sort();
  for (const name of ['threads.wasm', 'addon.wasm']) {
    expect(command(['compile', name], { env }).status).toBe(0);
  }
  const compiled = kept();
  expect(command(['run', 'threads.wasm', 'mutex'], { env })).toMatchObject({ status: 0, stdout: '40000\n' });
  const loaded = spawnSync(process.execPath, ['-e', load], {
    cwd: scratch,
    env: { ...process.env, ...env },
    encoding: 'utf8',
  });
  expect(loaded).toMatchObject({ status: 0, stderr: '' });
  // They were found there: nothing else was stored.
  expect(kept()).toEqual(compiled);
  expect(command(['compile', 'threads.wasm', '-o', 'threads.compiled'], { env }).status).toBe(0);
  const precompiled = command(['run', '--allow-precompiled', 'threads.compiled', 'mutex'], { env });
  expect(precompiled).toMatchObject({ status: 0, stdout: '40000\n' });
});

describe('compile, at a terminal', () => {
  const TERMINAL = `process.stderr.isTTY = true;`;

  /** Functions of many loads and additions, which take seconds to compile. */
  const slow = () => {
    const step = '(local.set 0 (i32.mul (i32.const 7) (i32.add (local.get 0) (i32.load (local.get 0)))))';
    const body = `(func (param i32) (result i32) ${step.repeat(100)} (local.get 0))`;
    return wat(`(module (memory 1) ${body.repeat(1500)})`);
  };

  beforeAll(async () => {
    fs.writeFileSync(at('terminal.cjs'), TERMINAL);
    fs.writeFileSync(at('slow.wasm'), await slow());
  }, 120_000);

  const atTerminal = (words, options) =>
    spawn(process.execPath, ['--require', at('terminal.cjs'), COMMAND, ...words], {
      cwd: scratch,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, WASI_NATIVE_CACHE_DIR: at('terminal-cache') },
      ...options,
    });

  const collected = (stream) => {
    const found = { text: '' };
    stream.setEncoding('utf8').on('data', (text) => (found.text += text));
    return found;
  };

  test('a bar shows how far it is, and Ctrl-C ends it', async () => {
    const interrupted = atTerminal(['compile', 'slow.wasm']);
    await once(interrupted.stderr, 'data');
    interrupted.kill('SIGINT');
    const [code, signal] = await once(interrupted, 'close');
    expect([code, signal]).toEqual([null, 'SIGINT']);

    const whole = atTerminal(['compile', 'slow.wasm', '-o', 'slow.compiled']);
    const [stderr, stdout] = [collected(whole.stderr), collected(whole.stdout)];
    expect(await once(whole, 'close')).toEqual([0, null]);
    const shares = [...stderr.text.matchAll(/compiling slow\.wasm [^%]* (\d+)%/g)].map(([, share]) =>
      Number(share),
    );
    expect(shares.length).toBeGreaterThan(1);
    expect(shares).toEqual([...shares].sort((a, b) => a - b));
    expect(shares.at(-1)).toBe(100);
    expect(stdout.text).toMatch(/^slow\.compiled: .*; run it with --allow-precompiled\n$/);
  });

  test('there is none for what is there already, nor for a pipe', async () => {
    const again = atTerminal(['compile', 'slow.wasm']);
    const stderr = collected(again.stderr);
    again.stdout.resume();
    expect(await once(again, 'close')).toEqual([0, null]);
    expect(stderr.text).toBe('');
    expect(command(['compile', 'cat.wasm', '-o', 'cat.compiled'])).toMatchObject({ status: 0, stderr: '' });
  });
});

test('the cache is listed by programs, and cleaned', () => {
  const env = { WASI_NATIVE_CACHE_DIR: at('own-cache') };
  expect(command(['cache', 'ls'], { env }).stdout).toMatch(/^0 B in 0 files/);
  // Which module is in a file is noted of files that were not written just now.
  fs.utimesSync(at('std.wasm'), 1e9, 1e9);
  const long = Date.now() - fs.statSync(at('std.wasm')).ctimeMs;
  if (long < 4000) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 4000 - long);
  expect(command(['compile', 'std.wasm'], { env }).status).toBe(0);
  expect(command(['cache', 'path'], { env }).stdout).toBe(`${at('own-cache')}\n`);
  const [listed] = JSON.parse(command(['cache', 'ls', '--json'], { env }).stdout);
  expect(listed).toMatchObject({ paths: [at('std.wasm')], complete: true, module: expect.any(String) });
  expect(listed.size).toBeGreaterThan(10_000);
  expect(Math.abs(Date.now() - Date.parse(listed.used))).toBeLessThan(3_600_000);
  const { stdout } = command(['cache', 'ls'], { env });
  expect(stdout).toMatch(
    /^ +SIZE {2}LAST USED +MODULE\n +[\d.]+ [KM]iB {2}\d{4}-\d\d-\d\d \d\d:\d\d {2}\/.*\/std\.wasm\n/,
  );
  expect(stdout.trimEnd().split('\n').at(-1)).toMatch(/^[\d.]+ [KM]iB in \d+ files at /);
  expect(command(['cache', 'clean'], { env }).stdout).toContain(`removed`);
  expect(fs.readdirSync(at('own-cache'))).toEqual([]);
  expect(command(['cache', 'path'], { env: { WASI_NATIVE_CACHE: '0' } }).status).toBe(1);
});

describe('inspect', () => {
  test('a program, as JSON', () => {
    const report = JSON.parse(command(['inspect', '--json', 'std.wasm']).stdout);
    expect(report).toMatchObject({
      kind: 'program',
      wasi: ['wasi_snapshot_preview1'],
      capabilities: expect.arrayContaining(['args', 'env', 'preopens', 'stdout']),
      memories: [{ pageSize: 65536, addresses: 32, shared: false, maximum: null }],
    });
    expect(report.exports).toContainEqual({ name: '_start', kind: 'function', type: '() -> ()' });
    const size = report.sections.reduce((sum, section) => sum + section.size, 8);
    expect(size).toBe(report.size);
    expect(report.families.flatMap(({ functions }) => functions)).toContain('path_open');
  });

  test('each function of WASI once, and no features of WebAssembly 1.0', () => {
    expect(JSON.parse(command(['inspect', '--json', 'twice.wasm']).stdout)).toMatchObject({
      families: [{ functions: ['fd_write'] }, { functions: ['random_get'] }],
      features: [],
    });
  });

  test('what is no module is told with the name of its file', () => {
    for (const [file, text] of [
      ['none.wasm', 'cannot read none.wasm: there is no such file'],
      ['data', 'cannot read data: it is a directory'],
      ['cut.wasm', 'cut.wasm: '],
    ]) {
      for (const verb of ['inspect', 'compile']) {
        const { status, stderr } = command([verb, file]);
        expect([verb, status, stderr]).toEqual([verb, 1, expect.stringContaining(`wasi-native: ${text}`)]);
      }
    }
  });

  test('a library and a component, for people', () => {
    const { stdout } = command(['inspect', 'library.wasm']);
    expect(stdout).toContain('add(i32, i32) -> (i32)');
    expect(stdout).toContain('features: multi-value');
    // A name of the module must not reach the terminal as it is.
    expect(stdout).not.toContain('\u001b');
    // Two core modules of a header each, and an alias.
    const core = [1, 8, 0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
    const parts = [0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0, ...core, ...core, 6, 1, 0];
    fs.writeFileSync(at('parts.wasm'), Buffer.from(parts));
    const ofComponent = command(['inspect', 'parts.wasm']).stdout;
    expect(ofComponent).toContain('parts.wasm: component, 31 B\n');
    expect(ofComponent).toContain('sections:\n        20 B  core module, 2 of them\n         3 B  alias\n');
  });
});

test('--help has examples, and no values that nobody reads', () => {
  const { stdout } = command(['run', '--help']);
  expect(stdout).toContain('wasi-native run --dir ./data::/data:ro tool.wasm');
  expect(stdout).not.toContain('default:');
  // Its paragraphs stand apart.
  expect(stdout).toContain('20 22\n\nThe exit code');
  expect(command(['--help']).stdout).toContain('wasi-native --dir . tool.wasm');
});

test('--help tells of everything', () => {
  for (const [words, texts] of [
    [['--help'], ['run', 'compile', 'inspect', 'cache']],
    [
      ['run', '--help'],
      ['--dir', '--env', '--timeout', '--max-memory', '--fuel', '--allow', '--trace', '--invoke'],
    ],
    [
      ['help', 'cache'],
      ['ls', 'clean', 'path'],
    ],
  ]) {
    const { status, stdout } = command(words);
    expect(status).toBe(0);
    for (const text of texts) expect(stdout).toContain(text);
  }
});
