// A JavaScript side of the benchmarks: wasi-native, this Node's own V8 with node:wasi, or an addon
// written in C.
//
// sides.mjs starts this program and asks it for one measurement at a time, in the words that
// wasmtime/src/main.rs lists, and some more for what only JavaScript has:
//
//     enter NAME EXPORT COUNT TIMES     -> time          COUNT calls f(i, i) from JavaScript, least of TIMES
//     enter64 NAME EXPORT COUNT TIMES   -> time          COUNT calls f(f(0n))... from JavaScript
//     least NAME EXPORT COUNT TIMES     -> time, RESULT  a call of an export with COUNT
//     start PATH COUNT                  -> time          COUNT programs, one after the other, by start()
//     run PATH COUNT                    -> time          the same by run(), on threads
//     runs PATH COUNT                   -> time          COUNT programs on all cores
//     crowd PATH COUNT                  -> time, KIB     COUNT programs by run() at once; memory while all wait
//     version                           -> TEXT

import { once } from 'node:events';
import { openSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus } from 'node:os';
import { createInterface } from 'node:readline';
import { setImmediate, setTimeout } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';

const require = createRequire(import.meta.url);
const [, , side] = process.argv;
const ours = side === 'ours';
const { WASI } = ours ? require('../index.js') : require('node:wasi');
const wasm = ours ? require('../index.js') : WebAssembly;
const stdout = openSync('/dev/null', 'w');
const increment = (value) => (value + 1) | 0;

const modules = new Map();
const guests = new Map();

const requests = {
  version: () => (ours ? `wasi-native ${require('../package.json').version}` : `V8 ${process.versions.v8}`),

  compile(path) {
    const bytes = readFileSync(path);
    return timed(() => new wasm.Module(bytes)).time;
  },

  // Until all of it is optimised. Only ours can be asked for that.
  complete(path) {
    if (!ours) throw new Error('it compiles a function when that is called');
    const bytes = readFileSync(path);
    return timed(() => new wasm.Module(bytes).serialize()).time;
  },

  // Waits until all code is optimised. V8 does that while a function runs.
  optimise(path) {
    if (ours) compiled(path).serialize();
  },

  load(name, path, ...directories) {
    if (side === 'addon') {
      const exports = require(path);
      const call_import = (count) => exports.call_import(increment, count);
      return void guests.set(name, { instance: { exports: { ...exports, call_import } } });
    }
    const module = compiled(path);
    const preopens = Object.fromEntries(directories.map((directory) => directory.split('=')));
    const wasi = new WASI({ version: 'preview1', preopens });
    const imports = { ...stubs(module), ...wasi.getImportObject(), env: { increment } };
    guests.set(name, { instance: new wasm.Instance(module, imports), wasi });
  },

  call(name, item, ...words) {
    const guest = find(name);
    if (item === '_initialize' && side === 'addon') return [];
    // node:wasi serves only an instance that it has initialized itself.
    if (item === '_initialize') return timed(() => guest.wasi.initialize(guest.instance)).time;
    const { time, result } = timed(() => guest.instance.exports[item](...words.map(Number)));
    return [time, result];
  },

  write(name, address, hex) {
    const bytes = Buffer.from(hex, 'hex');
    new Uint8Array(find(name).instance.exports.memory.buffer).set(bytes, Number(address));
  },

  read(name, address, length) {
    return Buffer.from(find(name).instance.exports.memory.buffer, Number(address), Number(length)).toString(
      'hex',
    );
  },

  instantiate(path, count) {
    const module = compiled(path);
    const imports = stubs(module);
    return timed(() => {
      for (let i = 0; i < count; i++) new wasm.Instance(module, imports);
    }).time;
  },

  enter(name, item, count, times) {
    const [target, calls] = [find(name).instance.exports[item], Number(count)];
    return least(times, () => {
      for (let i = 0; i < calls; i++) target(i, i);
    }).time;
  },

  enter64(name, item, count, times) {
    const [target, calls] = [find(name).instance.exports[item], Number(count)];
    return least(times, () => {
      let value = 0n;
      for (let i = 0; i < calls; i++) value = target(value);
    }).time;
  },

  least(name, item, count, times) {
    const target = find(name).instance.exports[item];
    const { time, result } = least(times, () => target(Number(count)));
    return [time, result];
  },

  // A program with its arguments, in which `\\n` stands for a new line. It ends with 0, or that is an error.
  program(path, ...args) {
    const module = compiled(path);
    return timed(() => {
      const words = args.map((word) => word.replaceAll('\\n', '\n'));
      const wasi = new WASI({ version: 'preview1', args: ['program', ...words], stdout, returnOnExit: true });
      const code = wasi.start(new wasm.Instance(module, { ...stubs(module), ...wasi.getImportObject() }));
      if (code) throw new Error(`ended with ${code}`);
    }).time;
  },

  start(path, count) {
    const module = compiled(path);
    return timed(() => {
      for (let i = 0; i < count; i++) {
        const wasi = new WASI({ version: 'preview1', stdout });
        wasi.start(new wasm.Instance(module, wasi.getImportObject()));
      }
    }).time;
  },

  async run(path, count) {
    const module = compiled(path);
    const start = process.hrtime.bigint();
    for (let i = 0; i < count; i++) await new WASI({ version: 'preview1', stdout }).run(module);
    return process.hrtime.bigint() - start;
  },

  async runs(path, count) {
    const module = compiled(path);
    const cores = cpus().length;
    if (!ours) return runsInWorkers(module, Number(count), cores);
    let left = Number(count);
    const serve = async () => {
      while (left-- > 0) await new WASI({ version: 'preview1', stdout }).run(module);
    };
    const start = process.hrtime.bigint();
    await Promise.all(Array.from({ length: cores }, serve));
    return process.hrtime.bigint() - start;
  },

  async crowd(path, count) {
    const module = compiled(path);
    const rss = () => process.memoryUsage.rss() / 1024;
    await new WASI({ version: 'preview1', stdout }).run(module);
    const [before, start] = [rss(), process.hrtime.bigint()];
    const options = { version: 'preview1', stdout, args: ['hello', 'wait'] };
    const runs = Array.from({ length: count }, () => new WASI(options).run(module));
    // Each waits two seconds; when they are through half of it, all are there.
    await setTimeout(1000);
    const during = rss();
    for (const { code } of await Promise.all(runs)) if (code !== 0) throw new Error(`ended with ${code}`);
    return [process.hrtime.bigint() - start, Math.round((during - before) / count)];
  },

  free: (name) => void guests.delete(name),
};

// Workers for `runs`, made once.
const workers = [];

async function runsInWorkers(module, count, cores) {
  const source = `
    const { parentPort, workerData } = require('node:worker_threads');
    const { WASI } = require('node:wasi');
    parentPort.on('message', ({ module, count }) => {
      for (let i = 0; i < count; i++) {
        const wasi = new WASI({ version: 'preview1', stdout: workerData });
        wasi.start(new WebAssembly.Instance(module, wasi.getImportObject()));
      }
      parentPort.postMessage('done');
    });`;
  while (workers.length < cores) workers.push(new Worker(source, { eval: true, workerData: stdout }));
  const run = (count) =>
    Promise.all(
      workers.map((worker) => {
        worker.postMessage({ module, count });
        return once(worker, 'message');
      }),
    );
  await run(1);
  const start = process.hrtime.bigint();
  await run(Math.ceil(count / cores));
  return process.hrtime.bigint() - start;
}

function compiled(path) {
  if (!modules.has(path)) modules.set(path, new wasm.Module(readFileSync(path)));
  return modules.get(path);
}

// For imports that will not be called, or whose answer does not matter, as CRuby's bridge to JavaScript.
function stubs(module) {
  const imports = {};
  for (const { module: from, name } of wasm.Module.imports(module)) (imports[from] ??= {})[name] = () => 0;
  return imports;
}

function find(name) {
  if (!guests.has(name)) throw new Error(`nothing loaded as ${name}`);
  return guests.get(name);
}

function timed(work) {
  const start = process.hrtime.bigint();
  const result = work();
  return { time: process.hrtime.bigint() - start, result };
}

// V8 needs a while to compile a loop, and forgets it between requests.
function least(times, work) {
  let best = timed(work);
  for (let i = 1; i < times; i++) {
    const next = timed(work);
    if (next.time < best.time) best = next;
  }
  return best;
}

for await (const line of createInterface({ input: process.stdin })) {
  const [request, ...words] = line.split('\t');
  let reply;
  try {
    reply = ['ok', await requests[request](...words)].flat().filter((word) => word !== undefined);
  } catch (error) {
    reply = ['error', `${error.name}: ${error.message}`.replaceAll(/\s+/g, ' ')];
  }
  // What the request left behind is collected now, not in the middle of another measurement. A
  // native finalizer runs in a later turn of the event loop.
  globalThis.gc();
  await setImmediate();
  process.stdout.write(`${reply.join('\t')}\n`);
}
for (const worker of workers) await worker.terminate();
