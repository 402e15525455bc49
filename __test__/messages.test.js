'use strict';
// Whatever is wrong with an option, the error names it in words that one can act on.

const wn = require('..');
const { wat } = require('./helpers');

const version = 'preview1';
// prettier-ignore
const VALUES = [
  null, '', 'text', {}, [], [null], 0, -1, 5.5, NaN, Infinity, 2 ** 40, 7n, true, Symbol('s'), () => {},
  new Map(), Object.create(null), new Proxy({}, {}), 'a\0b', { a: null }, { a: {} }, { a: '' },
];

/** For each options object: its keys, what errors call it, and the call that takes it. */
const PLACES = {
  'new WASI()': [
    // prettier-ignore
    [
      'version', 'args', 'env', 'preopens', 'sockets', 'stdin', 'stdout', 'stderr', 'returnOnExit', 'allow',
      'deny', 'onRefused', 'now', 'randomSeed', 'limits', 'trace', 'traceFull', 'metrics', 'coredump',
    ],
    'options.',
    (options) => new wn.WASI({ version, ...options }),
  ],
  'the limits': [
    // prettier-ignore
    ['descriptors', 'buffers', 'path', 'subscriptions', 'strings', 'output', 'memory', 'table', 'stack', 'fuel'],
    'options.limits.',
    (limits) => new wn.WASI({ version, limits }),
  ],
  'a directory': [
    ['path', 'mode', 'read', 'write', 'create', 'remove', 'symlinks'],
    'options.preopens["/d"]',
    (entry) => new wn.WASI({ version, preopens: { '/d': { path: '.', ...entry } } }),
  ],
  'a socket': [
    ['listen', 'connect'],
    'options.sockets[0]',
    (socket) => new wn.WASI({ version, sockets: [socket] }),
  ],
  'an address': [
    ['host', 'port'],
    'options.sockets[0].connect.',
    (address) =>
      new wn.WASI({ version, sockets: [{ connect: { host: 'localhost', port: -1, ...address } }] }),
  ],
  input: [['input'], 'options.stdin', (stdin) => new wn.WASI({ version, stdin })],
  lines: [['lines'], 'options.stdout', (stdout) => new wn.WASI({ version, stdout })],
  'run()': [
    ['signal', 'timeout', 'imports', 'encoding', 'args', 'env', 'stdin', 'stdout', 'stderr'],
    'options.',
    async (options) =>
      new wn.WASI({ version, stdout: 'ignore' }).run(await command(), { timeout: 5000, ...options }),
  ],
  'spawn()': [
    ['signal', 'timeout'],
    'options.',
    async (options) => {
      const { instance } = await new wn.WASI({ version }).spawn(await library(), {}, options);
      instance.close();
    },
  ],
  'a call': [
    ['timeout', 'signal', 'fuel'],
    'options.',
    async (options) =>
      (await new wn.WASI({ version }).instantiate(await library())).instance.call('run', [], options),
  ],
  'MemoryFS()': [['files', 'quota'], 'options.', (options) => new wn.MemoryFS(options)],
  'MemoryFS.readFile()': [
    ['encoding'],
    'options.',
    (options) => new wn.MemoryFS({ files: { f: '' } }).readFile('f', options),
  ],
};

let bytes;
const library = () => wat('(module (memory (export "memory") 1) (func (export "run")))');
const command = async () =>
  (bytes ??= await wat('(module (memory (export "memory") 1) (func (export "_start")))'));

/** What no message should have: gaps where a word is missing, values that nobody wrote, our insides. */
const GAPS =
  /,,|, ,| {2}|\s$|"null"|"undefined"|\[object [A-Z]|[Cc]annot read|is not a function|is not iterable|must be ,|not a undefined|of undefined/;

describe.each(Object.entries(PLACES))('what is wrong in %s', (_, [keys, prefix, call]) => {
  test.each(keys)('is told: %s', async (key) => {
    for (const value of VALUES) {
      const error = await (async () => call({ [key]: value }))().then(
        () => undefined,
        (thrown) => thrown,
      );
      if (error === undefined) continue;
      expect(error).toBeInstanceOf(Error);
      const { code, message } = error;
      // A symbol has no text, which JavaScript itself says.
      if (/Symbol value to a string/.test(message)) continue;
      const told = `${code} ${message}`;
      expect(told).toMatch(
        /^(ERR_INVALID_ARG_(TYPE|VALUE)|ERR_OUT_OF_RANGE|ERR_WASI_(OPTION|TIMEOUT)|E[A-Z]+) /,
      );
      expect(told).not.toMatch(GAPS);
      expect(message.length).toBeLessThan(600);
      // Of what a MemoryFS has, and of all strings together, the text has another name.
      if (!/^(E[A-Z]+: MemoryFS|WASI options: )/.test(message)) expect(message).toContain(prefix);
    }
  });
});
