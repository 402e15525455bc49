import { execFile } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { program } from '../modules.mjs';
import { Table, memory } from '../table.mjs';

const { large, packages } = createRequire(import.meta.url)('../../__test__/glue.js');
const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const TIMES = 3;
const LIVE = 5000;

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
    if (wanted('live')) {
      const kilobytes = (size) => `${size.toFixed(1)} KiB`;
      const title = `Resident memory of an instance, of ${LIVE} live ones of hello`;
      const live = new Table(title, ['node'], [], kilobytes);
      live.row('live', { ours: await ofInstances('ours'), node: await ofInstances('node') }, []);
      live.end();
    }
  },
};

/** Makes instances and tells how many kilobytes each has taken, JavaScript's part included. */
const LIVING = `
  const { readFileSync } = require('node:fs');
  const [side, file, count] = process.argv.slice(1);
  const { Instance, Module } = side === 'ours' ? require(${JSON.stringify(here('../..'))}) : WebAssembly;
  const resident = () => Number(readFileSync('/proc/self/smaps_rollup', 'latin1').match(/^Rss:\\s+(\\d+)/m)[1]);
  const module = new Module(readFileSync(file));
  const imports = {};
  for (const { module: from, name } of Module.imports(module)) (imports[from] ??= {})[name] = () => 0;
  const instances = Array.from({ length: 20 }, () => new Instance(module, imports));
  gc();
  const before = resident();
  while (instances.length < 20 + Number(count)) instances.push(new Instance(module, imports));
  gc();
  console.log((resident() - before) / count);`;

async function ofInstances(side) {
  const args = ['--expose-gc', '-e', LIVING, side, program('hello'), String(LIVE)];
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 60_000 });
  return Number(stdout);
}

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
