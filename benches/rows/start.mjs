import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { node26, program, python } from '../modules.mjs';
import { Table } from '../table.mjs';

const ROUNDS = 9;
const PACKAGE = fileURLToPath(new URL('../..', import.meta.url));

const OURS = `
  const { WASI } = require(${JSON.stringify(PACKAGE)});
  const [file, ...args] = process.argv.slice(1);
  new WASI({ version: 'preview1', args: [file, ...args] }).run(file).then(({ code }) => (process.exitCode = code));`;
const PEER = `
  const { WASI } = require('node:wasi');
  const [file, ...args] = process.argv.slice(1);
  const wasi = new WASI({ version: 'preview1', args: [file, ...args], returnOnExit: true });
  WebAssembly.compile(require('node:fs').readFileSync(file))
    .then((module) => WebAssembly.instantiate(module, wasi.getImportObject()))
    .then((instance) => (process.exitCode = wasi.start(instance)));`;

// Whole processes from start to exit. Ours find the compiled code in the cache.
export default {
  async run(wanted) {
    const node = node26();
    const directory = mkdtempSync(join(tmpdir(), 'wasi-native-'));
    const env = { ...process.env, WASI_NATIVE_CACHE_DIR: join(directory, 'cache') };
    const time = (...words) =>
      new Promise((resolve, reject) => {
        const begin = process.hrtime.bigint();
        const child = spawn(node, ['--no-warnings', ...words], {
          env,
          stdio: ['ignore', 'ignore', 'inherit'],
        });
        child.on('error', reject);
        child.on('exit', (code) => {
          if (code !== 0) reject(new Error(`ended with code ${code}`));
          else resolve(Number(process.hrtime.bigint() - begin));
        });
      });
    const table = new Table(
      'Warm start: a process from start to exit, Node 26',
      ['node', 'bare'],
      ['ours: run(path) with the code in the cache. node: node:wasi. bare: node -e 0.'],
    );
    const rows = [
      ['require', 'require() alone', undefined, []],
      ['hello', 'hello', () => program('hello'), []],
      ['cpython', 'CPython, print(1)', python, ['-c', 'print(1)']],
    ];
    try {
      for (const [, label, path, args] of rows.filter(([name]) => wanted(name))) {
        const file = path?.();
        const sides = {
          ours: () =>
            file ? time('-e', OURS, file, ...args) : time('-e', `require(${JSON.stringify(PACKAGE)})`),
          node: () => (file ? time('-e', PEER, file, ...args) : time('-e', "require('node:wasi')")),
          bare: () => time('-e', '0'),
        };
        // Compiled, then found good, then noted: the clock of the file system must have moved on in between.
        for (let round = 0; file && round < 3; round++) {
          await sides.ours();
          await new Promise((resolve) => setTimeout(resolve, 3500));
        }
        const least = {};
        for (let round = 0; round < ROUNDS; round++) {
          for (const [side, measure] of Object.entries(sides)) {
            least[side] = Math.min(await measure(), least[side] ?? Infinity);
          }
        }
        table.row(label, least, []);
        console.log(`  ${label}: ${((least.ours - least.bare) / 1e6).toFixed(1)} ms more than bare`);
      }
    } finally {
      rmSync(directory, { recursive: true });
    }
    table.end();
  },
};
