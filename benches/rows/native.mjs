// Native modules: published addons, built for this machine, built for wasm on us, and the same on emnapi.

import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { brotliDecompressSync } from 'node:zlib';

import { testAddon } from '../modules.mjs';
import { Table, memory } from '../table.mjs';

const require = createRequire(import.meta.url);
const PACKAGE = fileURLToPath(new URL('../..', import.meta.url));
const packages = join(PACKAGE, 'scripts/packages');
const SIDES = ['ours', 'native', 'emnapi'];
const NOTE =
  'native: the build for this machine. emnapi: the build for wasm with its own loader, on this Node.';
const ROUNDS = 12;
/** Of small calls: so many that some are not disturbed. */
const MANY = 300;
/** Processes of each side. */
const STARTS = 7;

/** Where an addon is: what each side loads. */
function places(name, twin = name, binding = name) {
  const folder = join(packages, 'wasm/node_modules', `${binding}-wasm32-wasi`);
  const { files } = JSON.parse(readFileSync(join(folder, 'package.json')));
  return {
    native: join(packages, 'native/node_modules', twin),
    ours: join(
      folder,
      files.find((each) => each.endsWith('.wasm')),
    ),
    emnapi: folder,
  };
}

const ADDONS = {
  crc32: places('@node-rs/crc32'),
  xxhash: places('@node-rs/xxhash'),
  argon2: places('@node-rs/argon2'),
  jieba: places('@node-rs/jieba'),
  snappy: places('snappy', 'snappy', '@napi-rs/snappy'),
  'oxc-parser': places(
    '@oxc-parser/binding',
    `@oxc-parser/binding-${process.platform}-${process.arch}${process.platform === 'linux' ? '-gnu' : ''}`,
  ),
};

const load = (side, addon) => {
  if (addon === IN_C) return inC[side]();
  const path = ADDONS[addon][side];
  return side === 'ours' ? require('../..').load(path) : require(path);
};

/** An addon in C, which nobody has published. */
const IN_C = 'addon.c';
const bytesInC = () => brotliDecompressSync(readFileSync(join(PACKAGE, '__test__/guests/addon.wasm.br')));
const inC = {
  ours: () => require('../..').load(bytesInC()),
  native: () => require(testAddon(join(packages, 'native/node_modules/node-api-headers/include'))),
  emnapi() {
    const from = createRequire(join(packages, 'wasm/package.json'));
    const { instantiateNapiModuleSync } = from('@emnapi/core');
    const { getDefaultContext } = from('@emnapi/runtime');
    const wasi = new (require('node:wasi').WASI)({ version: 'preview1' });
    const module = new WebAssembly.Module(bytesInC());
    const lacking = () => {
      throw new Error('emnapi has no such function');
    };
    const overwriteImports = (imports) => {
      for (const { module: from, name } of WebAssembly.Module.imports(module))
        imports[from][name] ??= lacking;
      return imports;
    };
    const options = { context: getDefaultContext(), wasi, overwriteImports };
    const { napiModule } = instantiateNapiModuleSync(module, options);
    return napiModule.exports;
  },
};

const small = Buffer.alloc(16, 1);
const large = Buffer.alloc(64 << 20, 3);
const text = Buffer.from('a text that can be made shorter, again and again. '.repeat(190_000));

/** A name, what it is called, whose it is, a call, and how often it is made at a time. */
const CALLS = [
  ['crc32', 'crc32 of 16 bytes', 'crc32', (m) => m.crc32(small), 1000],
  ['add', 'the sum of two numbers, in C', IN_C, (m) => m.add(1, 2), 1000],
  ['crc32-text', 'crc32 of 5 characters', 'crc32', (m) => m.crc32('hello'), 1000],
  ['xxh32', 'xxh32 of 16 bytes', 'xxhash', (m) => m.xxh32(small, 0), 1000],
  ['xxh64', 'xxh64 of 16 bytes', 'xxhash', (m) => m.xxh64(small, 0n), 1000],
  [
    'jieba',
    'jieba cuts 14 characters',
    'jieba',
    (m) => (m.own ??= new m.Jieba()).cut('我们中出了一个叛徒来到北京'),
    50,
  ],
];
const source = () => readFileSync(require.resolve('typescript'), 'utf8');
let typescript;
const COMPUTING = [
  ['xxh3', 'xxh3 of 64 MB', 'xxhash', (m) => m.xxh3.xxh64(large), 1],
  ['argon2', 'argon2 of a password', 'argon2', (m) => m.hashSync('password'), 1],
  ['snappy', 'snappy of 9 MB', 'snappy', (m) => m.compressSync(text), 1],
  [
    'oxc-parser',
    'oxc-parser of typescript.js',
    'oxc-parser',
    (m) => m.parseSync('typescript.js', (typescript ??= source())).program.length,
    1,
  ],
];

const wall = () => Number(process.hrtime.bigint());
const ofProcessor = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1000;
};

/** Calls of all sides in turns, in this process. */
async function calls(title, notes, rows, rounds, clock, wanted) {
  rows = rows.filter(([name]) => wanted(name));
  if (rows.length === 0) return;
  const table = new Table(title, ['native', 'emnapi'], notes);
  for (const [, label, addon, call, count] of rows) {
    const times = {};
    const problems = [];
    const modules = {};
    for (const side of SIDES) {
      try {
        modules[side] = { ...load(side, addon) };
        call(modules[side]);
        times[side] = Infinity;
      } catch (error) {
        delete modules[side];
        problems.push(`${side}: ${error.message}`);
      }
    }
    for (let round = 0; round < rounds; round++) {
      for (const [side, module] of Object.entries(modules)) {
        // emnapi's copies go when the event loop turns.
        await new Promise(setImmediate);
        const start = clock();
        for (let k = 0; k < count; k++) call(module);
        times[side] = Math.min(times[side], (clock() - start) / count);
      }
    }
    table.row(label, times, problems);
  }
  table.end();
}

/** A process that loads an addon, and tells what it takes as JSON. `then` may use it and add to `told`. */
const loading = (then) => `
  const { readFileSync } = require('node:fs');
  const [side, path, typescript] = process.argv.slice(1);
  const resident = () => Number(readFileSync('/proc/self/status', 'latin1').match(/^VmRSS:\\s+(\\d+)/m)[1]);
  const now = () => Number(process.hrtime.bigint());
  // What they need themselves is no part of it.
  now();
  resident();
  const ours = side === 'ours' ? require(${JSON.stringify(PACKAGE)}) : undefined;
  (async () => {
    const start = now();
    const m = ours ? ours.load(path) : require(path);
    const told = { load: now() - start, resident: resident() };
    const begin = now();
    ${then}
    console.log(JSON.stringify(told));
    process.exit(0);
  })();`;

const FIRST = {
  crc32: 'm.crc32("hello");',
  xxhash: 'm.xxh32("hello");',
  snappy: 'await m.compress(Buffer.alloc(1000)); told.first = now() - begin;',
  argon2: 'await m.hash("password", { memoryCost: 1024 }); told.first = now() - begin;',
  'oxc-parser': 'await m.parse("a.js", "let a = 5"); told.first = now() - begin;',
};

/** How long a process stays until all code of a module is in the cache, and notes about it are, in milliseconds. */
const STAYS = 5000;

async function processes(wanted) {
  if (!wanted('load')) return;
  const directory = mkdtempSync(join(tmpdir(), 'wasi-native-'));
  let last = 0;
  const run = async (code, side, path, cache = 'cache') => {
    const env = { ...process.env, WASI_NATIVE_CACHE_DIR: join(directory, cache) };
    const words = ['--no-warnings', '-e', code, side, path];
    const start = wall();
    // emnapi's Workers take some processes down at their end, when all has been told.
    const told = (error) => (error.stdout ? error : Promise.reject(error));
    const { stdout } = await promisify(execFile)(process.execPath, words, { env }).catch(told);
    return { ...JSON.parse(stdout || '{}'), whole: wall() - start };
  };
  const tables = {
    load: [(told) => told.load, 'Loading, the code in the cache', undefined],
    cold: [(told) => told.load, 'Loading, an empty cache', undefined],
    first: [(told) => told.first, 'The first asynchronous call after that, the code in the cache', undefined],
    whole: [
      (told) => told.whole,
      'A process that loads it and calls it once, the code in the cache',
      undefined,
    ],
    resident: [(told) => told.resident, 'Resident memory of the process after loading', memory],
  };
  const least = {};
  try {
    for (const name of Object.keys(FIRST)) {
      const code = loading(FIRST[name]);
      const places = ADDONS[name];
      // Compiled, then found good, then noted: the clock of the file system must have moved on in between.
      const stays = loading(`${FIRST[name]} await new Promise((done) => setTimeout(done, ${STAYS}));`);
      for (let round = 0; round < 3; round++) await run(stays, 'ours', places.ours);
      for (let round = 0; round < STARTS; round++) {
        for (const side of SIDES) {
          const told = await run(code, side, places[side]);
          const cold = side === 'ours' ? await run(code, side, places[side], `cold-${last++}`) : told;
          for (const [key, [figure]] of Object.entries(tables)) {
            const found = figure(key === 'cold' ? cold : told);
            if (found === undefined) continue;
            const row = ((least[key] ??= {})[name] ??= {});
            row[side] = Math.min(row[side] ?? Infinity, found);
          }
        }
      }
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
  for (const [key, [, title, show]] of Object.entries(tables)) {
    const notes =
      key === 'load' ? [NOTE, 'Each in a process of its own, after require() of this package.'] : [];
    const table = new Table(title, ['native', 'emnapi'], notes, show);
    for (const [name, row] of Object.entries(least[key])) table.row(name, row, []);
    table.end();
  }
}

/** By how much a process grows by calls with large Buffers. */
async function largeBuffers(wanted) {
  if (!wanted('buffers')) return;
  const code = loading(`
    const bytes = Buffer.alloc(32 << 20, 1);
    for (let k = 0; k < 10; k++) m.crc32(bytes);
    const before = resident();
    for (let k = 0; k < 200; k++) m.crc32(bytes);
    told.growth = Math.max(resident() - before, 0);`);
  const table = new Table('Memory that 200 calls with 32 MB leave behind', ['native', 'emnapi'], [], memory);
  const growth = {};
  const problems = [];
  for (const side of SIDES) {
    try {
      const words = ['--no-warnings', '-e', code, side, ADDONS.crc32[side]];
      growth[side] = JSON.parse((await promisify(execFile)(process.execPath, words)).stdout).growth;
    } catch (error) {
      problems.push(
        `${side}: ends with ${error.signal ?? error.code}: ${error.stderr.trim().split('\n')[0]}`,
      );
    }
  }
  table.row('crc32 of 32 MB, 200 times', growth, problems);
  table.end();
}

/** A library's function of texts, by `lib.fn`, and as everybody writes it by hand. */
function greeting(wanted) {
  if (!wanted('greet')) return;
  const bytes = brotliDecompressSync(readFileSync(join(PACKAGE, '__test__/guests/library.wasm.br')));
  const env = { ask: () => 0 };
  const lib = require('../..').load(bytes, { imports: { env } });
  const byHand = ({ exports }) => {
    const { malloc, free, greet, memory } = exports;
    const [encoder, decoder] = [new TextEncoder(), new TextDecoder()];
    return (name) => {
      const room = 3 * name.length;
      const address = malloc(room);
      const { written } = encoder.encodeInto(name, new Uint8Array(memory.buffer, address, room));
      const at = greet(address, written);
      free(address);
      const bytes = new Uint8Array(memory.buffer);
      const greeting = decoder.decode(bytes.subarray(at, bytes.indexOf(0, at)));
      free(at);
      return greeting;
    };
  };
  const wasi = { env, wasi_snapshot_preview1: new Proxy({}, { get: () => () => 0 }) };
  const functions = {
    ours: lib.fn('greet', { params: ['string'], result: 'cstring', freeResult: true }),
    'by hand': byHand(new (require('../..').Instance)(new (require('../..').Module)(bytes), wasi)),
    V8: byHand(new WebAssembly.Instance(new WebAssembly.Module(bytes), wasi)),
  };
  const COUNT = 1000;
  const times = {};
  for (let round = 0; round < MANY; round++) {
    for (const [side, call] of Object.entries(functions)) {
      const start = wall();
      for (let k = 0; k < COUNT; k++) call('world');
      times[side] = Math.min(times[side] ?? Infinity, (wall() - start) / COUNT);
    }
  }
  const notes = ['by hand: over our exports, as glue does it. V8: the same over those of WebAssembly.'];
  const table = new Table('A text of 5 characters in, a text out', ['by hand', 'V8'], notes);
  table.row('greet', times, []);
  table.end();
}

export default {
  async run(wanted) {
    await calls('Native modules, one call', [NOTE], CALLS, MANY, wall, wanted);
    const notes = ['Time of the processor, also where two threads move bytes.'];
    await calls('Native modules, much work', notes, COMPUTING, ROUNDS, ofProcessor, wanted);
    await processes(wanted);
    await largeBuffers(wanted);
    greeting(wanted);
  },
};
