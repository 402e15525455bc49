'use strict';
// Programs by other people's libraries and compilers run unmodified: wasi-libc, Rust's and Go's
// standard libraries, Emscripten. What they expect of their host they check themselves
// (their sources are in guests/, and scripts/guests.mjs rebuilds them).

const { once } = require('node:events');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { brotliDecompressSync } = require('node:zlib');
const wn = require('..');

let scratch;
beforeAll(() => (scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'wasi-native-'))));
afterAll(() => fs.rmSync(scratch, { recursive: true }));

const compiled = new Map();

/** One of the programs; it is compiled once. */
function program(name) {
  if (!compiled.has(name)) {
    const packed = fs.readFileSync(path.join(__dirname, 'guests', `${name}.wasm.br`));
    compiled.set(name, wn.compile(brotliDecompressSync(packed)));
  }
  return compiled.get(name);
}

/** Runs a program of its own standard streams to its end. */
async function run(name, { input = '', ...options }) {
  const file = (stream) => path.join(scratch, stream);
  fs.writeFileSync(file('stdin'), input);
  const [stdin, stdout, stderr] = ['stdin', 'stdout', 'stderr'].map((stream) =>
    fs.openSync(file(stream), stream === 'stdin' ? 'r' : 'w'),
  );
  const wasi = new wn.WASI({ version: 'preview1', stdin, stdout, stderr, ...options });
  const instance = new wn.Instance(await program(name), wasi.getImportObject());
  const code = wasi.start(instance);
  [stdin, stdout, stderr].forEach(fs.closeSync);
  return {
    code,
    stdout: fs.readFileSync(file('stdout'), 'utf8').split('\n').slice(0, -1),
    stderr: fs.readFileSync(file('stderr'), 'utf8'),
  };
}

const BACK_ENDS = [
  ['a host directory', () => fs.mkdtempSync(path.join(scratch, 'data-')), 'host'],
  ['a MemoryFS', () => new wn.MemoryFS(), 'memory'],
];

describe.each(BACK_ENDS)('on %s', (_, make, kind) => {
  test('a C program over wasi-libc finds what POSIX promises', async () => {
    const data = make();
    const env = { GREETING: 'hi' };
    const args = ['posix', 'rw', kind];
    expect(await run('posix', { args, env, input: 'a line', preopens: { '/data': data } })).toEqual({
      code: 7,
      stdout: [
        `posix rw ${kind}`,
        'GREETING=hi, HOME=unset',
        'stdin: a line',
        expect.stringMatching(/^\d+ expectations, 0 not met$/),
      ],
      stderr: '',
    });

    // Then it may change nothing, and everything is as it was.
    const contents = () =>
      kind === 'memory'
        ? data.paths().map((name) => [name, name.endsWith('/') || data.readFile(name)])
        : fs.readdirSync(data, { recursive: true }).map((name) => {
            const { mtimeNs, size } = fs.statSync(path.join(data, name), { bigint: true });
            return [name, mtimeNs, size];
          });
    const before = contents();
    const readOnly = { preopens: { '/data': { path: data, mode: 'ro' } } };
    const { code, stdout } = await run('posix', { args: ['posix', 'ro'], ...readOnly });
    expect(stdout.at(-1)).toMatch(/^\d+ expectations, 0 not met$/);
    expect(code).toBe(7);
    expect(before.length).toBeGreaterThan(3);
    expect(contents()).toEqual(before);
  });

  test('a Rust program finds what std promises', async () => {
    const options = { args: ['std', 'zwölf'], env: { NAME: 'value' }, input: 'a line\nmore' };
    expect(await run('std', { ...options, preopens: { '/data': make() } })).toEqual({
      code: 7,
      stdout: [
        'arguments: ["std", "zwölf"], environment: {"NAME": "value"}',
        'input: "a line\\n"',
        'all as it should be',
      ],
      stderr: 'to standard error\n',
    });
  });

  test('a Go program finds what its standard library promises', async () => {
    const options = { args: ['program', 'zwölf'], env: { NAME: 'value' }, input: 'all of it\n' };
    expect(await run('program', { ...options, preopens: { '/data': make() } })).toEqual({
      code: 7,
      stdout: [
        'argument: program',
        'argument: zwölf',
        'variable: NAME=value',
        'input: all of it',
        'all as it should be',
      ],
      stderr: 'to standard error\n',
    });
  });
});

test('a standalone program of Emscripten runs', async () => {
  expect(await run('standalone', { args: ['standalone', 'x'], input: 'one\ntwo\n' })).toEqual({
    code: 3,
    stdout: [
      'argument 0: standalone',
      'argument 1: x',
      'line: one',
      'line: two',
      'sum: 12.090136, clock: forwards',
      'heap: grown',
    ],
    stderr: 'to standard error\n',
  });
});

test("Go's net/http serves on a listener that is handed in, and shuts down", async () => {
  const listener = net.createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address();
  const wasi = new wn.WASI({
    version: 'preview1',
    args: ['server', '3'],
    sockets: [listener],
    stdin: 'ignore',
  });
  listener.close(); // The program's is its own.
  const ended = wasi.run(await program('server'), { stderr: 'pipe', timeout: 120000 });
  const ask = async (path, Numbers) => {
    const body = JSON.stringify({ Numbers });
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, { method: 'POST', body });
    return answer.json();
  };
  expect(await Promise.all([ask('/first', [1, 2, 3]), ask('/second', [])])).toEqual([
    { path: '/first', sum: 6 },
    { path: '/second', sum: 0 },
  ]);
  const many = Array.from({ length: 100_000 }, (_, index) => index);
  expect(await ask('/third', many)).toEqual({ path: '/third', sum: 4_999_950_000 });
  const { code, stderr } = await ended;
  expect({ code, stderr: `${stderr}` }).toEqual({ code: 0, stderr: 'served 3\n' });
}, 180_000);
