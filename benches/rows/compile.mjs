import { codeSize, micropython, python, ruby, sqlite } from '../modules.mjs';

const modules = { MicroPython: micropython, SQLite: sqlite, CPython: python, CRuby: ruby };

const rows = (request) =>
  Object.entries(modules).map(([name, module]) => {
    const row = { name, warmUps: 0, rounds: 3 };
    row.prepare = () => {
      row.per = codeSize(module()) / 1e6;
      row.label = `${name}, ${row.per.toFixed(1)} MB of code`;
    };
    row.measure = async (side) => ({ time: await side.time(request, module()) });
    return row;
  });

export default [
  {
    title: 'Until a module can be instantiated, for each MB of the code section',
    notes: [
      'Each side uses all cores. Ours and V8 have read and checked the code by then, and wasmtime has compiled it.',
    ],
    ours: 'ours, no cache',
    peers: ['node', 'wasmtime'],
    rows: rows('compile'),
  },
  {
    title: 'Until all code is optimised, for each MB of the code section',
    notes: ['Each side uses all cores, and nothing was compiled before.'],
    ours: 'ours, no cache',
    peers: ['wasmtime'],
    rows: rows('complete'),
  },
];
