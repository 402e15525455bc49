'use strict';
// Processes and Workers that end while native modules are at work, and modules that come and go: real packages.

const path = require('node:path');
const { child } = require('./helpers');

const PACKAGE = path.join(__dirname, '..');
const PACKAGES = path.join(PACKAGE, 'scripts', 'packages');

/** What the programs here begin with. */
const HEAD = `
  const fs = require('node:fs');
  const path = require('node:path');
  const { Worker, isMainThread } = require('node:worker_threads');
  const wasm = (name) => {
    const folder = path.join(${JSON.stringify(path.join(PACKAGES, 'wasm', 'node_modules'))}, name + '-wasm32-wasi');
    return path.join(folder, fs.readdirSync(folder).find((file) => file.endsWith('.wasm')));
  };
  const wn = require(${JSON.stringify(PACKAGE)});
  const load = (name, options) => wn.load(wasm(name), options);`;

/** What goes on when the end comes: \`end()\` is it. */
const MOMENTS = {
  'while a module is compiled': `wn.loadAsync(wasm('@oxc-parser/binding'), { cache: false }); end();`,
  'a moment later': `wn.loadAsync(wasm('@oxc-parser/binding'), { cache: false }); setTimeout(end, 20);`,
  'before a module was called': `load('@oxc-parser/binding'); end();`,
  'in what a call calls': `
    const { evaluateExpressionSync } = load('@gorules/zen-engine');
    evaluateExpressionSync('a + 1', { get a() { return end(); } });`,
  'in what a call of many awaits': `
    const { ZenEngine } = load('@gorules/zen-engine');
    new ZenEngine({ loader: async () => end() }).evaluate('none', {});`,
  'with asynchronous work to do': `
    const { hash } = load('@node-rs/bcrypt');
    for (let k = 0; k < 16; k++) hash('password', 8);
    end();`,
  'with asynchronous work that is done now': `
    const { hash } = load('@node-rs/bcrypt');
    for (let k = 0; k < 16; k++) hash('password', 12);
    setTimeout(end, 30);`,
  'when some of it is done': `
    const { hash } = load('@node-rs/argon2');
    Promise.any(Array.from({ length: 8 }, () => hash('password', { memoryCost: 4096 }))).then(end);`,
  'while threads work': `
    const { Scanner } = load('@tailwindcss/oxide', { preopens: { '/': '/' } });
    const sources = [{ base: ${JSON.stringify(path.join(PACKAGE, 'docs'))}, pattern: '**/*', negated: false }];
    setTimeout(end, 5);
    new Scanner({ sources }).scan();`,
  'after all of it': `
    const { compress } = load('@napi-rs/snappy');
    compress(Buffer.alloc(100_000)).then(() => setImmediate(end));`,
};

/** Ends by what \`process.exit\` does, called below. */
const program = (moment, how) => `${HEAD}
  const end = () => ${how};
  ${moment}`;

describe.each(Object.entries(MOMENTS))('%s', (_, moment) => {
  test('process.exit() ends with its code', () => {
    const { status, signal, stderr } = child(program(moment, 'process.exit(7)'), { load: false });
    expect({ status, signal, stderr }).toEqual({ status: 7, signal: null, stderr: '' });
  });

  test('in a Worker it ends that, and the process goes on', () => {
    const code = `
      const { Worker } = require('node:worker_threads');
      const { once } = require('node:events');
      const code = ${JSON.stringify(program(moment, 'process.exit(7)'))};
      const workers = [1, 2, 3].map(() => new Worker('(async () => {' + code + '})()', { eval: true }));
      const ended = await Promise.all(workers.map((worker) => once(worker, 'exit')));
      console.log(ended.flat());`;
    const { status, signal, stdout, stderr } = child(code, { load: false });
    expect({ status, signal, stdout, stderr }).toEqual({
      status: 0,
      signal: null,
      stdout: '[ 7, 7, 7 ]\n',
      stderr: '',
    });
  });

  test('the process ends while Workers are there', () => {
    const code = `
      const { Worker } = require('node:worker_threads');
      const there = new Int32Array(new SharedArrayBuffer(4));
      const told = 'Atomics.store(require("node:worker_threads").workerData, 0, 1)';
      const code = ${JSON.stringify(program(moment, 'END'))}.replace('END', told);
      new Worker('(async () => {' + code + '})()', { eval: true, workerData: there });
      const look = () => (Atomics.load(there, 0) ? process.exit(7) : setTimeout(look, 1));
      look();`;
    const { status, signal, stderr } = child(code, { load: false });
    expect({ status, signal, stderr }).toEqual({ status: 7, signal: null, stderr: '' });
  });
});

test('process.exit() ends a build with its code, at whatever time', () => {
  for (const delay of [0, 10, 40, 100, 200]) {
    const code = `
      process.env.NAPI_RS_FORCE_WASI = 'error';
      require(${JSON.stringify(path.join(PACKAGE, 'register'))});
      const { rolldown } = await import(${JSON.stringify(path.join(PACKAGES, 'native/node_modules/rolldown/dist/index.mjs'))});
      const plugin = {
        name: 'plugin',
        resolveId: (id) => id,
        load: (id) => 'import "' + (Number(id) + 1) + '"; console.log(' + id + ')',
      };
      setTimeout(() => process.exit(7), ${delay});
      const bundle = await rolldown({ input: '1', plugins: [plugin] });
      await bundle.generate();`;
    const env = { ...process.env, NODE_PATH: path.join(PACKAGES, 'wasm', 'node_modules') };
    const { status, signal, stderr } = child(code, { load: false, env });
    expect({ delay, status, signal, stderr }).toEqual({ delay, status: 7, signal: null, stderr: '' });
  }
});
