// The engines that are measured. Each is a process of its own that answers one request at a time:
// none can disturb another's heap, none takes the others down when it crashes, and measurements
// take turns within one run.

import { execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { nativeKernels, node26 } from './modules.mjs';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const jsSide = (name, node = process.execPath, ...flags) => [
  node,
  '--no-warnings',
  '--expose-gc',
  ...flags,
  here('js-side.mjs'),
  name,
];

export const commands = {
  ours: () => jsSide('ours'),
  'ours, no cache': () => jsSide('ours'),
  node: () => jsSide('node'),
  'C addon': () => jsSide('addon'),
  'ours, Node 26': () => jsSide('ours', node26()),
  'node 26': () => jsSide('node', node26()),
  'C addon, Node 26': () => jsSide('addon', node26()),
  native: () => [nativeKernels('wasi')],
  'gcc -O2': () => [nativeKernels('wasi')],
  // node:wasi's fast calls hide JavaScript's frames from the garbage collector, and CRuby lives
  // long enough to crash on it (seen on Node 20 and 22).
  'node, no fast calls': () => jsSide('node', undefined, '--no-turbo-fast-api-calls'),
  'node 26, no fast calls': () => jsSide('node', node26(), '--no-turbo-fast-api-calls'),
  wasmtime: () => [wasmtimePeer()],
};

/** One running side. `ask` rejects with the engine's own words when it cannot do what was asked. */
export class Side {
  #child;
  #waiting = [];

  constructor(name) {
    const [program, ...words] = commands[name]();
    this.name = name;
    const env = name.endsWith('no cache') ? { ...process.env, WASI_NATIVE_CACHE: '0' } : process.env;
    this.#child = spawn(program, words, { env, stdio: ['pipe', 'pipe', 'inherit'] });
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      const [outcome, ...reply] = line.split('\t');
      const { resolve, reject } = this.#waiting.shift();
      if (outcome === 'ok') resolve(reply);
      else reject(new Error(reply.join(' ')));
    });
    // A side that ended cannot be written to; its 'exit' tells the reason.
    this.#child.stdin.on('error', () => {});
    this.ended = new Promise((resolve) => {
      this.#child.on('exit', (code, signal) => {
        const error = new Error(signal ? `crashed (${signal})` : `ended with code ${code}`);
        for (const { reject } of this.#waiting.splice(0)) reject(error);
        this.error = error;
        resolve();
      });
    });
  }

  ask(...words) {
    if (this.error) return Promise.reject(this.error);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#child.stdin.write(`${words.join('\t')}\n`);
    });
  }

  /** A request that answers with a time: nanoseconds. */
  async time(...words) {
    return Number((await this.ask(...words))[0]);
  }

  async close() {
    this.#child.stdin.end();
    await this.ended;
  }
}

function wasmtimePeer() {
  if (!existsSync(here('wasmtime/target'))) console.error('building wasmtime, once: this takes some minutes');
  const words = ['build', '--release', '--quiet', '--message-format=json-render-diagnostics'];
  const options = {
    cwd: here('wasmtime'),
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 1 << 28,
  };
  const messages = execFileSync('cargo', words, options)
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  return messages.findLast((message) => message.executable).executable;
}
