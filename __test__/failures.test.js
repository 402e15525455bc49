'use strict';
// A call that failed never returns, whatever becomes of its error on the way to JavaScript.

const { child, wat } = require('./helpers');

/** LEB128. */
function leb(number) {
  const low = number & 0x7f;
  return number < 0x80 ? [low] : [low | 0x80, ...leb(number >>> 7)];
}

/** A name section that gives the function with this index a name of 9 MB. */
function nameSection(index) {
  const name = Buffer.alloc(9e6, 'a');
  const names = Buffer.concat([Buffer.from([1, index, ...leb(name.length)]), name]);
  const body = Buffer.concat([Buffer.from([4, ...Buffer.from('name'), 1, ...leb(names.length)]), names]);
  return Buffer.concat([Buffer.from([0, ...leb(body.length)]), body]);
}

const DEEP = `
  (func $deep (param i32)
    (if (i32.eqz (local.get 0)) (then unreachable))
    (call $deep (i32.sub (local.get 0) (i32.const 1))))`;

/** The names of its 64 frames would together be longer than a string of V8's can be. */
function longNamed() {
  const text = `
    (module
      (import "e" "log" (func $log (param i64)))
      ${DEEP}
      (func (export "number") (param i32) (result i32) (call $deep (i32.const 100)) (i32.const 1))
      (func (export "reference") (result funcref)
        (call $log (i64.const 0x414141414140))
        (call $deep (i32.const 100))
        (ref.null func)))`;
  return wat(text);
}

function command() {
  const text = `(module (memory (export "memory") 1) ${DEEP} (func (export "_start") (call $deep (i32.const 100))))`;
  return wat(text);
}

/** For code of a child: `named(bytes, index)`. The names are too long for its command line. */
const NAMED = `${leb} ${nameSection}
  const named = (bytes, index) => Buffer.concat([bytes, nameSection(index)]);`;

const told = ({ status, signal, stdout, stderr }) => ({ status, signal, stdout, stderr });
const quiet = (lines) => ({ status: 0, signal: null, stdout: `${lines.join('\n')}\n`, stderr: '' });

describe('a module whose function names are many megabytes long', () => {
  test('has its traps thrown, with the names cut', async () => {
    const code = `${NAMED}
      const module = new wn.Module(named(bytes.module, 1));
      const instance = new wn.Instance(module, { e: { log() {} } });
      for (const name of ['number', 'reference']) {
        try {
          console.log('returned', instance.exports[name](77));
        } catch (error) {
          const lines = error.stack.split('\\n');
          console.log(error.code, error.stack.length < 100000, /^ {4}at a{512}… /.test(lines[1]));
        }
      }`;
    const result = child(code, { modules: { module: await longNamed() } });
    expect(told(result)).toEqual(quiet(Array(2).fill('ERR_WASI_TRAP true true')));
  });

  test('makes start() throw and run() reject', async () => {
    const code = `${NAMED}
      const wasi = new wn.WASI({ version: 'preview1', stdin: 'ignore' });
      const program = named(bytes.command, 0);
      const instance = new wn.Instance(new wn.Module(program), wasi.getImportObject());
      try {
        console.log('returned', wasi.start(instance));
      } catch (error) {
        console.log(error.code);
      }
      await wasi.run(program).then(() => console.log('resolved'), (error) => console.log(error.code));
      const { instance: threaded } = await wasi.spawn(named(bytes.library, 0), {});
      await threaded.exports.f().then(() => console.log('resolved'), (error) => console.log(error.code));
      threaded.close();`;
    const library = await wat(`(module ${DEEP} (func (export "f") (call $deep (i32.const 100))))`);
    const result = child(code, { modules: { command: await command(), library } });
    expect(told(result)).toEqual(quiet(Array(3).fill('ERR_WASI_TRAP')));
  });
});

test('what the face meets while it makes an error is thrown in its place', async () => {
  const code = `
    const wasi = new wn.WASI({ version: 'preview1', stdin: 'ignore' });
    const module = await wn.compile(bytes.module);
    const instance = new wn.Instance(module, wasi.getImportObject());
    String.prototype.split = () => { throw new Error('no such thing'); };
    try {
      console.log('returned', instance.exports._start());
    } catch (error) {
      console.log(error.message);
    }
    await wasi.run(module).then(() => console.log('resolved'), (error) => console.log(error.message));`;
  const module = await wat('(module (memory (export "memory") 1) (func (export "_start") unreachable))');
  expect(told(child(code, { modules: { module } }))).toEqual(quiet(Array(2).fill('no such thing')));
});

test('an error that is made where the stack ends is thrown', async () => {
  // Each of the deepest levels of JavaScript enters wasm, which traps, so that some errors are made with no
  // stack left. How many levels there are tells a first descent.
  const code = `
    const { trap } = new wn.Instance(new wn.Module(bytes.module)).exports;
    let returned = 0;
    let deepest = 0;
    function down(level, from) {
      deepest = level;
      try {
        if (level >= from) {
          trap();
          returned++;
        }
      } catch (error) {
        if (error.code !== 'ERR_WASI_TRAP') throw error;
      }
      down(level + 1, from);
    }
    try {
      down(0, Infinity);
    } catch {}
    try {
      down(0, deepest - 1500);
    } catch (error) {
      console.log(error instanceof RangeError, returned);
    }`;
  const module = await wat('(module (func (export "trap") (result i32) unreachable))');
  expect(told(child(code, { modules: { module } }))).toEqual(quiet(['true 0']));
});
