import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { clang, micropython, program, python, ruby, yosys } from '../modules.mjs';
import { PACKAGE, PROGRAMS, fill, medians, whole } from '../processes.mjs';
import { Table, memory } from '../table.mjs';

const ROUNDS = { cold: 5, next: 7, complete: 9 };
const OURS = `require(${JSON.stringify(PACKAGE)})`;
const NODE = `require('node:wasi')`;
const REQUIRE = { ours: OURS, node: NODE, bare: '0' };

/** CRuby is a library: strings and lists cross by the canonical ABI by hand, as examples/ruby.mjs explains it. */
const RUBY = (wasm, WASI) => `
  const [wasm, { WASI }] = [${wasm}, ${WASI}];
  const [file] = process.argv.slice(1);
  wasm.compile(require('node:fs').readFileSync(file)).then((module) => {
    const wasi = new WASI({ version: 'preview1', args: ['ruby'] });
    const imports = {};
    for (const { module: from, name } of wasm.Module.imports(module)) (imports[from] ??= {})[name] = () => 0;
    const instance = new wasm.Instance(module, { ...imports, ...wasi.getImportObject() });
    wasi.initialize(instance);
    const { exports } = instance;
    const string = (text) => {
      const address = exports.cabi_realloc(0, 0, 1, text.length);
      Buffer.from(exports.memory.buffer).write(text, address);
      return [address, text.length];
    };
    const words = ['ruby\\0', '-EUTF-8\\0', '-e_=0\\0'].flatMap(string);
    const list = exports.cabi_realloc(0, 0, 4, words.length * 4);
    new Int32Array(exports.memory.buffer, list, words.length).set(words);
    exports['ruby-init: func(args: list<string>) -> ()'](list, words.length / 2);
    const name = 'rb-eval-string-protect: func(str: string) -> tuple<handle<rb-abi-value>, s32>';
    const result = exports[name](...string('$stdout.puts 1; $stdout.flush'));
    process.exitCode = new Int32Array(exports.memory.buffer, result, 2)[1];
  });`;
const RUBY_SIDES = { ours: RUBY(OURS, OURS), node: RUBY('WebAssembly', NODE), bare: '0' };

const ROWS = [
  { name: 'require', label: 'require() alone' },
  { name: 'hello', label: 'hello', file: () => program('hello'), args: ['hello'] },
  { name: 'micropython', label: 'MicroPython, print(1)', file: micropython, args: ['mpy', '-c', 'print(1)'] },
  { name: 'cpython', label: 'CPython, print(1)', file: python, args: ['python', '-c', 'print(1)'] },
  { name: 'ruby', label: 'CRuby, puts 1', file: ruby, programs: RUBY_SIDES },
  { name: 'yosys', label: 'yosys -V', file: yosys, args: ['yosys', '-V'] },
  {
    name: 'clang',
    label: 'clang -O1 of a small file',
    file: clang,
    args: ['clang', '-O1', '-c', '/small.c'],
  },
];
const SMALL = 'int add(int a, int b) { int s = 0; for (int i = a; i < b; i++) s += i * i; return s; }';

const TITLES = {
  cold: 'Cold start: nothing in the cache',
  next: 'The third to ninth process of a program, whose cache was empty at first',
  complete: 'Warm start: all code in the cache',
};

// Whole processes from start to exit, in turns, and the most memory that they had. Of each the median.
export default {
  async run(wanted) {
    const directory = mkdtempSync(join(tmpdir(), 'wasi-native-'));
    mkdirSync(join(directory, 'root'));
    writeFileSync(join(directory, 'root', 'small.c'), SMALL);
    try {
      for (const state of Object.keys(TITLES)) await measure(state, directory, wanted);
    } finally {
      rmSync(directory, { recursive: true });
    }
  },
};

async function measure(state, directory, wanted) {
  const rows = ROWS.filter(({ name, file }) => wanted(name) && (file || state === 'complete'));
  const times = [];
  const peaks = [];
  for (const { name, label, file, args, programs = PROGRAMS } of rows) {
    const cache = join(directory, `${state}-${name}`);
    const path = file?.();
    const options = JSON.stringify({ args, preopens: { '/': join(directory, 'root') } });
    const words = (side) => (file ? ['-e', programs[side], path, options] : ['-e', REQUIRE[side]]);
    if (state === 'complete' && file) await fill(cache, path);
    // Found good, then noted: the clock of the file system must have moved on in between.
    for (let round = 0; file && state !== 'cold' && round < 2; round++) {
      await whole(words('ours'), cache);
      await new Promise((resolve) => setTimeout(resolve, 3500));
    }
    const taken = { ours: [], node: [], bare: [] };
    const most = { ours: [], node: [], bare: [] };
    for (let round = 0; round < ROUNDS[state]; round++) {
      for (const side of Object.keys(taken)) {
        if (state === 'cold') rmSync(cache, { recursive: true, force: true });
        const { time, peak } = await whole(words(side), cache);
        taken[side].push(time);
        most[side].push(peak);
      }
    }
    times.push([label, medians(taken)]);
    peaks.push([label, medians(most)]);
    rmSync(cache, { recursive: true, force: true });
  }
  if (rows.length === 0) return;
  const notes = [
    'ours: run(path), but for CRuby, which is compiled from bytes. node: node:wasi. bare: node -e 0.',
    'Medians of whole processes, Node 26.',
  ];
  show(new Table(TITLES[state], ['node', 'bare'], notes), times);
  show(new Table('The most resident memory of the same processes', ['node', 'bare'], [], memory), peaks);
}

function show(table, rows) {
  for (const [label, figures] of rows) table.row(label, figures, []);
  table.end();
}
