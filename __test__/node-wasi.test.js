'use strict';
// One table of what users of node:wasi rely on, tried on node:wasi itself, on our WASI with V8's
// instances, and on our WASI with ours. `same` is what Node 26 does; where ours does something else
// on purpose, `ours` is that, and `why`.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const wn = require('..');
const { child, thrownBy, wat } = require('./helpers');

const major = Number(process.versions.node.split('.')[0]);
const isBun = process.versions.bun !== undefined;

const version = 'preview1';
const TYPE = 'ERR_INVALID_ARG_TYPE';
const VALUE = 'ERR_INVALID_ARG_VALUE';
const RANGE = 'ERR_OUT_OF_RANGE';

const MEMORY = '(memory (export "memory") 1)';
const EXIT = (code) => `
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (func (export "run") (call $exit (i32.const ${code})))`;
const TEXTS = {
  command: `${MEMORY} (func (export "_start"))`,
  reactor: `${MEMORY} (func (export "_initialize"))`,
  both: `${MEMORY} (func (export "_start")) (func (export "_initialize"))`,
  neither: MEMORY,
  bare: '(func (export "_start"))',
  bareReactor: '(func (export "_initialize"))',
  startIsMemory: `${MEMORY} (export "_start" (memory 0))`,
  exits: `${EXIT(7)} ${MEMORY} (func (export "_start") (call $exit (i32.const 42)) unreachable)`,
  exitsAboveByte: `${EXIT(7)} ${MEMORY} (func (export "_start") (call $exit (i32.const 256)))`,
  exitsNegative: `${EXIT(7)} ${MEMORY} (func (export "_start") (call $exit (i32.const -1)))`,
  exitsWhenReady: `${EXIT(7)} ${MEMORY} (func (export "_initialize") (call $exit (i32.const 3)))`,
  exitsLater: `${EXIT(7)} ${MEMORY} (func (export "_initialize"))`,
  traps: `${MEMORY} (func (export "_start") unreachable)`,
  argument: `
    (import "wasi_snapshot_preview1" "args_get" (func $get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    ${MEMORY}
    (func (export "_start")
      (drop (call $get (i32.const 0) (i32.const 64)))
      (call $exit (i32.load8_u (i32.const 64))))`,
};

const bytes = {};
let directory;
beforeAll(async () => {
  for (const [name, text] of Object.entries(TEXTS)) bytes[name] = await wat(`(module ${text})`);
  directory = fs.mkdtempSync(path.join(os.tmpdir(), 'wasi-native-'));
});
afterAll(() => fs.rmSync(directory, { recursive: true }));

/** What a run came to: its value, or the class and code of what it threw. */
function outcome(run) {
  try {
    return run();
  } catch (error) {
    return typeof error === 'object' ? [error.name, error.code] : `threw a ${typeof error}`;
  }
}

const typeError = ['TypeError', TYPE];
const rangeError = ['RangeError', RANGE];
const started = ['Error', 'ERR_WASI_ALREADY_STARTED'];

// ---- options: what the constructor says

const OPTIONS = [
  [undefined, ['TypeError', TYPE]],
  [null, typeError],
  [5, typeError],
  [[], typeError],
  [() => 1, typeError],
  [{}, typeError],
  [{ version: undefined }, typeError],
  [{ version: 5 }, typeError],
  [{ version: 'preview3' }, ['TypeError', VALUE]],
  [{ version: 'toString' }, ['TypeError', VALUE]],
  [{ version, args: 'text' }, typeError],
  [{ version, args: null }, typeError],
  [{ version, args: new Set() }, typeError],
  [{ version, env: 5 }, typeError],
  [{ version, env: [] }, typeError],
  [{ version, env: null }, typeError],
  [{ version, env: { A: Symbol('a') } }, ['TypeError', undefined]],
  [{ version, preopens: 'text' }, typeError],
  [{ version, preopens: [] }, typeError],
  [{ version, preopens: () => 1 }, typeError],
  [{ version, returnOnExit: 1 }, typeError],
  [{ version, returnOnExit: null }, typeError],
  // Ours take more than numbers, so the message has other words.
  [{ version, stdin: null }, typeError, typeError],
  [{ version, stdin: 1n }, typeError, typeError],
  [{ version, stdin: -1 }, rangeError],
  [{ version, stdout: 1.5 }, rangeError],
  [{ version, stdout: NaN }, rangeError],
  [{ version, stderr: 2 ** 31 }, rangeError],
  [{ version, args: [undefined, null, 5, Symbol('a')] }, 'made'],
  [{ version, env: { A: undefined, B: 5 } }, 'made'],
  [{ version, returnOnExit: undefined }, 'made'],
  [{ version: 'unstable' }, 'made'],
  [
    { version, preopens: { '/a': '/there is no such directory' } },
    ['Error', 'UVWASI_ENOENT'],
    ['Error', 'ERR_WASI_OPTION'],
    'the message names the option and the path, and says what to do',
  ],
  [
    { version, preopens: { '/a': __filename } },
    ['Error', 'UVWASI_ENOTDIR'],
    ['Error', 'ERR_WASI_OPTION'],
    'the message names the option and the path, and says what to do',
  ],
  [
    { version, stdin: 987654 },
    ['Error', 'UVWASI_EBADF'],
    ['Error', 'ERR_WASI_OPTION'],
    'the message names the option and the descriptor',
  ],
  [{ version, args: ['a\0b'] }, 'made', ['Error', 'ERR_WASI_OPTION'], 'the guest would see two arguments'],
  [
    { version, env: { A: 'a\0B=b' } },
    'made',
    ['Error', 'ERR_WASI_OPTION'],
    'the guest would see two variables',
  ],
];

// ---- what a WASI object does: `made(text)` is one with an instance, `wasi()` one alone

const BEHAVIOUR = [
  { name: 'a command returns 0', run: ({ start }) => start('command'), same: 0 },
  { name: 'or its exit code', run: ({ start }) => start('exits'), same: 42 },
  { name: 'which may be more than a byte', run: ({ start }) => start('exitsAboveByte'), same: 256 },
  { name: 'and is a signed number', run: ({ start }) => start('exitsNegative'), same: -1 },
  { name: 'a reactor returns nothing', run: ({ ready }) => ready('reactor'), same: undefined },
  { name: 'it may lack _initialize', run: ({ ready }) => ready('neither'), same: undefined },
  { name: 'start wants _start', run: ({ start }) => start('neither'), same: typeError },
  { name: 'a function', run: ({ start }) => start('startIsMemory'), same: typeError },
  { name: 'and no _initialize', run: ({ start }) => start('both'), same: typeError },
  { name: 'initialize wants no _start', run: ({ ready }) => ready('both'), same: typeError },
  { name: 'both want a memory', run: ({ start }) => start('bare'), same: typeError },
  { name: 'both want a memory', run: ({ ready }) => ready('bareReactor'), same: typeError },
  {
    name: 'what is no instance is refused',
    run: ({ wasi }) =>
      [undefined, null, 5, 'text', [], {}, { exports: null }, { exports: {} }].map((value) =>
        outcome(() => wasi().start(value)),
      ),
    same: Array(8).fill(typeError),
  },
  {
    name: 'an object with the exports will do for an instance',
    run({ made }) {
      const { wasi, instance } = made('exits');
      return wasi.start({ exports: { ...instance.exports } });
    },
    same: 42,
  },
  {
    name: 'a second start is refused',
    run: ({ made }) => {
      const { wasi, instance } = made('command');
      wasi.start(instance);
      return [
        outcome(() => wasi.start(instance)),
        outcome(() => wasi.initialize(instance)),
        // Also of what is no instance.
        outcome(() => wasi.start(5)),
      ];
    },
    same: [started, started, started],
  },
  {
    name: 'but not after a start that was refused for what it was given',
    since: 24,
    run: ({ made }) => {
      const { wasi, instance } = made('command');
      return [outcome(() => wasi.start(undefined)), wasi.start(instance)];
    },
    same: [typeError, 0],
  },
  {
    name: 'but after one that was refused for its exports',
    run: ({ made }) => {
      const { wasi, instance } = made('neither');
      return [outcome(() => wasi.start(instance)), outcome(() => wasi.initialize(instance))];
    },
    same: [typeError, started],
  },
  {
    name: 'a trap comes out of start',
    run: ({ made, namespace }) => {
      const { wasi, instance } = made('traps');
      return thrownBy(() => wasi.start(instance)) instanceof namespace.RuntimeError;
    },
    same: true,
  },
  {
    name: 'an exit in _initialize comes out of it',
    run: ({ ready }) => ready('exitsWhenReady'),
    same: 'threw a symbol',
    ours: ['Error', 'ERR_WASI_EXIT'],
    why: 'an error with an exitCode says more than a symbol',
  },
  {
    name: 'and so does one in an export that is called later',
    run({ made }) {
      const { wasi, instance } = made('exitsLater');
      wasi.initialize(instance);
      return instance.exports.run();
    },
    same: 'threw a symbol',
    ours: ['Error', 'ERR_WASI_EXIT'],
    why: 'an error with an exitCode says more than a symbol',
  },
  {
    name: 'finalizeBindings binds and runs nothing',
    since: 24,
    run({ made }) {
      const { wasi, instance } = made('traps');
      const bound = wasi.finalizeBindings(instance);
      return [bound, wasi.wasiImport.random_get(0, 8), outcome(() => wasi.start(instance))];
    },
    same: [undefined, 0, started],
  },
  {
    name: 'finalizeBindings takes a memory',
    since: 24,
    run({ made, namespace }) {
      const { wasi, instance } = made('bare');
      const memory = new namespace.Memory({ initial: 1 });
      wasi.finalizeBindings(instance, { memory });
      wasi.wasiImport.random_get(0, 64);
      return new Uint8Array(memory.buffer, 0, 64).some((byte) => byte !== 0);
    },
    same: true,
  },
  {
    name: 'finalizeBindings checks what it is given',
    since: 24,
    run: ({ made }) => {
      const { wasi, instance } = made('command');
      const bare = made('bare');
      return [
        outcome(() => wasi.finalizeBindings()),
        outcome(() => wasi.finalizeBindings(5)),
        outcome(() => wasi.finalizeBindings({ exports: 5 })),
        outcome(() => wasi.finalizeBindings(instance, { memory: {} })),
        outcome(() => bare.wasi.finalizeBindings(bare.instance)),
        outcome(() => wasi.finalizeBindings(instance, {})),
        outcome(() => wasi.finalizeBindings(instance)),
      ];
    },
    same: [typeError, typeError, typeError, typeError, typeError, undefined, started],
  },
  {
    name: 'wasiImport is one object, and it is in what getImportObject makes',
    run({ wasi }) {
      const object = wasi();
      const [one, other] = [object.getImportObject(), object.getImportObject()];
      return [
        object.wasiImport === object.wasiImport,
        one.wasi_snapshot_preview1 === object.wasiImport,
        one === other,
        Object.keys(one),
        one.wasi_snapshot_preview1.fd_write === other.wasi_snapshot_preview1.fd_write,
      ];
    },
    same: [true, true, false, ['wasi_snapshot_preview1'], true],
  },
  {
    name: 'it can be replaced, and its functions too',
    run({ wasi }) {
      const object = wasi();
      const own = () => 0;
      object.wasiImport.fd_write = own;
      const replaced = object.getImportObject().wasi_snapshot_preview1.fd_write === own;
      object.wasiImport = { own };
      return [replaced, object.getImportObject().wasi_snapshot_preview1];
    },
    same: [true, { own: expect.any(Function) }],
  },
  {
    name: 'a function that is replaced is called in its place',
    run({ WASI, namespace }) {
      const wasi = new WASI({ version });
      wasi.wasiImport.args_get = () => {
        new Uint8Array(instance.exports.memory.buffer)[64] = 99;
        return 0;
      };
      const module = new namespace.Module(bytes.argument);
      const instance = new namespace.Instance(module, wasi.getImportObject());
      return wasi.start(instance);
    },
    same: 99,
  },
  {
    name: 'unstable names its imports so',
    run: ({ WASI }) => Object.keys(new WASI({ version: 'unstable' }).getImportObject()),
    same: ['wasi_unstable'],
  },
  {
    name: 'the functions are these',
    run: ({ wasi }) => Object.keys(wasi().wasiImport).sort(),
    same: `args_get args_sizes_get clock_res_get clock_time_get environ_get environ_sizes_get
      fd_advise fd_allocate fd_close fd_datasync fd_fdstat_get fd_fdstat_set_flags
      fd_fdstat_set_rights fd_filestat_get fd_filestat_set_size fd_filestat_set_times fd_pread
      fd_prestat_dir_name fd_prestat_get fd_pwrite fd_read fd_readdir fd_renumber fd_seek fd_sync
      fd_tell fd_write path_create_directory path_filestat_get path_filestat_set_times path_link
      path_open path_readlink path_remove_directory path_rename path_symlink path_unlink_file
      poll_oneoff proc_exit proc_raise random_get sched_yield sock_accept sock_recv sock_send
      sock_shutdown`.split(/\s+/),
  },
  {
    name: 'own properties, methods and their lengths',
    since: 24,
    run: ({ WASI, wasi }) => [
      Object.keys(wasi()),
      WASI.length,
      ...['start', 'initialize', 'finalizeBindings', 'getImportObject'].map((name) => [
        name,
        WASI.prototype[name].length,
        Object.getOwnPropertyDescriptor(WASI.prototype, name).enumerable,
      ]),
      outcome(() => WASI({ version })),
    ],
    same: [
      ['wasiImport'],
      0,
      ['start', 1, false],
      ['initialize', 1, false],
      ['finalizeBindings', 1, false],
      ['getImportObject', 0, false],
      ['TypeError', undefined],
    ],
  },
  {
    name: 'the functions want to be bound before they are called',
    run: ({ wasi }) => outcome(() => wasi().wasiImport.random_get(0, 8)),
    same: ['Error', 'ERR_WASI_NOT_STARTED'],
  },
  {
    name: 'a bad descriptor is EBADF',
    run: ({ bound }) => bound().fd_close(99),
    same: 8,
  },
  {
    name: 'bytes outside of the memory are an errno',
    run: ({ bound }) => bound().random_get(65536, 1),
    same: 61,
    ours: 21,
    why: 'EFAULT is what WASI has for it; EOVERFLOW means a value that does not fit',
  },
  {
    name: 'an address above 2 GiB, which wasm hands over as a negative number',
    run: ({ bound }) => bound().random_get(-65536, 8),
    same: 28,
    ours: 21,
    why: 'it is an address like any other (EFAULT here, because the memory is small)',
  },
  {
    name: 'missing arguments',
    run: ({ bound }) => bound().random_get(),
    same: 28,
    ours: 0,
    why: 'arguments are converted as those of any wasm function: what is missing is 0',
  },
];

const SIDES = [
  ['our WASI with V8', wn.WASI, WebAssembly, true],
  ['our WASI with our engine', wn.WASI, wn, true],
];
// Bun's node:wasi is another implementation.
if (!isBun) SIDES.unshift(['node:wasi', require('node:wasi').WASI, WebAssembly, false]);

describe.each(SIDES)('%s', (_, WASI, namespace, isOurs) => {
  const made = (text) => {
    const wasi = new WASI({ version });
    const module = new namespace.Module(bytes[text]);
    return { wasi, instance: new namespace.Instance(module, wasi.getImportObject()) };
  };
  const side = {
    WASI,
    namespace,
    made,
    wasi: () => new WASI({ version }),
    start(text) {
      const { wasi, instance } = made(text);
      return wasi.start(instance);
    },
    ready(text) {
      const { wasi, instance } = made(text);
      return wasi.initialize(instance);
    },
    bound() {
      const { wasi, instance } = made('reactor');
      wasi.initialize(instance);
      return wasi.wasiImport;
    },
  };

  test('checks its options', () => {
    const given = OPTIONS.map(([options]) => [
      options,
      outcome(() => {
        new WASI(options);
        return 'made';
      }),
    ]);
    const wanted = OPTIONS.map(([options, same, ours = same]) => [options, isOurs ? ours : same]);
    expect(given).toEqual(wanted);
  });

  const inThisNode = ({ since = 0 }) => isOurs || major >= since;
  test.each(BEHAVIOUR.filter(inThisNode))('$name', ({ run, same, ours = same }) => {
    expect(outcome(() => run(side))).toEqual(isOurs ? ours : same);
  });
});

// The messages of Node's own checks are the same words, because tools match on them. Bun's are others.
(isBun ? test.skip : test)("messages of the checks are Node's", () => {
  const { WASI } = require('node:wasi');
  for (const [options, same, ours] of OPTIONS) {
    if (same === 'made' || ours !== undefined) continue;
    const message = thrownBy(() => new WASI(options)).message;
    // How a value is shown has changed between versions of Node.
    const words = (text) => text.replace(/ Received .*$/s, '');
    expect(words(thrownBy(() => new wn.WASI(options)).message)).toBe(words(message));
  }
});

test('a memory that V8 shares between threads is the one that WASI works on', () => {
  const wasi = new wn.WASI({ version });
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 2, shared: true });
  wasi.finalizeBindings({ exports: {} }, { memory });
  expect(wasi.wasiImport.random_get(0, 64)).toBe(0);
  expect(new Uint8Array(memory.buffer, 0, 64).some((byte) => byte !== 0)).toBe(true);
  memory.grow(1);
  expect(wasi.wasiImport.random_get(65536, 64)).toBe(0);
  expect(new Uint8Array(memory.buffer, 65536, 64).some((byte) => byte !== 0)).toBe(true);
});

test('there is no experimental warning', () => {
  const { stderr } = child(`new wn.WASI({ version: 'preview1' });`);
  expect(stderr).toBe('');
});
