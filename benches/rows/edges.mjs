import { execFileSync } from 'node:child_process';

import { kernel } from '../modules.mjs';
import { Side } from '../sides.mjs';
import { Table } from '../table.mjs';

// Short rounds, so that many are undisturbed.
const CALLS = 10_000;
const ROUNDS = 5;
const TIMES = 60;

// Both engines from Rust, without any JavaScript. Ours is a program of its own, started once a round.
export default {
  async run() {
    const path = kernel('boundary');
    const table = new Table('Across the edge between Rust and WebAssembly, one call', ['wasmtime'], []);
    const least = { enter: {}, native: {}, closure: {} };
    const note = (row, side, time) => (least[row][side] = Math.min(time, least[row][side] ?? Infinity));
    let problem;
    let side;
    try {
      side = new Side('wasmtime');
      await side.ask('load', 'boundary', path);
      await side.ask('call', 'boundary', '_initialize');
    } catch (error) {
      problem = `wasmtime: ${error.message}`;
    }
    for (let round = 0; round < ROUNDS; round++) {
      const args = ['bench', '--quiet', '--workspace', '--bench', 'edges', '--', path];
      const ours = execFileSync('cargo', args, { encoding: 'utf8' }).trim().split(' ').map(Number);
      ['enter', 'native', 'closure'].forEach((row, i) => note(row, 'ours', ours[i]));
      if (problem) continue;
      for (let i = 0; i < TIMES; i++) {
        const [enter] = await side.ask('enter', 'boundary', 'add', CALLS);
        const [host] = await side.ask('call', 'boundary', 'call_import', CALLS);
        note('enter', 'wasmtime', Number(enter) / CALLS);
        for (const row of ['native', 'closure']) note(row, 'wasmtime', Number(host) / CALLS);
      }
    }
    const problems = problem ? [problem] : [];
    table.row('the host calls add(i32, i32)', least.enter, problems);
    table.row('wasm calls a native host function', least.native, problems);
    table.row('wasm calls a host closure', least.closure, problems);
    table.end();
    await side?.close();
  },
};
