import { program } from '../modules.mjs';
import { Side } from '../sides.mjs';
import { Table } from '../table.mjs';

const COUNT = 20;
const ROUNDS = 30;
const CROWD = 1_000;

// A hello program from a compiled module: on this thread, on a thread of its own, and many at once.
export default {
  async run() {
    const path = program('hello');
    const side = new Side('ours');
    const other = new Side('node');
    const table = new Table(
      'A hello program from a compiled module',
      ['node'],
      [
        'start: a new WASI, an instance and its start(). run: a new WASI and its run(), from call to resolve.',
      ],
    );
    const least = { start: {}, run: {} };
    const note = (row, name, time) =>
      (least[row][name] = Math.min(Number(time) / COUNT, least[row][name] ?? Infinity));
    for (let round = 0; round < ROUNDS; round++) {
      note('start', 'ours', (await side.ask('start', path, COUNT))[0]);
      note('run', 'ours', (await side.ask('run', path, COUNT))[0]);
      note('start', 'node', (await other.ask('start', path, COUNT))[0]);
    }
    table.row('start', least.start, []);
    table.row('run, on a thread', least.run, []);
    const beyond = (least.run.ours - least.start.ours) / 1000;
    console.log(`  run takes ${beyond.toFixed(0)} us more than start`);
    const [time, kib] = await side.ask('crowd', path, CROWD);
    const seconds = (Number(time) / 1e9).toFixed(2);
    console.log(
      `  ${CROWD} runs at once, each of which sleeps 2 s: ${seconds} s; ${kib} KiB of memory for each`,
    );
    await side.close();
    await other.close();
  },
};
