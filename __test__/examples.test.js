'use strict';
// The examples do what they say.

const { execFile, spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { createInterface } = require('node:readline');
const { promisify } = require('node:util');

const { PACKAGE } = require('./helpers');

const example = (...names) => path.join(PACKAGE, 'examples', ...names);

/** What an example prints. */
async function output(...names) {
  const { stdout } = await promisify(execFile)(process.execPath, [example(...names)], { encoding: 'utf8' });
  return stdout;
}

test('hello: a program with an argument and a directory', async () => {
  expect(await output('hello', 'hello.mjs')).toBe('Hello, wasm!\n> Water the plants.\nit ended with 0\n');
});

test('library: strings and bytes', async () => {
  expect(await output('library', 'library.mjs')).toBe(
    'ship-native-code-as-one-portable-file\n3c39f956a613fcff\n',
  );
});

test('sandbox: what a program nobody trusts can do', async () => {
  const lines = (await output('sandbox', 'sandbox.mjs')).trimEnd().split('\n');
  const outcome = (line) => line.slice(34).trim();
  expect(lines.slice(0, 8).map(outcome)).toEqual([
    'worked',
    'Read-only file system',
    'Read-only file system',
    'Capabilities insufficient',
    'No such file or directory',
    'worked',
    'there is none',
    'refused',
  ]);
  expect(lines[8]).toContain('ERR_WASI_TIMEOUT');
});

test('plugins: one that loops or crashes costs its own request', async () => {
  const server = spawn(process.execPath, [example('plugins', 'server.mjs'), '0'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    const lines = createInterface({ input: server.stdout });
    const [[first]] = await Promise.all([once(lines, 'line')]);
    const [address] = /^http:\S+/.exec(first);
    const ask = async (tenant, path) => {
      const response = await fetch(address + path, { headers: { 'x-tenant': tenant } });
      return [response.status, await response.text()];
    };
    expect(await ask('one', '/a')).toEqual([200, '/a is request 1 of this plugin\n']);
    expect(await ask('one', '/b')).toEqual([200, '/b is request 2 of this plugin\n']);
    expect(await ask('two', '/a')).toEqual([200, '/a is request 1 of this plugin\n']);
    expect(await ask('one', '/loop')).toEqual([500, expect.stringContaining('ERR_WASI_TIMEOUT')]);
    expect(await ask('one', '/crash')).toEqual([500, expect.stringContaining('ERR_WASI_TRAP')]);
    expect(await ask('one', '/a')).toEqual([200, '/a is request 1 of this plugin\n']);
    expect(await ask('two', '/b')).toEqual([200, '/b is request 2 of this plugin\n']);
  } finally {
    server.kill();
  }
});

describe('addons as packages', () => {
  let packages;
  beforeAll(() => {
    packages = fs.mkdtempSync(path.join(os.tmpdir(), 'wasi-native-'));
    fs.symlinkSync(PACKAGE, path.join(packages, 'wasi-native'));
  });
  afterAll(() => fs.rmSync(packages, { recursive: true }));

  /** What a program prints that has an addon as `addon`. */
  async function withAddon(name, code) {
    const text = `const addon = require(${JSON.stringify(example(name))}); ${code}`;
    const env = { ...process.env, NODE_PATH: packages };
    const { stdout } = await promisify(execFile)(process.execPath, ['-e', text], { encoding: 'utf8', env });
    return JSON.parse(stdout);
  }

  test('in C: a function over strings, and a class over bytes', async () => {
    const code = `
      const counts = new addon.Histogram().add(Buffer.from('aab')).counts();
      const failed = (act) => { try { act(); } catch ({ name, message }) { return [name, message]; } };
      console.log(JSON.stringify([
        addon.distance('kitten', 'sitting'), counts.length, counts.slice(97, 99), failed(() => addon.distance(1, 2)),
      ]));`;
    expect(await withAddon('addon-c', code)).toEqual([
      3,
      256,
      [2, 1],
      ['TypeError', 'A string was expected'],
    ]);
  });

  test('in Rust: objects, bytes, a class, an error and a task on another thread', async () => {
    const code = `
      const primes = new addon.Primes();
      const failed = (act) => { try { act(); } catch ({ code, message }) { return [code, message]; } };
      addon.reverse(Buffer.from('abc')).then((reversed) => console.log(JSON.stringify([
        addon.words('a b a'), addon.checksum(Buffer.from('abcde')), primes.below(100), primes.below(1000),
        failed(() => primes.below(1e9)), reversed.toString(),
      ])));`;
    expect(await withAddon('addon-rust', code)).toEqual([
      [
        { text: 'a', count: 2 },
        { text: 'b', count: 1 },
      ],
      0x5c301ef,
      25,
      168,
      ['InvalidArg', '1000000000 is more than ten million'],
      'cba',
    ]);
  });
});
