'use strict';
// Programs that start threads: Rust's standard library built for wasm32-wasip1-threads (guests/threads.rs),
// and modules in the text format.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { PassThrough } = require('node:stream');
const { brotliDecompressSync } = require('node:zlib');
const wn = require('..');
const { child, wat } = require('./helpers');

const packed = path.join(__dirname, 'guests', 'threads.wasm.br');
const bytes = brotliDecompressSync(fs.readFileSync(packed));
/** For processes of their own: the same bytes. */
const LOAD = `const bytes = require('node:zlib').brotliDecompressSync(require('node:fs').readFileSync(${JSON.stringify(packed)}));`;

const WORKERS = `(module
  (import "env" "memory" (memory 1 2 shared))
  (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
  (import "env" "tell" (func $tell (param i32) (result i32)))
  (export "memory" (memory 0))
  (func (export "wasi_thread_start") (param $id i32) (param $arg i32)
    (i32.atomic.store (i32.const 8) (call $tell (local.get $arg)))
    (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))
    (drop (memory.atomic.notify (i32.const 0) (i32.const 1))))
  (func (export "begin") (param i32) (result i32) (call $spawn (local.get 0)))
  (func (export "wait") (result i32)
    (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1)))
    (i32.atomic.load (i32.const 8)))
)`;

let scratch;
beforeAll(() => (scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'wasi-native-'))));
afterAll(() => fs.rmSync(scratch, { recursive: true }));

function run(args, { stdin = 'ignore', limits, source = bytes, preopens, ...options } = {}) {
  const streams = { stdin, stdout: 'pipe', stderr: 'pipe' };
  const wasi = new wn.WASI({ version: 'preview1', args: ['threads', ...args], preopens, limits, ...streams });
  return wasi.run(source, { encoding: 'utf8', timeout: 60_000, ...options });
}

const WORK = [
  ['mutexes', ['mutex'], '40000\n'],
  ['condition variables and channels', ['condvar'], '1000 9900\n'],
  ['scoped threads that start threads', ['scope'], '63999 63999\n'],
  ['a thousand threads, one after another', ['many'], '999\n'],
  ['thread-local values and their destructors', ['locals'], 'once\n10 dropped, main has 0\n'],
  ['sleeps and timeouts', ['sleep'], 'true true\n'],
  ['memory that threads ask for', ['grow'], '[0, 3, 6, 9, 12, 15, 18, 21]\n'],
];

test.each(WORK)('a program of Rust has %s', async (_, args, stdout) => {
  expect(await run(args)).toEqual({ code: 0, stdout, stderr: '' });
});

test('a compiled module can be run as well as bytes', async () => {
  const source = await wn.compile(bytes);
  expect((await run(['mutex'], { source })).stdout).toBe('40000\n');
});

test('one thread waits for input and the others go on', async () => {
  const stdin = new PassThrough();
  const running = run(['stdin'], { stdin });
  setTimeout(() => stdin.end('one\ntwo\n'), 50);
  expect((await running).stdout).toBe('0 while it waits\n["one", "two"]\n');
});

describe.each([
  ['a host directory', () => fs.mkdtempSync(path.join(scratch, 'data-'))],
  ['a MemoryFS', () => new wn.MemoryFS()],
])('on %s', (_, make) => {
  test('threads write to the same descriptors, and nothing is lost or torn', async () => {
    const { code, stdout, stderr } = await run(['files', '/data'], { preopens: { '/data': make() } });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '300 lines\n' });
    const lines = new Set(stdout.trimEnd().split('\n'));
    expect(lines.size).toBe(300);
    expect([...lines].every((line) => /^[0-5] \d+$/.test(line))).toBe(true);
  });
});

test('there are as many threads as the limit says, and no error is for ever', async () => {
  const { stdout } = await run(['limit'], { limits: { threads: 5 } });
  expect(stdout).toBe('5 WouldBlock\n'.repeat(3));
});

test('without threads a program is told that there are none to be had', async () => {
  const running = run(['many'], { limits: { threads: 0 } });
  await expect(running).rejects.toMatchObject({
    code: 'ERR_WASI_TRAP',
    stderr: expect.stringMatching(/WouldBlock/),
  });
});

test('what a program asks for tells of threads', async () => {
  const module = await wn.compile(bytes);
  const wasi = (limits) => new wn.WASI({ version: 'preview1', limits }).capabilities(module);
  expect(wasi({}).granted).toContain('wasi.thread-spawn');
  expect(wasi({ threads: 0 }).stubbed).toEqual(['wasi.thread-spawn']);
});

const FOR_EVER = ['spin', 'sleep', 'wait', 'read', 'print'];

describe.each([
  ['new Instance()', (module, wasi) => new wn.Instance(module, wasi.getImportObject())],
  ['imports that were spread', (module, wasi) => new wn.Instance(module, { ...wasi.getImportObject() })],
  ['wasi.instantiateSync()', (module, wasi) => wasi.instantiateSync(module).instance],
])('on this thread, by %s and start()', (_, make) => {
  const module = new wn.Module(bytes);
  const start = (args, options) => {
    const streams = { stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' };
    const wasi = new wn.WASI({ version: 'preview1', args: ['threads', ...args], ...streams, ...options });
    let code;
    try {
      code = wasi.start(make(module, wasi));
    } catch (error) {
      code = `${error.name}: ${error.message}`;
    }
    return [code, `${wasi.takeOutput().stdout}`];
  };

  test('a program has threads', () => {
    for (const [, args, stdout] of WORK.filter(([, [name]]) => name !== 'many')) {
      expect([args, start(args)]).toEqual([args, [0, stdout]]);
    }
    const once = start(['limit'], { limits: { threads: 5 } });
    expect(once).toEqual([0, '5 WouldBlock\n'.repeat(3)]);
  });

  test('whoever ends it ends all threads, and other wasm runs on', async () => {
    for (const how of ['spin', 'sleep', 'wait']) {
      expect([how, ...start(['exit', how])]).toEqual([how, 7, '']);
      expect([how, ...start(['panic', how])]).toEqual([how, 'RuntimeError: unreachable', '']);
      expect([how, ...start(['main-ends', how])]).toEqual([how, 0, 'main ends\n']);
    }
    const other = await wn.instantiate(
      await wat('(module (func (export "f") (result i32) (loop) (i32.const 7)))'),
    );
    expect(other.instance.exports.f()).toBe(7);
  });
});

test('a thread that exits ends the process where the program does', () => {
  const code = `{ ${LOAD}
    const wasi = new wn.WASI({ version: 'preview1', args: ['threads', 'exit', 'wait'], returnOnExit: false });
    wasi.start(new wn.Instance(new wn.Module(bytes), wasi.getImportObject()));
    console.log('it goes on'); }`;
  const { status, stdout } = child(code);
  expect({ status, stdout }).toEqual({ status: 7, stdout: '' });
});

test('a Worker is terminated in start()', () => {
  const code = `{ ${LOAD}
    const { Worker } = require('node:worker_threads');
    (async () => {
      for (const how of ['spin', 'wait']) {
        const workerData = { name: ${JSON.stringify(path.join(__dirname, '..'))}, bytes, how };
        const source = \`
          const { workerData: { name, bytes, how }, parentPort } = require('node:worker_threads');
          const wn = require(name);
          const wasi = new wn.WASI({ version: 'preview1', args: ['threads', 'for-ever', how] });
          const instance = new wn.Instance(new wn.Module(bytes), wasi.getImportObject());
          parentPort.postMessage(0);
          wasi.start(instance);\`;
        const worker = new Worker(source, { eval: true, workerData });
        await new Promise((resolve) => worker.once('message', resolve));
        await new Promise((resolve) => setTimeout(resolve, 50));
        await worker.terminate();
      }
      console.log('both ended');
    })(); }`;
  const { status, stdout, stderr } = child(code);
  expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: 'both ended\n', stderr: '' });
});

test('a library that starts threads is told where it can', async () => {
  const module = await wn.compile(await wat(WORKERS));
  const wasi = new wn.WASI({ version: 'preview1' });
  expect(() => wasi.instantiateSync(module, { env: { tell: () => 1 } })).toThrow(/wasi\.spawn\(\)/);
});

describe.each(FOR_EVER)('while threads do "%s" for ever', (how) => {
  // What is printed without end is more than can be captured.
  const streams = () => ({ stdin: new PassThrough(), stdout: how === 'print' ? 'ignore' : 'pipe' });

  test('a thread that panics ends the program with its trap', async () => {
    const failed = run(['panic', how], streams()).catch((error) => error);
    const { code, message, stderr } = await failed;
    expect({ code, message }).toEqual({ code: 'ERR_WASI_TRAP', message: 'unreachable' });
    expect(stderr).toMatch(/thread of a guest/);
  });

  test('a thread that exits ends the program with its code', async () => {
    expect((await run(['exit', how], streams())).code).toBe(7);
  });

  test('the program ends when its first thread does', async () => {
    const { code, stdout } = await run(['main-ends', how], streams());
    expect({ code, stdout }).toEqual({ code: 0, stdout: how === 'print' ? null : 'main ends\n' });
  });

  test('a timeout and a signal end the program', async () => {
    const late = run(['for-ever', how], { ...streams(), timeout: 100 });
    await expect(late).rejects.toMatchObject({ code: 'ERR_WASI_TIMEOUT' });
    const signal = AbortSignal.timeout(100);
    await expect(run(['for-ever', how], { ...streams(), signal })).rejects.toThrow(/abort/);
  });
});

test('many programs with threads run at the same time', async () => {
  const source = await wn.compile(bytes);
  const all = Array.from({ length: 12 }, (_, k) => run([k % 2 === 0 ? 'mutex' : 'condvar'], { source }));
  const outputs = (await Promise.all(all)).map(({ stdout }) => stdout);
  expect(outputs).toEqual(all.map((_, k) => (k % 2 === 0 ? '40000\n' : '1000 9900\n')));
});

test('the fuel of a program is that of all its threads', async () => {
  const source = await wn.compile(bytes, { fuel: true });
  const limits = { fuel: 200_000_000 };
  await expect(run(['for-ever', 'spin'], { source, limits })).rejects.toThrow(/fuel/);
  expect((await run(['mutex'], { source, limits: { fuel: 2e9 } })).stdout).toBe('40000\n');
});

test('the memory of a program is limited, whichever thread grows it', async () => {
  const failed = run(['grow'], { limits: { memory: 24 << 20 } });
  await expect(failed).rejects.toMatchObject({
    // Two threads that fail at once write between each other's words.
    stderr: expect.stringMatching(/memory allocation of .* bytes failed/s),
  });
});

test('an instance with a thread of its own starts others, which call functions of JavaScript', async () => {
  const module = await wn.compile(await wat(WORKERS));
  const wasi = new wn.WASI({ version: 'preview1' });
  let memory;
  const tell = async (number) => {
    // The memory is shared, so it can be read although the instance is at work.
    memory = wn.caller().memory.read(0, 4);
    await new Promise((resolve) => setTimeout(resolve, 10));
    return number * 2;
  };
  const { exports, instance } = await wasi.spawn(module, { env: { tell } });
  expect(await exports.begin(21)).toBeGreaterThan(0);
  expect(await exports.wait()).toBe(42);
  expect(memory).toEqual(Buffer.alloc(4));
  instance.close();
  const failing = await wasi.spawn(module, {
    env: {
      tell() {
        throw new RangeError('told');
      },
    },
  });
  expect(await failing.exports.begin(1)).toBeGreaterThan(0);
  // Bun's `rejects` lets the event loop turn inside of it: where it stands in what a message runs, no other comes.
  const thrown = () => failing.exports.wait().catch((error) => error);
  expect(await thrown()).toEqual(new RangeError('told'));
  expect(await thrown()).toMatchObject({ message: 'told' });
});

describe('threads of an instance that nobody waits for', () => {
  const module = async (body) =>
    wn.compile(
      await wat(`(module
        (import "env" "memory" (memory 1 2 shared))
        (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
        (import "env" "ask" (func $ask (param i32) (result i32)))
        (func (export "wasi_thread_start") (param i32 i32)
          ;; The call that starts the thread is over by then.
          (drop (memory.atomic.wait32 (i32.const 8) (i32.const 0) (i64.const 50000000)))
          ${body})
        (func (export "begin") (param i32) (result i32) (call $spawn (local.get 0)))
        (func (export "answer") (result i32) (i32.atomic.load (i32.const 16)))
        (func (export "twice") (param i32) (result i32) (i32.mul (i32.const 2) (local.get 0)))
        (export "memory" (memory 0)))`),
    );

  test('call functions of JavaScript, which call the instance', async () => {
    const wasi = new wn.WASI({ version: 'preview1' });
    const asking = await module('(i32.atomic.store (i32.const 16) (call $ask (local.get 1)))');
    let asked;
    const ask = async (number) => {
      const twice = await exports.twice(number);
      setTimeout(asked, 50);
      return twice + 1;
    };
    const { exports, instance } = await wasi.spawn(asking, { env: { ask } });
    for (const number of [20, 30]) {
      const done = new Promise((resolve) => (asked = resolve));
      expect(await exports.begin(number)).toBeGreaterThan(0);
      await done;
      expect(await exports.answer()).toBe(2 * number + 1);
    }
    instance.close();
  });

  test('end it when they fail, and later calls are told why', async () => {
    const wasi = new wn.WASI({ version: 'preview1' });
    const { exports } = await wasi.spawn(await module('unreachable'), { env: { ask: () => 0 } });
    expect(await exports.begin(1)).toBeGreaterThan(0);
    await new Promise((resolve) => setTimeout(resolve, 300));
    await expect(exports.answer()).rejects.toMatchObject({
      code: 'ERR_WASI_TRAP',
      message: expect.stringMatching(/unreachable/),
    });
  });
});

describe('a thread that an instance waits for', () => {
  // `both` starts a thread and waits until that has its answer.
  const module = (options) =>
    wat(`(module
      (import "env" "memory" (memory 1 2 shared))
      (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
      (import "env" "ask" (func $ask (param i32) (result i32)))
      (global $depth (mut i32) (i32.const 0))
      (func (export "wasi_thread_start") (param $id i32) (param $arg i32)
        (global.set $depth (i32.const 100))
        (i32.atomic.store (i32.const 16) (call $ask (local.get $arg)))
        (i32.atomic.store (i32.const 0) (i32.const 1))
        (drop (memory.atomic.notify (i32.const 0) (i32.const 1))))
      (func (export "both") (param $arg i32) (result i32)
        (i32.atomic.store (i32.const 0) (i32.const 0))
        (drop (call $spawn (local.get $arg)))
        (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1)))
        (i32.atomic.load (i32.const 16)))
      (func (export "twice") (param i32) (result i32) (i32.mul (i32.const 2) (local.get 0)))
      (func (export "depth") (result i32) (global.get $depth))
      (func (export "down") (param i32) (result i32)
        (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 0)) (else (call $ask (i32.sub (local.get 0) (i32.const 1))))))
      (func (export "fail") unreachable)
      (func (export "spin") (loop (br 0)))
      (func (export "sleep") (drop (memory.atomic.wait32 (i32.const 32) (i32.const 0) (i64.const -1))))
      (export "memory" (memory 0)))`).then((bytes) => wn.compile(bytes, options));

  const spawn = async (ask, { compile, ...options } = {}) => {
    const wasi = new wn.WASI({ version: 'preview1', ...options });
    return wasi.spawn(await module(compile), { env: { ask } });
  };

  test('calls JavaScript, which calls the instance', async () => {
    const { exports, instance } = await spawn(async (number) => {
      const twice = await exports.twice(number);
      // In the thread's own instance, whose globals are its own.
      return (await exports.twice(twice)) + (await exports.depth());
    });
    expect(await exports.both(5)).toBe(120);
    expect(await exports.depth()).toBe(0);
    expect(await exports.both(6)).toBe(124);
    instance.close();
  });

  test('calls JavaScript and is called, many deep', async () => {
    const { exports, instance } = await spawn(async (number) => (await exports.down(number)) + 1);
    expect(await exports.both(20)).toBe(21);
    instance.close();
  });

  test('has several calls that one import made, and goes on when one of them fails', async () => {
    const { exports, instance } = await spawn(async (number) => {
      const all = await Promise.allSettled([exports.twice(number), exports.fail(), exports.twice(1)]);
      return all.reduce((sum, { value }) => sum + (value ?? 1000), 0);
    });
    expect(await exports.both(3)).toBe(1008);
    instance.close();
  });

  test.each(['spin', 'sleep'])('goes on after a call that took too long: "%s"', async (how) => {
    const { exports, instance } = await spawn(async (number) => {
      const late = await instance.call(how, [], { timeout: 50 }).catch(({ code }) => code);
      return late === 'ERR_WASI_TIMEOUT' ? exports.twice(number) : -1;
    });
    expect(await exports.both(4)).toBe(8);
    expect(await exports.both(5)).toBe(10);
    instance.close();
  });

  test('has a call that was not waited for done by whoever is free', async () => {
    let later;
    const { exports, instance } = await spawn((number) => {
      later = exports.twice(number);
      return 7;
    });
    expect(await exports.both(4)).toBe(7);
    expect(await later).toBe(8);
    instance.close();
  });

  test('uses fuel of the one tank, and of a call no more than that was given', async () => {
    const compile = { fuel: true };
    const { exports, instance } = await spawn(
      async () => {
        const spent = await instance.call('spin', [], { fuel: 10_000 }).catch(({ message }) => message);
        return /fuel/.test(spent) ? 1 : 0;
      },
      { compile, limits: { fuel: 1e9 } },
    );
    expect(await exports.both(4)).toBe(1);
    expect(await exports.twice(4)).toBe(8);
    instance.close();
  });

  test('ends with the instance while it is called', async () => {
    const { exports, instance } = await spawn(async () => exports.sleep());
    const both = exports.both(1);
    setTimeout(() => instance.close(), 50);
    await expect(both).rejects.toMatchObject({ code: 'ERR_WASI_CLOSED' });
  });
});

test('what is wrong with the imports of a program with threads is said', async () => {
  const own = await wn.compile(
    await wat(`(module (import "wasi" "thread-spawn" (func (param i32) (result i32)))
      (memory (export "memory") 1 2 shared) (func (export "_start")))`),
  );
  // Each thread would have a memory of its own.
  await expect(new wn.WASI({ version: 'preview1' }).run(own)).rejects.toThrow(/--import-memory/);
  const module = await wn.compile(
    await wat(`(module (import "env" "memory" (memory 1 2 shared))
      (import "wasi" "thread-spawn" (func (param i32) (result i32)))
      (func (export "_start")) (export "memory" (memory 0)))`),
  );
  const memory = new wn.Memory({ initial: 1, maximum: 2, shared: true });
  const given = new wn.WASI({ version: 'preview1' }).run(module, { imports: { env: { memory } } });
  await expect(given).rejects.toThrow(/"env" "memory": .* leave it out, and use .* caller\(\)\.memory/);
  for (const memory of [
    new wn.Memory({ initial: 1, maximum: 2, shared: true }),
    new WebAssembly.Memory({ initial: 1, maximum: 2, shared: true }),
  ]) {
    const wasi = new wn.WASI({ version: 'preview1' });
    const imports = { ...wasi.getImportObject(), env: { memory } };
    expect(() => new wn.Instance(module, imports)).toThrow(/leave it out, and use that by what .* exports/);
    const spawned = new wn.WASI({ version: 'preview1' }).spawn(await wn.compile(await wat(WORKERS)), {
      env: { memory, tell: () => 0 },
    });
    await expect(spawned).rejects.toMatchObject({
      code: 'ERR_WASI_LINK',
      message: expect.stringMatching(/leave it out, and use that by instance\.memory/),
    });
  }
});

const ENDINGS = FOR_EVER.filter((how) => how !== 'read');

test.each(ENDINGS)('a process exits while threads do "%s"', (how) => {
  const code = `{ ${LOAD}
    const wasi = new wn.WASI({ version: 'preview1', args: ['threads', 'for-ever', ${JSON.stringify(how)}], stdout: 'ignore' });
    wasi.run(bytes);
    setTimeout(() => process.exit(5), 150); }`;
  const { status, stderr } = child(code);
  expect({ status, stderr: `${stderr}` }).toEqual({ status: 5, stderr: '' });
});

test.each(ENDINGS)('a Worker is terminated while threads do "%s"', (how) => {
  const code = `{ ${LOAD}
    const { Worker } = require('node:worker_threads');
    const source = \`
      const { workerData: { name, bytes, how }, parentPort } = require('node:worker_threads');
      const wn = require(name);
      const wasi = new wn.WASI({ version: 'preview1', args: ['threads', 'for-ever', how], stdout: 'ignore' });
      wasi.run(bytes);
      setTimeout(() => parentPort.postMessage('runs'), 100);\`;
    (async () => {
      for (let k = 0; k < 3; k++) {
        const workerData = { name: ${JSON.stringify(path.join(__dirname, '..'))}, bytes, how: ${JSON.stringify(how)} };
        const worker = new Worker(source, { eval: true, workerData });
        await new Promise((resolve) => worker.once('message', resolve));
        await worker.terminate();
      }
      const tasks = process.platform === 'linux' ? require('node:fs').readdirSync('/proc/self/task').length : 0;
      console.log(tasks < 40);
    })(); }`;
  const { status, stdout, stderr } = child(code);
  expect({ status, stdout: `${stdout}`, stderr: `${stderr}` }).toEqual({
    status: 0,
    stdout: 'true\n',
    stderr: '',
  });
});
