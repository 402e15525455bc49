import { execFile } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { Table, memory } from '../table.mjs';

const { large, packages } = createRequire(import.meta.url)('../../__test__/glue.js');
const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const TIMES = 3;

// Of whole processes, least of some: how many threads compile at once is chance.
export default {
  async run(wanted) {
    const [ours, node] = [await peak('nothing', 'ours'), await peak('nothing', 'node')];
    const table = new Table(
      "Peak of resident memory: packages from npm as they come, ours in V8's place",
      ['node'],
      [
        `a process that loads wasi-native and nothing else: ${memory(ours)}, one of Node alone: ${memory(node)}`,
      ],
      memory,
    );
    for (const name of [...packages, ...large].filter(wanted)) {
      const peaks = { ours: Infinity, node: Infinity };
      const problems = [];
      for (let round = 0; round < TIMES && problems.length === 0; round++) {
        for (const side of ['ours', 'node']) {
          try {
            peaks[side] = Math.min(peaks[side], await peak(name, side));
          } catch (error) {
            problems.push(`${side}: ${error.message.trim().split('\n').at(-1)}`);
            delete peaks[side];
          }
        }
      }
      table.row(name, peaks, problems);
    }
    table.end();
  },
};

/** Kilobytes of a process that runs one program of glue.js. */
async function peak(name, side) {
  const ours = side === 'ours' ? ['--require', here('../../__test__/glue-ours.js')] : [];
  const args = [
    '--no-warnings',
    '--require',
    here('../peak.cjs'),
    ...ours,
    here('../../__test__/glue.js'),
    name,
  ];
  const { stderr } = await promisify(execFile)(process.execPath, args, {
    timeout: 300_000,
    maxBuffer: 1 << 28,
  });
  return Number(stderr.match(/^peak (\d+)$/m)[1]);
}
