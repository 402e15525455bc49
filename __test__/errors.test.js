'use strict';
// Errors say what was asked, what is wrong and what to do; and docs/errors.md has all their codes.

const fs = require('node:fs');
const path = require('node:path');
const wn = require('..');
const { PACKAGE, thrownBy, wat } = require('./helpers');

const version = 'preview1';

test('docs/errors.md has every code that the package gives, and no others', () => {
  const folder = path.join(PACKAGE, 'lib');
  const files = fs.readdirSync(folder, { recursive: true }).filter((file) => file.endsWith('.js'));
  const paths = [path.join(PACKAGE, 'index.js'), ...files.map((file) => path.join(folder, file))];
  const sources = paths.map((file) => fs.readFileSync(file, 'utf8'));
  // Those of others that are only looked for.
  const foreign = ['ERR_DLOPEN_DISABLED'];
  const given = new Set(sources.join('\n').match(/(?<=')(ERR_[A-Z_]+|ABORT_ERR)(?=')/g));
  foreign.forEach((code) => given.delete(code));
  const documented = new Set(
    fs
      .readFileSync(path.join(PACKAGE, 'docs', 'errors.md'), 'utf8')
      .match(/(?<=^\| `)(ERR_[A-Z_]+|ABORT_ERR)(?=`)/gm),
  );
  expect([...documented].sort()).toEqual([...given].sort());
});

const program = (body) =>
  wat(`(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1) ${body})`);

/** Runs that fail: the class's name, the code, and what the message must have. */
const CASES = [
  ['CompileError', 'ERR_WASI_COMPILE', /offset/, () => new wn.Module(Buffer.from('\0asm\x01\0\0\0\x01\x7f'))],
  ['CompileError', 'ERR_WASI_COMPILE', /WebAssembly\.compile\(\): /, () => wn.compile(Buffer.alloc(8))],
  [
    'LinkError',
    'ERR_WASI_LINK',
    /"env" "f" must be a function, not a number/,
    async () =>
      new wn.Instance(new wn.Module(await wat('(module (import "env" "f" (func)))')), { env: { f: 5 } }),
  ],
  [
    'LinkError',
    'ERR_WASI_LINK',
    /fd_write|random_get/,
    async () => {
      const wasi = new wn.WASI({ version, deny: ['random_get'] });
      const module = new wn.Module(
        await wat(
          '(module (import "wasi_snapshot_preview1" "random_get" (func (param i32 i32) (result i32))))',
        ),
      );
      new wn.Instance(module, wasi.getImportObject());
    },
  ],
  [
    'Error',
    'ERR_WASI_EXIT',
    /proc_exit\(7\)/,
    async () => {
      const wasi = new wn.WASI({ version });
      const module = new wn.Module(await program('(func (export "_initialize") (call $exit (i32.const 7)))'));
      wasi.initialize(new wn.Instance(module, wasi.getImportObject()));
    },
  ],
  [
    'RangeError',
    'ERR_WASI_RANGE',
    /cannot grow by 5/,
    () => new wn.Memory({ initial: 1, maximum: 2 }).grow(5),
  ],
  [
    'Error',
    'ERR_WASI_OPTION',
    /options\.preopens\["\/a"\].*"\/not there".*create/,
    () => new wn.WASI({ version, preopens: { '/a': '/not there' } }),
  ],
  [
    'Error',
    'ERR_WASI_OPTION',
    /options\.allow.*"fd_wirte".*write the name/,
    () => new wn.WASI({ version, allow: ['fd_wirte'] }),
  ],
  [
    'Error',
    'ERR_WASI_OPTION',
    /limits\.strings/,
    () => new wn.WASI({ version, args: ['far too long'], limits: { strings: 5 } }).getImportObject(),
  ],
  [
    'Error',
    'ERR_WASI_NO_COMMAND',
    /_start.*instantiate/,
    async () => new wn.WASI({ version }).run(await wat('(module)')),
  ],
  [
    'Error',
    'ERR_WASI_TIMEOUT',
    /20/,
    async () =>
      new wn.WASI({ version }).run(await program('(func (export "_start") (loop (br 0)))'), { timeout: 20 }),
  ],
  [
    'AbortError',
    'ABORT_ERR',
    /aborted/,
    async () =>
      new wn.WASI({ version }).run(await program('(func (export "_start") (loop (br 0)))'), {
        signal: AbortSignal.abort(),
      }),
  ],
  [
    'RuntimeError',
    'ERR_WASI_LIMIT',
    /limits\.fuel/,
    async () =>
      new wn.WASI({ version, limits: { fuel: 1000 } }).run(
        await program('(func (export "_start") (loop (br 0)))'),
      ),
  ],
  [
    'RangeError',
    'ERR_WASI_LIMIT',
    /limits\.memory/,
    async () =>
      new wn.WASI({ version, limits: { memory: 65536 } }).run(
        await wat('(module (memory (export "memory") 2) (func (export "_start")))'),
      ),
  ],
  [
    'TypeError',
    'ERR_INVALID_ARG_VALUE',
    /options\.limits\.memroy.*did you mean "memory"/,
    () => new wn.WASI({ version, limits: { memroy: 5 } }),
  ],
  ['TypeError', 'ERR_INVALID_ARG_TYPE', /options\.stdin.*stream/, () => new wn.WASI({ version, stdin: {} })],
  ['Error', 'ENOENT', /MemoryFS\.readFile\("none"\)/, () => new wn.MemoryFS().readFile('none')],
];

test.each(CASES)('%s %s says %s', async (name, code, message, run) => {
  const error = await (async () => run())().then(
    () => undefined,
    (thrown) => thrown,
  );
  expect([error?.name, error?.code]).toEqual([name, code]);
  expect(error.message).toMatch(message);
  expect(error.stack.split('\n')[0]).toContain(error.message.split('\n')[0]);
});

test('what JavaScript throws is no error of ours: it comes out as it is', async () => {
  const thrown = { of: 'mine' };
  const f = () => {
    throw thrown;
  };
  const bytes = await wat('(module (import "m" "f" (func $f)) (func (export "run") (call $f)))');
  const { exports } = new wn.Instance(new wn.Module(bytes), { m: { f } });
  expect(thrownBy(() => exports.run())).toBe(thrown);
});
