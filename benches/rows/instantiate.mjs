import { kernel, plain, python } from '../modules.mjs';

const row = (name, label, path, count) => ({
  name,
  label,
  per: count,
  measure: async (side) => ({ time: await side.time('instantiate', path(), count) }),
});

export default {
  title: 'A new instance of a compiled module',
  peers: ['node', 'wasmtime'],
  rows: [
    row('small', 'a small module', () => kernel('fib'), 200),
    row('data', 'a module with static data', () => kernel('sha256'), 200),
    row('memory', 'a memory of 16 MB', () => plain(256, 0), 500),
    row('cpython', 'CPython, 7 MB of data', python, 10),
  ],
};
