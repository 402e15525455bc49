'use strict';

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const { PassThrough, Readable, Writable } = require('node:stream');
const wn = require('..');
const { PACKAGE, child, thrownBy, wat } = require('./helpers');
const programs = require('./programs');

const wasi = (options) => new wn.WASI({ version: 'preview1', ...options });

/** Runs the program that copies its input to its output. */
const copy = async (options, more) => wasi(options).run(await programs.cat(), more);

const EPIPE = 64;

describe('standard input', () => {
  test.each([
    ['text', { input: 'some text' }],
    ['the bytes of an input', { input: Buffer.from('some text') }],
    ['an ArrayBuffer', new Uint8Array(Buffer.from('some text')).buffer],
    ['a Blob', new Blob(['some ', 'text'])],
    ['a Buffer', Buffer.from('some text')],
    ['a view of bytes', new Uint8Array(Buffer.from('--some text--')).subarray(2, 11)],
    ['a readable stream', () => Readable.from(['some', ' ', 'text'])],
    ['a stream of the Web', () => new Blob(['some text']).stream()],
    [
      "a stream of the Web by another package's class",
      () => {
        const stream = new Blob(['some text']).stream();
        return { getReader: () => stream.getReader(), [Symbol.toStringTag]: 'ReadableStream' };
      },
    ],
  ])('is %s', async (_, stdin) => {
    const given = typeof stdin === 'function' ? stdin() : stdin;
    const { code, stdout } = await copy({ stdin: given, stdout: 'pipe' }, { encoding: 'utf8' });
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'some text' });
  });

  test("is what is written to wasi.stdin with 'pipe', while the program runs", async () => {
    const seen = [];
    const program = wasi({
      stdin: 'pipe',
      stdout: (chunk) => {
        seen.push(`${chunk}`);
        if (seen.length < 3) program.stdin.write(`${seen.length}`);
        else program.stdin.end();
      },
    });
    program.stdin.write('0');
    expect((await program.run(await programs.cat())).code).toBe(0);
    expect(seen).toEqual(['0', '1', '2']);
    expect(wasi().stdin).toBe(null);
  });

  test('a large one arrives whole, at the pace at which it is read', async () => {
    const size = 3 << 20;
    let given = 0;
    const stdin = new Readable({
      read() {
        const chunk = Buffer.alloc(Math.min(100_000, size - given), given & 255);
        given += chunk.length;
        this.push(chunk.length > 0 ? chunk : null);
      },
    });
    const { code, stdout } = await copy({ stdin, stdout: 'pipe' });
    expect(code).toBe(0);
    expect(stdout).toHaveLength(size);
  });

  test('more of it than a program reads is no error', async () => {
    const endless = new Readable({
      read() {
        this.push(Buffer.alloc(65536));
      },
    });
    const ends = await programs.command('(drop (call $read (i32.const 1024) (i32.const 10)))');
    expect((await wasi({ stdin: endless }).run(ends)).code).toBe(0);
    expect(endless.destroyed).toBe(false);
  });

  test('a stream that serves many runs gathers no listeners', async () => {
    const stdin = new PassThrough();
    const listeners = () => ['error', 'close', 'end', 'data'].map((name) => stdin.listenerCount(name));
    const before = listeners();
    const program = await wn.compile(await programs.hello());
    const quiet = wasi({ stdin, stdout: 'ignore', stderr: 'ignore' });
    for (let round = 0; round < 3; round++) await quiet.run(program);
    expect(listeners()).toEqual(before);
  });

  test('a stream that cannot be opened leaves no descriptor behind', async () => {
    if (process.platform !== 'linux') return;
    const { readdirSync } = require('node:fs');
    const { writable } = new TransformStream();
    writable.getWriter();
    const program = await wn.compile(await programs.hello());
    const before = readdirSync('/proc/self/fd').length;
    for (let round = 0; round < 10; round++) {
      await expect(wasi({ stdin: 'pipe', stdout: writable }).run(program)).rejects.toThrow(/locked/);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(readdirSync('/proc/self/fd').length).toBeLessThan(before + 5);
  });

  test('an error of the stream ends the program', async () => {
    const stdin = new PassThrough();
    const program = await programs.cat();
    const running = wasi({ stdin, stdout: 'ignore' }).run(program);
    setTimeout(() => stdin.destroy(new Error('no more')), 20);
    await expect(running).rejects.toThrow('no more');
    // It had failed before.
    await expect(wasi({ stdin, stdout: 'ignore' }).run(program)).rejects.toThrow('no more');
  });
});

describe('standard output', () => {
  test('goes to a function by chunks, whose promise holds the program back', async () => {
    let most = 0;
    let now = 0;
    let length = 0;
    const stdout = async (chunk) => {
      most = Math.max(most, ++now);
      await new Promise((resolve) => setTimeout(resolve, 1));
      length += chunk.length;
      now--;
    };
    expect((await copy({ stdin: Buffer.alloc(1 << 20), stdout })).code).toBe(0);
    expect({ most, length }).toEqual({ most: 1, length: 1 << 20 });
  });

  test('goes to a function by lines, whatever the chunks are', async () => {
    const lines = [];
    const stdin = Readable.from([
      Buffer.from('on'),
      Buffer.from('e\ntwo\n\nzw\xf6', 'latin1'),
      Buffer.from('lf'),
    ]);
    const utf8 = Readable.from([
      'e\n\u20ac'.slice(0, 2),
      Buffer.from('\u20ac').subarray(0, 1),
      Buffer.from('\u20ac').subarray(1),
    ]);
    await copy({ stdin, stdout: { lines: (line) => void lines.push(line) } });
    expect(lines).toEqual(['one', 'two', '', 'zw\ufffdlf']);
    lines.length = 0;
    await copy({ stdin: utf8, stdout: { lines: (line) => void lines.push(line) } });
    expect(lines).toEqual(['e', '\u20ac']);
  });

  test('goes to a writable stream, which is not ended', async () => {
    const chunks = [];
    const stdout = new Writable({
      write(chunk, _, done) {
        chunks.push(chunk);
        setTimeout(done, 1);
      },
    });
    await copy({ stdin: Buffer.alloc(300_000, 1), stdout });
    expect(Buffer.concat(chunks)).toEqual(Buffer.alloc(300_000, 1));
    expect(stdout.writableEnded).toBe(false);
    const web = new TransformStream();
    const text = new Response(web.readable).text();
    await copy({ stdin: { input: 'to the Web' }, stdout: web.writable });
    await web.writable.close();
    expect(await text).toBe('to the Web');
  });

  test('a stream that takes nothing holds the program back, and no memory fills', async () => {
    let taken = 0;
    const stdout = new Writable({
      highWaterMark: 1,
      write(chunk) {
        taken += chunk.length;
      },
    });
    const running = wasi({ stdout }).run(await programs.yes(), { timeout: 200 });
    await expect(running).rejects.toMatchObject({ code: 'ERR_WASI_TIMEOUT' });
    expect(taken).toBeLessThanOrEqual(65536);
  });

  test('a closed stream gives EPIPE', async () => {
    const before = new PassThrough();
    before.destroy();
    expect((await wasi({ stdout: before }).run(await programs.yes())).code).toBe(EPIPE);
    const meanwhile = new PassThrough();
    meanwhile.once('data', () => meanwhile.destroy());
    expect((await wasi({ stdout: meanwhile }).run(await programs.yes())).code).toBe(EPIPE);
  });

  test('what a function throws ends the program', async () => {
    for (const stdout of [
      () => {
        throw new Error('enough');
      },
      async () => Promise.reject(new Error('enough')),
    ]) {
      await expect(wasi({ stdout }).run(await programs.yes())).rejects.toThrow('enough');
    }
  });

  test('what was written last arrives before run() resolves', async () => {
    for (let round = 0; round < 20; round++) {
      let text = '';
      const stdout = async (chunk) => {
        await null;
        text += chunk;
      };
      await wasi({ stdout, stderr: 'ignore' }).run(await programs.hello());
      expect(text).toBe('out\n');
    }
  });

  test('is captured for takeOutput() when a program is started on this thread', async () => {
    const program = wasi({ stdout: 'pipe', stderr: 'pipe' });
    const module = new wn.Module(await programs.hello());
    expect(program.start(new wn.Instance(module, program.getImportObject()))).toBe(7);
    const output = { stdout: Buffer.from('out\n'), stderr: Buffer.from('err\n') };
    expect(program.takeOutput()).toEqual(output);
    expect(program.takeOutput().stdout).toHaveLength(0);
    expect(wasi().takeOutput()).toEqual({ stdout: null, stderr: null });
  });

  test.each(['ours', "V8's"])(
    'goes to functions while a program runs on this thread, in an instance of %s',
    async (whose) => {
      const namespace = whose === 'ours' ? wn : WebAssembly;
      const chunks = [];
      const lines = [];
      const program = wasi({
        stdout: (chunk) => void chunks.push(`${chunk}`),
        stderr: { lines: (line) => void lines.push(line) },
      });
      const module = await namespace.compile(
        await programs.command(
          `(drop (call $write (i32.const 1) (i32.const 100) (i32.const 3)))
         (drop (call $write (i32.const 1) (i32.const 100) (i32.const 5)))
         (drop (call $write (i32.const 2) (i32.const 100) (i32.const 5)))`,
          '(data (i32.const 100) "ab\\0acd")',
        ),
      );
      expect(program.start(new namespace.Instance(module, program.getImportObject()))).toBe(0);
      expect(chunks).toEqual(['ab\n', 'ab\ncd']);
      expect(lines).toEqual(['ab', 'cd']);
    },
  );

  test('what a function throws ends a program on this thread', async () => {
    const program = wasi({
      stdout: () => {
        throw new Error('enough');
      },
    });
    const module = new wn.Module(await programs.yes());
    expect(() => program.start(new wn.Instance(module, program.getImportObject()))).toThrow('enough');
  });

  test('that nobody reads does not keep a program beyond its time', async () => {
    const bytes = await wat(`(module
      (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 32)
      (data (i32.const 0) "\\00\\00\\01\\00\\00\\00\\10\\00")
      (func (export "_start")
        (loop $again (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))) (br $again))))`);
    const code = `
      const wn = require(${JSON.stringify(PACKAGE)});
      const bytes = Buffer.from(${JSON.stringify(Buffer.from(bytes).toString('base64'))}, 'base64');
      new wn.WASI({ version: 'preview1' }).run(bytes, { timeout: 300 }).catch((error) => {
        process.stderr.write(error.code, () => process.exit());
      });`;
    // Of standard output Node takes what its buffer holds.
    const writing = spawn(process.execPath, ['-e', code], { stdio: ['ignore', 'pipe', 'pipe'] });
    const guard = setTimeout(() => writing.kill('SIGKILL'), 40_000);
    const [told] = await once(writing.stderr, 'data');
    clearTimeout(guard);
    writing.kill('SIGKILL');
    expect(String(told)).toBe('ERR_WASI_TIMEOUT');
  });

  test("'inherit' and 'ignore'", async () => {
    const code = `
      const run = (options) => new wn.WASI({ version: 'preview1', ...options }).run(bytes.hello);
      await run({ stdout: 'inherit', stderr: 'ignore' });
      await run({ stdout: 2, stderr: 1 });`;
    const { stdout, stderr } = child(code, { modules: { hello: await programs.hello() } });
    expect({ stdout, stderr }).toEqual({ stdout: 'out\nerr\n', stderr: 'out\n' });
  });
});

test('other values are refused, with what they may be', () => {
  for (const [options, text] of [
    [{ stdin: {} }, /stdin.* 'pipe'.*readable stream/],
    [{ stdout: 5n }, /stdout.*writable stream, a function/],
    [{ stderr: { lines: 1 } }, /options\.stderr\.lines.* of type function/],
    [{ stdout: -1 }, /out of range/],
  ]) {
    expect(thrownBy(() => wasi(options)).message).toMatch(text);
  }
});
