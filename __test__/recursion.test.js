'use strict';
// Recursion ends where the thread's stack does, with a RangeError that can be caught.

const { spawnSync } = require('node:child_process');
const { PACKAGE, wat } = require('./helpers');

const LONG = 120_000;
const isBun = process.versions.bun !== undefined;
/** Bun has an engine with a stack of its own. */
const inNode = isBun ? describe.skip : describe;

const TEXT = `
  (module
    (import "m" "call" (func $call (param i32) (result i32)))
    (memory (export "memory") 1)
    (func $deep (export "deep") (param i32) (result i32)
      (if (result i32) (i32.eqz (local.get 0))
        (then (i32.const 0))
        (else (i32.add (i32.const 1) (call $deep (i32.sub (local.get 0) (i32.const 1)))))))
    (func (export "deepThenCall") (param i32) (result i32) (call $deeper (local.get 0)))
    (func $deeper (param i32) (result i32)
      (if (result i32) (i32.eqz (local.get 0))
        (then (call $call (i32.const 0)))
        (else (i32.add (i32.const 1) (call $deeper (i32.sub (local.get 0) (i32.const 1)))))))
    (func (export "turn") (param i32) (result i32) (call $call (local.get 0))))`;

/** For a child or a Worker: \`make(call)\`, \`most(f)\` (the deepest that f can go), \`ends(f)\`. */
const SETUP = `
  const make = (call) => new wn.Instance(new wn.Module(bytes), { m: { call } }).exports;
  const ends = (f) => {
    try {
      f();
      return 'returned';
    } catch (error) {
      return error instanceof RangeError ? 'RangeError' : String(error);
    }
  };
  const most = (f) => {
    let [low, high] = [0, 1];
    const fits = (n) => { try { f(n); return true; } catch { return false; } };
    while (fits(high)) [low, high] = [high, 2 * high];
    while (high - low > low / 50 + 1) {
      const middle = (low + high) >> 1;
      if (fits(middle)) low = middle; else high = middle;
    }
    return low;
  };
  const plain = () => {
    let depth = 0;
    const down = () => { depth++; down(); };
    try { down(); } catch {}
    return depth;
  };
  /** wasm and JavaScript in turns. */
  const turns = () => {
    let depth = 0;
    const exports = make((n) => (depth = Math.max(depth, n), exports.turn(n + 1)));
    const how = ends(() => exports.turn(0));
    return [depth, how];
  };`;

/** What code logs, in a process with a main thread of so many KiB of stack. */
async function main(code, { kilobytes = 8192, flags = [] } = {}) {
  const bytes = Buffer.from(await wat(TEXT)).toString('base64');
  const text = `
    let wn = require(${JSON.stringify(PACKAGE)});
    const bytes = Buffer.from(${JSON.stringify(bytes)}, 'base64');
    ${SETUP}
    (async () => { ${code} })();`;
  const limited = `ulimit -Ss ${kilobytes}; exec "$0" "$@"`;
  const result = spawnSync('bash', ['-c', limited, process.execPath, ...flags, '-e', text], {
    encoding: 'utf8',
  });
  expect([result.stderr, result.signal, result.status]).toEqual(['', null, 0]);
  return JSON.parse(result.stdout);
}

/** What code in a Worker answers. */
async function inWorker(code, resourceLimits) {
  const bytes = Buffer.from(await wat(TEXT));
  return main(
    `const { Worker } = require('node:worker_threads');
     const worker = new Worker(${JSON.stringify(`
       const { workerData: bytes, parentPort } = require('node:worker_threads');
       const wn = require(${JSON.stringify(PACKAGE)});
       ${SETUP}
       parentPort.postMessage((() => { ${code} })());`)},
       { eval: true, workerData: bytes, resourceLimits: ${JSON.stringify(resourceLimits)} });
     const told = await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
     console.log(JSON.stringify(told));
     await worker.terminate();`,
    { bytes },
  );
}

inNode('in the main thread', () => {
  test(
    'wasm and JavaScript in turns go as deep as V8 lets its own',
    async () => {
      const code = `
      const ours = turns();
      wn = WebAssembly;
      console.log(JSON.stringify([ours, turns()]));`;
      // V8 has optimised its frames of JavaScript by then, so they are smaller.
      const [[depth, how], [ofV8]] = await main(code);
      expect(how).toBe('RangeError');
      expect(depth).toBeGreaterThan(0.75 * ofV8);
      const [[deeper]] = await main(code, { kilobytes: 16384 });
      expect(deeper).toBeGreaterThan(5000);
    },
    LONG,
  );

  test(
    'wasm has the stack that the system gives',
    async () => {
      const code = 'console.log(most(make(() => 0).deep))';
      const [small, usual, large] = [
        await main(code, { kilobytes: 4096 }),
        await main(code, { kilobytes: 8192 }),
        await main(code, { kilobytes: 32768 }),
      ];
      expect(usual).toBeGreaterThan(1.5 * small);
      expect(large).toBeGreaterThan(3 * usual);
    },
    LONG,
  );

  test(
    'JavaScript can be called from wherever wasm comes to',
    async () => {
      const code = `
      const { deep, deepThenCall } = make(() => 7);
      const deepest = most(deep);
      console.log(JSON.stringify([deepest, most(deepThenCall), deepThenCall(Math.floor(deepest / 2)) % 7]));`;
      const [deepest, calling] = await main(code);
      expect(calling).toBeGreaterThan(0.9 * deepest);
    },
    LONG,
  );

  test(
    'JavaScript that wasm did not call ends where it always did',
    async () => {
      const code = `
      const before = plain();
      const within = [];
      const exports = make((n) => (n === 2000 ? (within.push(plain()), 0) : exports.turn(n + 1)));
      exports.turn(0);
      turns();
      console.log(JSON.stringify([before, within[0], plain()]));`;
      const [before, within, after] = await main(code);
      expect(after / before).toBeGreaterThan(0.9);
      expect(after / before).toBeLessThan(1.1);
      expect(within).toBeGreaterThan(before);
    },
    LONG,
  );

  test.each([
    ['1 MiB of stack', { kilobytes: 1024 + 256 }],
    ['8 MiB', {}],
    ['--stack-size', { flags: ['--stack-size=4000'] }],
    ['a stack without a limit', { kilobytes: 'unlimited' }],
  ])(
    'every kind of recursion can be caught, again and again, with %s',
    async (_, options) => {
      const code = `
      const results = new Set();
      for (let i = 0; i < 2; i++) {
        const { deep, deepThenCall } = make(() => { throw new RangeError('of JavaScript'); });
        results.add(ends(() => deep(2 ** 30)));
        results.add(ends(() => deepThenCall(2 ** 30)));
        results.add(turns()[1]);
        // JavaScript that wasm called recurses on its own, and enters wasm now and then.
        let level = 0;
        const down = () => { if (++level % 5000 === 0) ends(() => deep(2 ** 30)); return down(); };
        if (i === 0) results.add(ends(() => make(down).turn(0)));
        results.add(ends(() => make(() => { const f = () => f() + 1; return f(); }).turn(0)));
        if (deep(100) !== 100) results.add('wrong');
      }
      console.log(JSON.stringify([...results]));`;
      expect(await main(code, options)).toEqual(['RangeError']);
    },
    LONG,
  );
});

inNode('in a Worker', () => {
  test(
    'recursion follows resourceLimits.stackSizeMb',
    async () => {
      const code = 'return [most(make(() => 0).deep), turns()];';
      const [smallDeep, [smallTurns, first]] = await inWorker(code, { stackSizeMb: 2 });
      const [deep, [turns, second]] = await inWorker(code, { stackSizeMb: 16 });
      expect([first, second]).toEqual(['RangeError', 'RangeError']);
      expect(deep).toBeGreaterThan(5 * smallDeep);
      expect(turns).toBeGreaterThan(5 * smallTurns);
    },
    LONG,
  );
});

describe('on a thread of its own', () => {
  test(
    'recursion follows limits.stack, and is caught',
    async () => {
      const wn = require('..');
      const bytes = await wat(`
      (module
        (memory (export "memory") 1)
        (func $deep (export "deep") (param i32) (result i32)
          (if (result i32) (i32.eqz (local.get 0))
            (then (i32.const 0))
            (else (i32.add (i32.const 1) (call $deep (i32.sub (local.get 0) (i32.const 1))))))))`);
      const module = await wn.compile(bytes);
      const fits = async (stack, depth) => {
        const limits = stack === undefined ? {} : { stack };
        const wasi = new wn.WASI({ version: 'preview1', limits });
        const { instance } = await wasi.spawn(module, {});
        try {
          await instance.exports.deep(depth);
          return true;
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
          return false;
        } finally {
          instance.close();
        }
      };
      // A frame has 16 bytes at least and 64 at most.
      expect(await fits(256 << 10, 3000)).toBe(true);
      expect(await fits(256 << 10, 20_000)).toBe(false);
      expect(await fits(undefined, 100_000)).toBe(true);
      expect(await fits(undefined, 2 ** 30)).toBe(false);
      expect(await fits(64 << 20, 1_000_000)).toBe(true);
    },
    LONG,
  );
});
