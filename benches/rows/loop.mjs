import { execFileSync } from 'node:child_process';

import { node26, program } from '../modules.mjs';
import { PACKAGE } from '../processes.mjs';
import { Table } from '../table.mjs';

const A_SECOND = 1_000;
const SECONDS = 5;
const ROUNDS = 3;

const SCRIPT = `
  const { monitorEventLoopDelay } = require('node:perf_hooks');
  const [side, file, aSecond, seconds] = process.argv.slice(1);
  const { Module, WASI } = require(${JSON.stringify(PACKAGE)});
  const module = new Module(require('node:fs').readFileSync(file));
  const make = () => new WASI({ version: 'preview1', args: ['hello'], stdout: 'ignore' });
  const one = make();
  const starts = { ours: () => make().run(module), one: () => one.run(module), nothing: async () => {} };
  const delays = monitorEventLoopDelay({ resolution: 1 });
  let begun = 0;
  let ended = 0;
  const start = performance.now();
  const timer = setInterval(() => {
    const due = Math.min(((performance.now() - start) / 1000) * aSecond, aSecond * seconds);
    for (; begun < due; begun++) starts[side]().then(() => ended++);
    if (begun === aSecond * seconds) clearInterval(timer);
  }, 5);
  // The first runs are those that compile JavaScript.
  setTimeout(() => delays.enable(), 1000);
  process.on('exit', () => {
    if (ended !== aSecond * seconds) throw new Error('a run is missing');
    console.log(JSON.stringify({ p99: delays.percentile(99), longest: delays.max }));
  });`;

// How long the event loop is held up while programs run: what a server's other requests wait.
export default {
  async run() {
    const least = { p99: {}, longest: {} };
    for (let round = 0; round < ROUNDS; round++) {
      for (const side of ['ours', 'one', 'nothing']) {
        const words = ['--no-warnings', '-e', SCRIPT, side, program('hello'), A_SECOND, SECONDS];
        const delays = JSON.parse(execFileSync(node26(), words.map(String), { encoding: 'utf8' }));
        for (const [what, time] of Object.entries(delays)) {
          least[what][side] = Math.min(time, least[what][side] ?? Infinity);
        }
      }
    }
    const table = new Table(
      `Delays of the event loop at ${A_SECOND} runs of hello a second, Node 26`,
      ['one', 'nothing'],
      ['ours: new WASI() and run() each time. one: run() of one WASI. nothing: no runs.'],
    );
    table.row('99th percentile', least.p99, []);
    table.row('longest', least.longest, []);
    table.end();
  },
};
