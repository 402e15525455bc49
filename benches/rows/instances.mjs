import { execFileSync } from 'node:child_process';

import { plain, python } from '../modules.mjs';
import { Side } from '../sides.mjs';
import { Table } from '../table.mjs';

const COUNT = 500;
const ROUNDS = 3;
const TIMES = 60;

// Both engines from Rust: an instance is made and dropped. Ours is a program of its own, started once a round.
export default {
  async run() {
    const columns = ['wasmtime, pooling', 'wasmtime, on demand'];
    const notes = [
      'wasmtime: with its pooling allocator, and then as it is by default; a store for each instance.',
    ];
    const table = new Table('An instance of a compiled module, from Rust', columns, notes);
    const problems = [];
    let side;
    try {
      side = new Side('wasmtime');
    } catch (error) {
      problems.push(`wasmtime: ${error.message}`);
    }
    for (const [label, path] of [
      ['one page', plain(1, 0)],
      ['1 MB of data', plain(17, 1 << 20)],
      ['CPython', python()],
    ]) {
      const [alone, shared] = [{}, {}];
      const note = (row, name, time) => (row[name] = Math.min(time, row[name] ?? Infinity));
      for (let round = 0; round < ROUNDS; round++) {
        const args = ['bench', '--quiet', '--workspace', '--bench', 'instances', '--', path];
        const ours = execFileSync('cargo', args, { encoding: 'utf8' }).trim().split(' ').map(Number);
        note(alone, 'ours', ours[0]);
        note(shared, 'ours', ours[1]);
        for (let i = 0; side && i < TIMES; i++) {
          for (const [at, request] of ['pooled', 'instantiate'].entries()) {
            const time = (await side.time(request, path, COUNT)) / COUNT;
            for (const row of [alone, shared]) note(row, columns[at], time);
          }
        }
      }
      table.row(`${label}, in a store of its own`, alone, problems);
      table.row(`${label}, in a store that stays`, shared, []);
    }
    table.end();
    await side?.close();
  },
};
