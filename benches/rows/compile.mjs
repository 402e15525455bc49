import { codeSize, micropython, python, ruby, sqlite } from '../modules.mjs';

const modules = { MicroPython: micropython, SQLite: sqlite, CPython: python, CRuby: ruby };

export default {
  title: 'Compile time, for each MB of the code section',
  notes: [
    'Each side uses all cores. V8 has only read and checked the code by then: it compiles on first call.',
  ],
  peers: ['node', 'wasmtime'],
  rows: Object.entries(modules).map(([name, module]) => {
    const row = { name, warmUps: 0, rounds: 3 };
    row.prepare = () => {
      row.per = codeSize(module()) / 1e6;
      row.label = `${name}, ${row.per.toFixed(1)} MB of code`;
    };
    row.measure = async (side) => ({ time: await side.time('compile', module()) });
    return row;
  }),
};
