import { createRequire } from 'node:module';
import { setTimeout } from 'node:timers/promises';

const require = createRequire(import.meta.url);
const wn = require('../../index.js');
const { endless } = require('../../__test__/programs.js');

const ROUNDS = 20;

// Not in relation to anybody: node:wasi and wasmtime's command cannot be asked to stop a program.
export default {
  async run() {
    console.log(
      '\nFrom the signal to the rejection of run(), and how late a timer of 5 ms came meanwhile, in ms',
    );
    const cells = (values) => values.map((value) => value.toFixed(2).padStart(10)).join('');
    console.log(
      `  ${''.padEnd(34)}${['least', 'median', 'most', 'timer'].map((name) => name.padStart(10)).join('')}`,
    );
    for (const [name, program] of Object.entries(endless)) {
      const module = await wn.compile(await program());
      const times = [];
      let late = 0;
      for (let round = 0; round < ROUNDS; round++) {
        const controller = new AbortController();
        const wasi = new wn.WASI({ version: 'preview1', stdin: 'pipe' });
        const imports = { env: { never: () => new Promise(() => {}) } };
        const run = wasi.run(module, { signal: controller.signal, imports }).catch((error) => error);
        for (let tick = 0; tick < 5; tick++) {
          const start = performance.now();
          await setTimeout(5);
          late = Math.max(late, performance.now() - start - 5);
        }
        const start = performance.now();
        controller.abort();
        const { code } = await run;
        if (code !== 'ABORT_ERR') throw new Error(`${name} ended with ${code}`);
        times.push(performance.now() - start);
      }
      times.sort((a, b) => a - b);
      console.log(`  ${name.padEnd(34)}${cells([times[0], times[ROUNDS / 2], times.at(-1), late])}`);
    }
  },
};
