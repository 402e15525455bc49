'use strict';
// Everything ends well: processes, Workers, signals, collection in any order.

const { spawn } = require('node:child_process');
const { Worker } = require('node:worker_threads');
const wn = require('..');
const { PACKAGE, child, thrownBy, wat } = require('./helpers');

const isBun = process.versions.bun !== undefined;

/** Milliseconds for what takes long, on a machine that does much else. */
const LONG = 240_000;

/** Traps, spins, computes, calls out. */
const TEXT = `(module
  (import "m" "call" (func $call))
  (memory (export "memory") 1)
  (table (export "table") 4 funcref)
  (global (export "global") (mut i32) (i32.const 7))
  (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
  (func (export "out") (call $call))
  (func (export "spin") (call $call) (loop (br 0)))
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "compute") (param $n i32) (result f64 i64)
    (local $x f64) (local $y f64) (local $h i64)
    (local.set $x (f64.const 1.5)) (local.set $h (i64.const 1))
    (loop
      (local.set $y (f64.sqrt (f64.add (local.get $x) (f64.convert_i32_s (local.get $n)))))
      (local.set $x (f64.div (f64.mul (local.get $y) (f64.const 1.0001)) (f64.const 1.00007)))
      (local.set $h (i64.rotl
        (i64.xor (i64.mul (local.get $h) (i64.const 6364136223846793005)) (i64.reinterpret_f64 (local.get $x)))
        (i64.const 13)))
      (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $x) (local.get $h)))`;

const PROGRAM = (body) => `(module
  (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
  (import "m" "call" (func $call))
  (memory (export "memory") 1)
  (func (export "_start") (drop (call $yield)) ${body}))`;

let modules;
beforeAll(async () => {
  modules = {
    m: await wat(TEXT),
    calls: await wat(PROGRAM('(call $call)')),
    spins: await wat(PROGRAM('(call $call) (loop (br 0))')),
    traps: await wat(PROGRAM('unreachable')),
  };
});

const INSTANCE = `const make = (call = () => {}) =>
  new wn.Instance(new wn.Module(bytes.m), { m: { call } }).exports;`;

describe('a process ends', () => {
  test('by process.exit() in an import, with its code and its last words', () => {
    const { status, stdout, stderr } = child(
      `process.on('exit', (code) => console.log('exit', code));
       const wasi = new wn.WASI({ version: 'preview1' });
       const imports = { ...wasi.getImportObject(), m: { call: () => process.exit(3) } };
       wasi.start(new wn.Instance(new wn.Module(bytes.calls), imports));
       console.log('not reached');`,
      { modules },
    );
    expect([stderr, stdout, status]).toEqual(['', 'exit 3\n', 3]);
  });

  test('while programs spin on threads of their own and modules are compiled', () => {
    const { status, stderr } = child(
      `const wasi = new wn.WASI({ version: 'preview1' });
       let running = 0;
       const call = () => { if (++running === 3) setTimeout(() => process.exit(4), 20); };
       for (let i = 0; i < 3; i++) wasi.run(bytes.spins, { imports: { m: { call } } });
       for (let i = 0; i < 3; i++) wn.compile(bytes.m);`,
      { modules },
    );
    expect([stderr, status]).toEqual(['', 4]);
  });

  test('by what an import throws and nobody catches, or goes on if somebody does', () => {
    const { status, stderr } = child(
      `${INSTANCE}
       setImmediate(() => make(() => { throw new Error('of the import'); }).out());
       setTimeout(() => process.exit(0), 5000);`,
      { modules },
    );
    expect(stderr).toContain('of the import');
    expect(status).not.toBe(0);
    const goesOn = child(
      `${INSTANCE}
       process.once('uncaughtException', ({ message }) => {
         console.log(message, make().load(0));
       });
       setImmediate(() => make(() => { throw new Error('of the import'); }).out());`,
      { modules },
    );
    expect([goesOn.stdout, goesOn.status]).toEqual(['of the import 0\n', 0]);
  });

  test('by what an asynchronous import throws and nobody catches', () => {
    const { status, stderr } = child(
      `const wasi = new wn.WASI({ version: 'preview1' });
       const call = async () => { throw new Error('of the asynchronous import'); };
       wasi.run(bytes.spins, { imports: { m: { call } } });
       setTimeout(() => process.exit(0), 5000);`,
      { modules },
    );
    expect(stderr).toContain('of the asynchronous import');
    expect(status).not.toBe(0);
  });

  test('by a segmentation fault that is not ours, also while wasm runs', async () => {
    const code = `
      const wn = require(${JSON.stringify(PACKAGE)});
      const bytes = { m: Buffer.from(${JSON.stringify(Buffer.from(modules.m).toString('base64'))}, 'base64') };
      ${INSTANCE}
      try { make().load(-1); } catch {}
      make(() => process.stdout.write('spins')).spin();`;
    // Now and then the loop is just at an instruction that may trap.
    for (let round = 0; round < 20; round++) {
      const spinning = spawn(process.execPath, ['-e', code], { stdio: ['ignore', 'pipe', 'inherit'] });
      await new Promise((resolve) => spinning.stdout.once('data', resolve));
      const ended = new Promise((resolve) => spinning.once('exit', (...all) => resolve(all)));
      spinning.kill('SIGSEGV');
      expect(await ended).toEqual([null, 'SIGSEGV']);
    }
  });

  test.each([['--report-on-fatalerror'], ['--stack-size=500']])(
    'not by traps that are caught, with %s',
    (flag) => {
      if (isBun) return;
      const { status, stdout } = child(
        `${INSTANCE}
         let count = 0;
         for (let i = 0; i < 100; i++) try { make().load(-1); } catch { count++; }
         make(() => process.report.getReport()).out();
         console.log(count);`,
        { modules, flags: [flag] },
      );
      expect([stdout, status]).toEqual(['100\n', 0]);
    },
  );
});

describe('a Worker', () => {
  const worker = (code, data) =>
    new Worker(
      `const { workerData: bytes, parentPort } = require('node:worker_threads');
       const wn = require(${JSON.stringify(PACKAGE)});
       ${INSTANCE}
       ${code}`,
      { eval: true, workerData: data },
    );
  const message = (of) => new Promise((resolve, reject) => of.once('message', resolve).once('error', reject));

  // In Bun a terminated Worker is only told between two turns of its loop.
  const inNode = isBun ? test.skip : test;

  inNode(
    'ends when it is terminated while wasm spins, a hundred times, the addon only there',
    () => {
      const { status, stdout, stderr } = child(
        `const { Worker } = require('node:worker_threads');
       const code = \`
         const { workerData: bytes, parentPort } = require('node:worker_threads');
         const wn = require(${JSON.stringify(PACKAGE)});
         ${INSTANCE}
         try { make().load(-1); } catch {}
         make(() => parentPort.postMessage('spins')).spin();\`;
       const one = async () => {
         const worker = new Worker(code, { eval: true, workerData: bytes });
         await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
         return worker.terminate();
       };
       const line = async () => { for (let i = 0; i < 25; i++) if ((await one()) !== 1) process.exit(5); };
       await Promise.all([line(), line(), line(), line()]);
       const { load } = new WebAssembly.Instance(new WebAssembly.Module(bytes.m), { m: { call() {} } }).exports;
       try { load(-1); } catch (error) { console.log(error instanceof WebAssembly.RuntimeError); }
       const wn = require(${JSON.stringify(PACKAGE)});
       ${INSTANCE}
       try { make().load(-1); } catch (error) { console.log(error instanceof wn.RuntimeError); }`,
        { modules, load: false },
      );
      expect([stderr, stdout, status]).toEqual(['', 'true\ntrue\n', 0]);
    },
    LONG,
  );

  inNode(
    'ends while its programs spin on threads of their own',
    async () => {
      for (let round = 0; round < 10; round++) {
        const spinning = worker(
          `const wasi = new wn.WASI({ version: 'preview1' });
         let running = 0;
         const call = () => { if (++running === 2) parentPort.postMessage('spin'); };
         for (let i = 0; i < 2; i++) wasi.run(bytes.spins, { imports: { m: { call } } }).catch(() => {});`,
          modules,
        );
        await message(spinning);
        expect(await spinning.terminate()).toBe(1);
      }
    },
    LONG,
  );

  test('computes the same, however often it is asked whether to go on', async () => {
    const { exports } = new wn.Instance(new wn.Module(modules.m), { m: { call() {} } });
    const rounds = 20_000_000;
    const asked = worker(`parentPort.postMessage([1, 2, 3].map(() => make().compute(${rounds})));`, modules);
    const expected = exports.compute(rounds);
    expect(await message(asked)).toEqual([expected, expected, expected]);
    await asked.terminate();
  });

  inNode(
    'can be debugged: what is evaluated while wasm loops may call wasm, and that may trap',
    async () => {
      const { exports } = new wn.Instance(new wn.Module(modules.m), { m: { call() {} } });
      const rounds = 20_000_000;
      const debugged = worker(
        `const { Session } = require('node:inspector');
       const { compute } = make();
       const other = make();
       let trapped = 0;
       globalThis.evaluated = () => {
         try { other.load(-1); } catch { trapped++; }
         return false;
       };
       const session = new Session();
       session.connect();
       const scripts = [];
       session.on('Debugger.scriptParsed', ({ params }) => scripts.push(params));
       session.post('Debugger.enable');
       // A breakpoint whose condition is evaluated in the function that loops are asked by.
       const { scriptId } = scripts.find(({ url }) => url.endsWith('dist/native.js'));
       session.post('Debugger.getScriptSource', { scriptId }, (error, { scriptSource }) => {
         const lines = scriptSource.split('\\n');
         const lineNumber = lines.findIndex((line) => line.includes('endWithWorker(realm'));
         const columnNumber = lines[lineNumber].indexOf('{}') + 1;
         const location = { scriptId, lineNumber, columnNumber };
         session.post('Debugger.setBreakpoint', { location, condition: 'evaluated()' }, (error) => {
           if (error) throw new Error(error.message);
         });
       });
       const results = [];
       for (let i = 0; i < 200 && trapped < 5; i++) results.push(compute(${rounds}));
       parentPort.postMessage([trapped >= 5, results]);`,
        modules,
      );
      const [trapped, results] = await message(debugged);
      const expected = exports.compute(rounds);
      expect(trapped).toBe(true);
      expect(results).toEqual(results.map(() => expected));
      await debugged.terminate();
    },
    LONG,
  );

  test(
    'loads the package beside others, all at once',
    async () => {
      const answers = Array.from({ length: 6 }, async () => {
        const one = worker(
          `let count = 0;
         for (let i = 0; i < 200; i++) try { make().load(-1); } catch { count++; }
         parentPort.postMessage(count);`,
          modules,
        );
        const count = await message(one);
        await one.terminate();
        return count;
      });
      expect(await Promise.all(answers)).toEqual(Array(6).fill(200));
    },
    LONG,
  );
});

test("traps on threads of their own live beside V8's on this one", async () => {
  const { load } = new WebAssembly.Instance(new WebAssembly.Module(modules.m), { m: { call() {} } }).exports;
  const wasi = new wn.WASI({ version: 'preview1' });
  const module = await wn.compile(modules.traps);
  const imports = { m: { call: async () => {} } };
  let theirs = 0;
  for (let round = 0; round < 20; round++) {
    const ours = Array.from({ length: 10 }, () => wasi.run(module, { imports }).catch((error) => error));
    for (let i = 0; i < 500; i++) if (thrownBy(() => load(-1)) instanceof WebAssembly.RuntimeError) theirs++;
    for (const error of await Promise.all(ours)) {
      expect([error.name, error.message]).toEqual(['RuntimeError', 'unreachable']);
    }
  }
  expect(theirs).toBe(10_000);
});

test(
  'handles are collected in any order',
  () => {
    const { status, stdout, stderr } = child(
      `const random = (() => { let x = 88172645463325252n; return (n) => {
       x ^= x << 13n; x &= (1n << 64n) - 1n; x ^= x >> 7n; x ^= x << 17n; x &= (1n << 64n) - 1n;
       return Number(x % BigInt(n));
     }; })();
     const held = [];
     const uses = [];
     for (let round = 0; round < 250; round++) {
       const module = new wn.Module(bytes.m);
       const wasi = new wn.WASI({ version: 'preview1', preopens: { '/tmp': new wn.MemoryFS() } });
       const inner = held.length ? held[random(held.length)] : undefined;
       const instance = new wn.Instance(module, { m: { call: () => instance.exports.load(0) } });
       const { exports } = instance;
       const { memory, table, global, load, out } = exports;
       table.set(0, load);
       const buffer = memory.buffer;
       uses.push(
         () => module && wn.Module.exports(module).length,
         () => instance.exports.grow(1),
         () => exports.out(),
         () => memory.buffer.byteLength,
         () => buffer.byteLength,
         () => table.get(0)(0),
         () => (global.value += 1),
         () => load(-1),
         () => out(),
         () => wasi.getImportObject(),
         () => wasi.wasiImport.random_get(0, 8),
         () => new wn.Instance(module, { m: { call: load } }).exports.out(),
         () => wasi.initialize({ exports: { memory } })
       );
       while (uses.length > 60) uses.splice(random(uses.length), 1);
       if (round % 4 === 0) gc();
       for (let i = 0; i < 5; i++) { try { uses[random(uses.length)](); } catch (error) {
         if (!error.code && !(error instanceof TypeError)) throw error;
       } }
       if (round % 50 === 0) await new Promise(setImmediate);
     }
     uses.length = 0;
     gc();
     await new Promise(setImmediate);
     gc();
     console.log('done');`,
      { modules, flags: ['--expose-gc'] },
    );
    expect([stderr, stdout, status]).toEqual(['', 'done\n', 0]);
  },
  LONG,
);

test('a buffer that is held while its memory grows is detached, and the bytes stay for who has them', () => {
  const { exports } = new wn.Instance(new wn.Module(modules.m), { m: { call() {} } });
  const { memory } = exports;
  const held = memory.buffer;
  const view = new Uint8Array(held);
  view[5] = 42;
  expect(exports.grow(1)).toBe(1);
  expect([held.byteLength, view.length]).toEqual([0, 0]);
  expect(new Uint8Array(memory.buffer)[5]).toBe(42);
  const second = memory.buffer;
  expect(memory.grow(0)).toBe(2);
  expect(second.byteLength).toBe(0);
  expect(memory.buffer.byteLength).toBe(131072);
});

test('two copies of the package are two worlds that live beside each other', async () => {
  const { stdout, stderr, status } = child(
    `${INSTANCE}
     for (const file of Object.keys(require.cache)) if (!file.endsWith('.node')) delete require.cache[file];
     const other = require(${JSON.stringify(PACKAGE)});
     const theirs = new other.Instance(new other.Module(bytes.m), { m: { call() {} } }).exports;
     const ours = make();
     const results = [];
     results.push(other !== wn, other.Module !== wn.Module);
     for (const [{ load }, { RuntimeError }] of [[ours, wn], [theirs, other]]) {
       for (let i = 0; i < 100; i++) try { load(-1); } catch (error) {
         if (!(error instanceof RuntimeError)) results.push('wrong class');
       }
     }
     try { new wn.Instance(new other.Module(bytes.m)); } catch (error) { results.push(error.name); }
     // A function of the other copy is a function like any other.
     let called = 0;
     make(theirs.out).out();
     const memory = new other.Memory({ initial: 1 });
     const wasi = new wn.WASI({ version: 'preview1' });
     try { wasi.initialize({ exports: { memory } }); } catch (error) { results.push(error.code); }
     console.log(results.join());`,
    { modules },
  );
  expect([stderr, stdout, status]).toEqual(['', 'true,true,TypeError,ERR_INVALID_ARG_TYPE\n', 0]);
});

test(
  'ten thousand instances leave no descriptor, no thread and little memory behind',
  () => {
    if (process.platform !== 'linux' || isBun) return;
    const { stdout, stderr } = child(
      `const fs = require('node:fs');
     const count = (name) => fs.readdirSync('/proc/self/' + name).length;
     const module = new wn.Module(bytes.calls);
     const run = async (times) => {
       for (let i = 0; i < times; i++) {
         const wasi = new wn.WASI({ version: 'preview1', preopens: { '/': '.' } });
         wasi.start(new wn.Instance(module, { ...wasi.getImportObject(), m: { call() {} } }));
         if (i % 500 === 0) { gc(); await new Promise(setImmediate); }
       }
       gc(); await new Promise(setImmediate); gc(); await new Promise(setImmediate);
       return [count('fd'), count('task'), process.memoryUsage.rss() >> 20];
     };
     const before = await run(1000);
     const after = await run(10000);
     console.log(JSON.stringify([before, after]));`,
      { modules, flags: ['--expose-gc'] },
    );
    expect(stderr).toBe('');
    const [before, after] = JSON.parse(stdout);
    expect(after[0]).toBeLessThanOrEqual(before[0] + 5);
    expect(after[1]).toBeLessThanOrEqual(before[1]);
    expect(after[2]).toBeLessThan(before[2] + 60);
  },
  LONG,
);

test(
  'ten thousand runs on threads of their own leave no descriptor, no thread and little memory behind',
  async () => {
    if (process.platform !== 'linux' || isBun) return;
    const command = await wat('(module (memory (export "memory") 1) (func (export "_start")))');
    const { stdout, stderr } = child(
      `const fs = require('node:fs');
     const count = (name) => fs.readdirSync('/proc/self/' + name).length;
     const module = new wn.Module(bytes.command);
     const one = async () => {
       const wasi = new wn.WASI({ version: 'preview1', preopens: { '/': '.' } });
       await wasi.run(module);
       wasi.close();
     };
     const run = async (times) => {
       for (let i = 0; i < times; i += 8) {
         await Promise.all(Array.from({ length: 8 }, one));
         if (i % 400 === 0) gc();
       }
       gc();
       // A thread tells of its end a moment before it is gone.
       await new Promise((resolve) => setTimeout(resolve, 500));
       return [count('fd'), count('task'), process.memoryUsage.rss() >> 20];
     };
     const before = await run(1000);
     const after = await run(10000);
     console.log(JSON.stringify([before, after]));`,
      { modules: { command }, flags: ['--expose-gc'] },
    );
    expect(stderr).toBe('');
    const [before, after] = JSON.parse(stdout);
    expect(after[0]).toBeLessThanOrEqual(before[0] + 5);
    expect(after[1]).toBeLessThanOrEqual(before[1]);
    expect(after[2]).toBeLessThan(before[2] + 60);
  },
  LONG,
);

test('as many compilations as one likes share a single thread of the pool', async () => {
  const large = `(module ${Array.from(
    { length: 600 },
    (_, i) => `(func (export "f${i}") (param i32) (result i32)
      (i32.add (i32.mul (local.get 0) (i32.const ${i})) (i32.popcnt (local.get 0))))`,
  ).join('\n')})`;
  const { stdout, stderr } = child(
    `const tasks = () => require('node:fs').readdirSync('/proc/self/task').length;
     const before = process.platform === 'linux' ? tasks() : 0;
     let most = 0;
     const timer = setInterval(() => { if (before > 0) most = Math.max(most, tasks()); }, 1);
     const modules = await Promise.all(Array.from({ length: 8 }, () => wn.compile(bytes.large)));
     clearInterval(timer);
     const results = modules.map((module) => new wn.Instance(module).exports.f5(3));
     console.log(results.join(), most - before <= 4 * require('node:os').cpus().length + 8);`,
    {
      modules: { large: await wat(large) },
      env: { ...process.env, UV_THREADPOOL_SIZE: '1' },
    },
  );
  expect(stderr).toBe('');
  expect(stdout).toBe(`${Array(8).fill(17).join()} true\n`);
});
