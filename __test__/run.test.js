'use strict';

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const wn = require('..');
const { PACKAGE, child, wat } = require('./helpers');
const programs = require('./programs');

const wasi = (options) => new wn.WASI({ version: 'preview1', ...options });

/** What a promise is rejected with. */
const rejection = (promise) =>
  promise.then(
    (value) => {
      throw new Error(`it resolved to ${JSON.stringify(value)}`);
    },
    (error) => error,
  );

/** An import that never answers, for the program that waits for one. */
const imports = { env: { never: () => new Promise(() => {}) } };

describe('run', () => {
  test('resolves to the exit code, and to the output that is to be captured', async () => {
    const program = await programs.hello();
    const both = await wasi({ stdout: 'pipe', stderr: 'pipe' }).run(program);
    expect(both).toEqual({ code: 7, stdout: Buffer.from('out\n'), stderr: Buffer.from('err\n') });
    const one = await wasi({ stdout: 'pipe', stderr: 'ignore' }).run(program, { encoding: 'utf8' });
    expect(one).toEqual({ code: 7, stdout: 'out\n', stderr: null });
  });

  test('takes a path, a URL, bytes, a Response and a Module', async () => {
    const bytes = await programs.hello();
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'wasi-native-'));
    try {
      const file = path.join(folder, 'hello.wasm');
      fs.writeFileSync(file, bytes);
      const headers = { 'content-type': 'application/wasm' };
      const sources = [
        file,
        pathToFileURL(file),
        bytes,
        bytes.buffer,
        new Response(bytes, { headers }),
        await wn.compile(bytes),
      ];
      for (const source of sources) {
        const { code } = await wasi({ stdout: 'ignore', stderr: 'ignore' }).run(source);
        expect(code).toBe(7);
      }
    } finally {
      fs.rmSync(folder, { recursive: true });
    }
  });

  test('says what it cannot run', async () => {
    expect((await rejection(wasi().run('/no/such.wasm'))).code).toBe('ENOENT');
    expect((await rejection(wasi().run(5))).code).toBe('ERR_INVALID_ARG_TYPE');
    expect(await rejection(wasi().run(Buffer.from('text')))).toBeInstanceOf(wn.CompileError);
    const library = await wat('(module (memory (export "memory") 1))');
    expect((await rejection(wasi().run(library))).code).toBe('ERR_WASI_NO_COMMAND');
    const missing = await rejection(wasi().run(await programs.endless['waiting for an import']()));
    expect(missing).toBeInstanceOf(wn.LinkError);
    expect(missing.message).toMatch(/"env" "never"/);
    const refused = await rejection(wasi({ deny: ['fd_read'] }).run(await programs.hello()));
    expect(refused).toBeInstanceOf(wn.LinkError);
    expect(refused.message).toMatch(/fd_read/);
    for (const options of [
      { timeout: -1 },
      { timeout: '1' },
      { signal: {} },
      { encoding: 'x' },
      { time: 1 },
    ]) {
      expect((await rejection(wasi().run(await programs.hello(), options))).code).toMatch(/^ERR_/);
    }
  });

  test('leaves the event loop free', async () => {
    let ticks = 0;
    const ticking = setInterval(() => ticks++, 5);
    const program = await programs.endless['a tight loop']();
    await rejection(wasi().run(program, { timeout: 400 }));
    clearInterval(ticking);
    expect(ticks).toBeGreaterThan(10);
  });

  test('starts afresh each time, many at a time, from one module', async () => {
    const module = await wn.compile(await programs.hello());
    const shared = wasi({ stdout: 'pipe', stderr: 'ignore' });
    const results = await Promise.all(Array.from({ length: 100 }, () => shared.run(module)));
    expect(new Set(results.map(({ code, stdout }) => `${code} ${stdout}`))).toEqual(new Set(['7 out\n']));
  });

  test('one object serves runs with other arguments, environments and streams', async () => {
    const print = await programs.command(
      `(drop (call $args_sizes_get (i32.const 16) (i32.const 20)))
       (drop (call $args_get (i32.const 1024) (i32.const 4096)))
       (drop (call $write (i32.const 1) (i32.const 4096) (i32.load (i32.const 20))))
       (drop (call $environ_sizes_get (i32.const 16) (i32.const 20)))
       (drop (call $environ_get (i32.const 1024) (i32.const 4096)))
       (drop (call $write (i32.const 1) (i32.const 4096) (i32.load (i32.const 20))))`,
    );
    const shared = wasi({ args: ['one'], env: { A: '1' }, stdout: 'pipe' });
    const out = async (options) => (await shared.run(print, { encoding: 'utf8', ...options })).stdout;
    expect(await out()).toBe('one\0A=1\0');
    expect(await out({ args: ['x', 'y'] })).toBe('x\0y\0A=1\0');
    expect(await out({ env: { B: '2', C: undefined } })).toBe('one\0B=2\0');
    let text = '';
    expect(await out({ stdout: (chunk) => void (text += chunk) })).toBe(null);
    expect(text).toBe('one\0A=1\0');
    const { stdout } = await shared.run(await programs.cat(), {
      stdin: { input: 'input' },
      encoding: 'utf8',
    });
    expect(stdout).toBe('input');
    expect((await rejection(shared.run(print, { args: 'text' }))).code).toBe('ERR_INVALID_ARG_TYPE');
    expect((await rejection(shared.run(print, { stdin: 'pipe' }))).message).toMatch(/new WASI/);
  });

  test('a trap is a RuntimeError with the wasm stack, and has what was captured before', async () => {
    const program = await programs.command(
      '(drop (call $write (i32.const 1) (i32.const 100) (i32.const 3))) (call $fails)',
      '(data (i32.const 100) "abc") (func $fails unreachable)',
    );
    const error = await rejection(wasi({ stdout: 'pipe' }).run(program));
    expect(error).toBeInstanceOf(wn.RuntimeError);
    expect(error.code).toBe('ERR_WASI_TRAP');
    expect(error.stack).toMatch(/at fails \(wasm:/);
    expect(`${error.stdout}`).toBe('abc');
  });

  test('imports may be asynchronous, and what they throw comes out', async () => {
    const program = await wat(`(module
      (import "env" "add" (func $add (param i32 f64) (result i64)))
      (import "env" "take" (func $take (param i64)))
      (memory (export "memory") 1)
      (func (export "_start") (call $take (call $add (i32.const 1) (f64.const 2.5)))))`);
    const taken = [];
    const env = {
      add: async (a, b) => BigInt(a + b * 2),
      take: (value) => void taken.push(value),
    };
    expect(await wasi().run(program, { imports: { env } })).toMatchObject({ code: 0 });
    expect(taken).toEqual([6n]);
    for (const thrown of [new Error('mine'), 'a string', undefined]) {
      const later = { ...env, add: async () => Promise.reject(thrown) };
      expect(await rejection(wasi().run(program, { imports: { env: later } }))).toBe(thrown);
      const atOnce = {
        ...env,
        take: () => {
          throw thrown;
        },
      };
      expect(await rejection(wasi().run(program, { imports: { env: atOnce } }))).toBe(thrown);
    }
    const wrong = { ...env, add: async () => 'no bigint' };
    expect(await rejection(wasi().run(program, { imports: { env: wrong } }))).toBeInstanceOf(SyntaxError);
  });

  test('trace tells of the calls of a program on its thread', async () => {
    const lines = [];
    await wasi({ stdout: 'ignore', stderr: 'ignore', trace: (line) => lines.push(line) }).run(
      await programs.hello(),
    );
    expect(lines.filter((line) => /^fd_write/.test(line))).toHaveLength(2);
    expect(lines.at(-1)).toMatch(/^proc_exit/);
  });

  test('a trace callback that is slow holds up the program, and nobody else', async () => {
    // The program makes calls until it is stopped.
    const program = await wn.compile(
      await wat(`
        (module
          (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
          (memory (export "memory") 1)
          (func (export "_start") (loop (drop (call $yield)) (br 0))))`),
    );
    let lines = 0;
    const trace = () => {
      lines++;
      for (const end = performance.now() + 1; performance.now() < end;);
    };
    const controller = new AbortController();
    let turns = 0;
    const timer = setInterval(() => ++turns === 40 && controller.abort(), 1);
    const before = process.memoryUsage().rss;
    const error = await rejection(wasi({ trace }).run(program, { signal: controller.signal }));
    clearInterval(timer);
    expect(error.name).toBe('AbortError');
    expect(turns).toBeGreaterThanOrEqual(40);
    expect(lines).toBeGreaterThan(10);
    // Unread lines come at some 50 MB a second.
    expect(process.memoryUsage().rss - before).toBeLessThan(100e6);
  });

  test('a quick trace callback gets every line of a program that calls a lot', async () => {
    const program = await wat(`
      (module
        (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
        (memory (export "memory") 1)
        (func (export "_start") (local $n i32)
          (loop
            (drop (call $yield))
            (br_if 0 (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 20000))))))`);
    let lines = 0;
    await wasi({ trace: () => lines++ }).run(program);
    expect(lines).toBe(20000);
  });
});

describe('stopping', () => {
  const stdin = () => wasi({ stdin: 'pipe' });

  test.each(Object.keys(programs.endless))('the signal ends %s', async (what) => {
    const program = await wn.compile(await programs.endless[what]());
    const controller = new AbortController();
    const run = stdin().run(program, { signal: controller.signal, imports });
    setTimeout(() => controller.abort(new Error('enough')), 50);
    const error = await rejection(run);
    expect(error.name).toBe('AbortError');
    expect(error.code).toBe('ABORT_ERR');
    expect(error.cause.message).toBe('enough');
  });

  test('a program that waits in a function of another program is ended like any', async () => {
    const sleeper = await wn.compile(
      await wat(`
        (module
          (import "host" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 1)
          ;; one subscription: the monotonic clock, in an hour
          (data (i32.const 16) "\\01\\00\\00\\00\\00\\00\\00\\00\\00\\a0\\b8\\30\\46\\03\\00\\00")
          (func $sleep (export "sleep") (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128))))
          (func (export "_start") (call $sleep)))`),
    );
    const owner = wasi();
    const trivial = new wn.Module(
      await wat('(module (memory (export "memory") 1) (func (export "_start")))'),
    );
    owner.start(new wn.Instance(trivial));
    const imports = { host: owner.getImportObject().wasi_snapshot_preview1 };
    const timeout = await rejection(wasi().run(sleeper, { imports, timeout: 50 }));
    expect(timeout.code).toBe('ERR_WASI_TIMEOUT');
    const signal = AbortSignal.timeout(50);
    expect((await rejection(wasi().run(sleeper, { imports, signal }))).name).toBe('AbortError');
    const { instance } = await wasi().spawn(sleeper, imports);
    setTimeout(() => instance.close(), 50);
    expect((await rejection(instance.exports.sleep())).code).toBe('ERR_WASI_CLOSED');
    // The owner of the function was not ended by any of them.
    const own = owner.run(sleeper, { imports, timeout: 50 });
    expect((await rejection(own)).code).toBe('ERR_WASI_TIMEOUT');
  }, 20_000);

  test('only a timeout has a thread that looks at the clock', async () => {
    if (process.platform !== 'linux') return;
    const { stdout, stderr } = child(
      `const fs = require('node:fs');
       const name = (task) => {
         try { return fs.readFileSync('/proc/self/task/' + task + '/comm', 'utf8'); } catch { return 'ended'; }
       };
       const watched = () => fs.readdirSync('/proc/self/task').map(name).some((of) => of.startsWith('wasi-native wat'));
       const run = (options) =>
         new wn.WASI({ version: 'preview1', stdout: 'ignore', stderr: 'ignore' }).run(bytes.hello, options);
       await run();
       const before = watched();
       await run({ timeout: 60_000 });
       // A thread has its name a moment after it begins.
       while (!watched() && performance.now() < 60_000) await new Promise((resolve) => setTimeout(resolve, 10));
       console.log(before, watched());`,
      { modules: { hello: await programs.hello() } },
    );
    expect([stderr, stdout]).toEqual(['', 'false true\n']);
  });

  test('the timeouts of many programs that spin are kept, whatever is left for this thread', async () => {
    const { status, stdout } = child(
      `const module = await wn.compile(bytes.spin);
       const started = performance.now();
       const runs = Array.from({ length: 300 }, () =>
         new wn.WASI({ version: 'preview1' }).run(module, { timeout: 2000 }).catch((error) => error.code)
       );
       // A thread that is busy does not look at its timers.
       while (performance.now() - started < 4000);
       const codes = await Promise.all(runs);
       console.log(codes.every((code) => code === 'ERR_WASI_TIMEOUT'));
       process.exit(0);`,
      {
        modules: {
          spin: await wat('(module (memory (export "memory") 1) (func (export "_start") (loop (br 0))))'),
        },
      },
    );
    expect([stdout, status]).toEqual(['true\n', 0]);
  }, 120_000);

  test('a program ends in time also while its thread of JavaScript is busy', async () => {
    const program = await wat(`
      (module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "\\10\\00\\00\\00\\01\\00\\00\\00")
        (data (i32.const 16) ".")
        (func (export "_start")
          (loop (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))) (br 0))))`);
    const module = await wn.compile(program);
    const file = path.join(os.tmpdir(), `wasi-native-busy-${process.pid}`);
    const output = fs.openSync(file, 'w');
    try {
      const run = wasi({ stdout: output }).run(module, { timeout: 300 });
      const rejected = rejection(run);
      await new Promise(setImmediate);
      const size = () => fs.fstatSync(output).size;
      const wait = (milliseconds) =>
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
      for (let i = 0; i < 200 && size() === 0; i++) wait(50);
      expect(size()).toBeGreaterThan(0);
      // It has ended when its output does not grow any more, before this thread has had a turn.
      let [last, still] = [-1, 0];
      for (let i = 0; i < 200 && still < 10; i++) {
        wait(50);
        still = size() === last ? still + 1 : 0;
        last = size();
      }
      expect(still).toBe(10);
      expect((await rejected).code).toBe('ERR_WASI_TIMEOUT');
    } finally {
      fs.closeSync(output);
      fs.rmSync(file);
    }
  }, 60_000);

  test.each(Object.keys(programs.endless))('the timeout ends %s', async (what) => {
    const program = await wn.compile(await programs.endless[what]());
    const error = await rejection(stdin().run(program, { timeout: 50, imports }));
    expect(error.code).toBe('ERR_WASI_TIMEOUT');
    expect(error.message).toMatch(/50 ms/);
  });

  test('a signal that has fired starts nothing', async () => {
    const called = [];
    const env = { never: () => void called.push(1) };
    const signal = AbortSignal.abort();
    const program = await programs.endless['waiting for an import']();
    expect((await rejection(wasi().run(program, { signal, imports: { env } }))).name).toBe('AbortError');
    expect(called).toEqual([]);
  });

  test('other runs go on', async () => {
    const spin = await wn.compile(await programs.endless['a tight loop']());
    const hello = await wn.compile(await programs.hello());
    const quiet = wasi({ stdout: 'ignore', stderr: 'ignore' });
    const long = rejection(quiet.run(spin, { timeout: 300 }));
    for (let round = 0; round < 5; round++) {
      await rejection(quiet.run(spin, { timeout: 10 }));
      expect((await quiet.run(hello)).code).toBe(7);
    }
    expect((await long).code).toBe('ERR_WASI_TIMEOUT');
  });

  test('between runs a directory that was handed in can be renamed and removed', async () => {
    const [one, two] = ['one', 'two'].map((name) =>
      path.join(os.tmpdir(), `wasi-native-${name}-${process.pid}`),
    );
    fs.mkdirSync(one);
    const program = wasi({ preopens: { '/data': one }, stdout: 'pipe', stderr: 'pipe' });
    await program.run(await programs.hello());
    fs.renameSync(one, two);
    await program.run(await programs.hello());
    fs.rmdirSync(two);
    expect([one, two].map((directory) => fs.existsSync(directory))).toEqual([false, false]);
  });

  test('stopped programs leave no descriptor and no thread behind', () => {
    const code = `
      const fs = require('node:fs');
      const programs = require(${JSON.stringify(`${PACKAGE}/__test__/programs.js`)});
      const modules = [];
      for (const make of Object.values(programs.endless)) modules.push(await wn.compile(await make()));
      const imports = { env: { never: () => new Promise(() => {}) } };
      const round = () => Promise.all(modules.map((module) =>
        new wn.WASI({ version: 'preview1', stdin: 'pipe', stdout: () => {} })
          .run(module, { timeout: 20, imports }).catch(() => {})));
      const count = () => [fs.readdirSync('/proc/self/fd').length, fs.readdirSync('/proc/self/task').length];
      await round();
      const settle = () => new Promise((resolve) => setTimeout(resolve, 100));
      await settle();
      gc();
      const before = count();
      for (let i = 0; i < 10; i++) await round();
      await settle();
      gc();
      await settle();
      console.log(JSON.stringify([before, count()]));`;
    if (process.platform !== 'linux') return;
    const { stdout, stderr } = child(code, { flags: ['--expose-gc'] });
    expect(stderr).toBe('');
    const [before, after] = JSON.parse(stdout);
    expect(after[0]).toBeLessThanOrEqual(before[0] + 6);
    expect(after[1]).toBeLessThanOrEqual(before[1] + 1);
  });

  test('an exception that an import leaves behind is uncaught, and nothing else', async () => {
    const code = `
      const controller = new AbortController();
      process.on('uncaughtException', (error) => {
        console.log('uncaught', error.message);
        controller.abort();
      });
      const never = () => new Promise(() => setTimeout(() => { throw new Error('loose'); }, 5));
      const wasi = new wn.WASI({ version: 'preview1' });
      const { signal } = controller;
      await wasi.run(bytes.waits, { signal, imports: { env: { never } } }).catch(({ code }) => console.log(code));`;
    const modules = { waits: await programs.endless['waiting for an import']() };
    const { status, stdout } = child(code, { modules });
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'uncaught loose\nABORT_ERR\n' });
  });

  test('process.exit() ends the process while programs run', async () => {
    const code = `
      const wasi = new wn.WASI({ version: 'preview1', stdin: 'pipe' });
      for (const name of Object.keys(bytes)) {
        wasi.run(bytes[name], { imports: { env: { never: () => new Promise(() => {}) } } });
      }
      setTimeout(() => process.exit(5), 300);`;
    const modules = {};
    for (const [name, make] of Object.entries(programs.endless)) modules[name] = await make();
    const { status, stderr, signal } = child(code, { modules });
    expect({ status, stderr, signal }).toEqual({ status: 5, stderr: '', signal: null });
  });

  test('a worker that is terminated takes its programs along', async () => {
    const code = `
      const { Worker } = require('node:worker_threads');
      const text = \`
        const { parentPort, workerData } = require('node:worker_threads');
        const wn = require(\${JSON.stringify(${JSON.stringify(PACKAGE)})});
        const imports = { env: { never: () => new Promise(() => {}) } };
        for (const program of workerData) {
          new wn.WASI({ version: 'preview1', stdin: 'pipe' }).run(program, { imports });
        }
        setTimeout(() => parentPort.postMessage('started'), 20);\`;
      for (let round = 0; round < 10; round++) {
        const worker = new Worker(text, { eval: true, workerData: Object.values(bytes) });
        await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
        await worker.terminate();
      }
      const threads = require('node:fs').readdirSync('/proc/self/task').length;
      console.log(threads < 40 ? 'ok' : threads);`;
    if (process.platform !== 'linux') return;
    const modules = {};
    for (const [name, make] of Object.entries(programs.endless)) modules[name] = await make();
    const { status, stdout, stderr } = child(code, { modules });
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: 'ok\n', stderr: '' });
  });
});

describe('limits', () => {
  test('a memory, a table and captured output over their limits name them', async () => {
    const spin = await programs.endless['a tight loop']();
    const memory = await rejection(wasi({ limits: { memory: 65535 } }).run(spin));
    expect(memory.code).toBe('ERR_WASI_LIMIT');
    expect(memory.message).toMatch(/65536 bytes .* 65535 \(limits\.memory\)/);
    const tables = await wat(
      '(module (memory (export "memory") 1) (table 11 funcref) (func (export "_start")))',
    );
    const table = await rejection(wasi({ limits: { table: 10 } }).run(tables));
    expect(table.message).toMatch(/11 elements .* 10 \(limits\.table\)/);
    const options = { stdin: Buffer.alloc(2000), stdout: 'pipe', limits: { output: 1000 } };
    const output = await rejection(wasi(options).run(await programs.cat()));
    expect(output.code).toBe('ERR_WASI_LIMIT');
    expect(output.message).toMatch(/stdout .* 1000 bytes \(limits\.output\)/);
    expect(output.stdout).toHaveLength(1000);
  });

  test('a memory does not grow past its limit', async () => {
    const grows = await programs.command(
      '(call $proc_exit (i32.sub (memory.grow (i32.const 1)) (i32.const -5)))',
    );
    expect((await wasi({ limits: { memory: 3 << 16 } }).run(grows)).code).toBe(6);
    expect((await wasi({ limits: { memory: 1 << 16 } }).run(grows)).code).toBe(4);
  });

  test('fuel ends a program after the same number of operators each time', async () => {
    const source = `(module (import "env" "count" (func $count (param i32)))
      (memory (export "memory") 1)
      (func (export "_start") (local i32)
        (loop $next
          (local.set 0 (i32.add (local.get 0) (i32.const 1)))
          (call $count (local.get 0))
          (br $next))))`;
    const module = await wn.compile(await wat(source), { fuel: true });
    const counts = [];
    for (const fuel of [1000, 1000, 2000]) {
      let count;
      const env = { count: (value) => (count = value) };
      const error = await rejection(wasi({ limits: { fuel } }).run(module, { imports: { env } }));
      expect(error).toBeInstanceOf(wn.RuntimeError);
      expect(error.code).toBe('ERR_WASI_LIMIT');
      expect(error.message).toMatch(/limits\.fuel/);
      counts.push(count);
    }
    expect(counts[0]).toBe(counts[1]);
    expect(counts[2]).toBeGreaterThan(counts[0] * 1.9);
    const bytes = await programs.endless['a tight loop']();
    expect((await rejection(wasi({ limits: { fuel: 10 } }).run(bytes))).code).toBe('ERR_WASI_LIMIT');
    const uncounted = await rejection(wasi({ limits: { fuel: 10 } }).run(await wn.compile(bytes)));
    expect(uncounted.message).toMatch(/compile\(bytes, \{ fuel: true \}\)/);
  });

  test('the stack is as deep as its limit', async () => {
    const recurses = await programs.command(
      '(call $proc_exit (call $down (i32.const 0)))',
      `(global $deepest (mut i32) (i32.const 0))
       (func $down (param i32) (result i32)
         (if (i32.eq (local.get 0) (i32.const 30000)) (then (return (i32.const 3))))
         (i32.add (call $down (i32.add (local.get 0) (i32.const 1))) (i32.const 0)))`,
    );
    expect((await wasi({ limits: { stack: 16 << 20 } }).run(recurses)).code).toBe(3);
    const error = await rejection(wasi({ limits: { stack: 64 << 10 } }).run(recurses));
    expect(error.message).toMatch(/call stack/);
  });

  test('what only threads can honour is refused on this thread', async () => {
    const module = new wn.Module(await programs.hello());
    const { PassThrough } = require('node:stream');
    const stdout = new PassThrough();
    for (const options of [
      { limits: { fuel: 1 } },
      { limits: { stack: 1 << 20 } },
      { stdin: 'pipe' },
      { stdout },
    ]) {
      const program = wasi(options);
      const instance = new wn.Instance(module, program.getImportObject());
      expect(() => program.start(instance)).toThrow(/wasi\.run\(\)/);
      // Nor are libraries, which may have nothing to start.
      const library = await wat('(module (func (export "f")))');
      expect(() => wasi(options).instantiateSync(library)).toThrow(/wasi\.spawn\(\)/);
      expect((await rejection(wasi(options).instantiate(library))).code).toBe('ERR_WASI_OPTION');
    }
  });
});
