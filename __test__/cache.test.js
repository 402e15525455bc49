'use strict';
// Compiled code that other processes get: from the cache, and serialized.

const { execFile, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { promisify } = require('node:util');
const { Worker } = require('node:worker_threads');
const wn = require('..');
const { PACKAGE, child, thrownBy, wat } = require('./helpers');

const isBun = process.versions.bun !== undefined;

/** A library that is large enough to be kept. */
const TEXT = `(module
  (memory (export "memory") 1)
  (data (i32.const 0) "${'x'.repeat(20_000)}")
  (func (export "double") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2)))
  (func $divide (export "divide") (param i32) (result i32) (i32.div_u (i32.const 84) (local.get 0))))`;

let directory;
let bytes;

beforeAll(async () => (bytes = await wat(TEXT)));
beforeEach(() => (directory = fs.mkdtempSync(path.join(os.tmpdir(), 'wasi-native-'))));
afterEach(() => fs.rmSync(directory, { recursive: true }));

const env = (more = {}) => ({
  ...process.env,
  WASI_NATIVE_CACHE: undefined,
  WASI_NATIVE_CACHE_DIR: path.join(directory, 'cache'),
  ...more,
});
const all = () =>
  fs.readdirSync(path.join(directory, 'cache')).map((name) => path.join(directory, 'cache', name));
/** What was compiled. Beside it there may be notes. */
const kept = () => all().filter((name) => name.endsWith('.wncode'));
const nothingKept = () => expect(fs.existsSync(path.join(directory, 'cache'))).toBe(false);

/** Compiles in one of the ways and calls what there is. */
const USE = `
  const { double, divide } = new wn.Instance(module).exports;
  const trap = (() => { try { divide(0); } catch (error) { return error.stack.split('\\n').slice(0, 2); } })();
  console.log(JSON.stringify([double(21), divide(2), trap]));`;
const ways = {
  'new Module()': `const module = new wn.Module(bytes.library); ${USE}`,
  'compile()': `const module = await wn.compile(bytes.library); ${USE}`,
};

function run(code, options = {}) {
  const { stdout, stderr, status } = child(code, { modules: { library: bytes }, env: env(), ...options });
  expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
  const [double, divide, [message, frame]] = JSON.parse(stdout);
  expect([double, divide, message]).toEqual([42, 42, 'RuntimeError: integer divide by zero']);
  expect(frame).toMatch(/divide/);
}

describe('the cache', () => {
  test('keeps a small program, which takes longer to compile than to open', async () => {
    const functions = Array.from({ length: 200 }, (_, k) => `(func (result i32) (i32.const ${k}))`).join(
      '\n',
    );
    const program = path.join(directory, 'small.wasm');
    const small = await wat(`(module (func (export "_start")) (data "${'x'.repeat(4096)}") ${functions})`);
    fs.writeFileSync(program, small);
    const code = `
      const { code } = await new wn.WASI({ version: 'preview1' }).run(${JSON.stringify(program)});
      console.log(code);`;
    const { stdout, stderr } = child(code, { env: env() });
    expect([stdout, stderr]).toEqual(['0\n', '']);
    expect(kept()).toHaveLength(1);
  });

  test.each(Object.entries(ways))('keeps what %s compiled, and another process takes it', (_, code) => {
    run(code);
    const [file, ...others] = kept();
    expect(others).toEqual([]);
    const before = fs.statSync(file);
    run(code);
    expect(kept()).toEqual([file]);
    // What is compiled anew is a new file.
    expect(fs.statSync(file).ino).toBe(before.ino);
  });

  test('is off by option, and by the environment', () => {
    run(`const module = new wn.Module(bytes.library, { cache: false }); ${USE}`);
    run(`const module = await wn.compile(bytes.library, { cache: false }); ${USE}`);
    run(ways['compile()'], { env: env({ WASI_NATIVE_CACHE: '0' }) });
    nothingKept();
  });

  test('is in the directory of the user for such things', () => {
    const home = { HOME: directory, XDG_CACHE_HOME: undefined, WASI_NATIVE_CACHE_DIR: undefined };
    run(ways['compile()'], { env: env(home) });
    const where = process.platform === 'darwin' ? 'Library/Caches' : '.cache';
    expect(fs.readdirSync(path.join(directory, where, 'wasi-native'))).toHaveLength(1);
    run(ways['compile()'], { env: env({ ...home, XDG_CACHE_HOME: path.join(directory, 'xdg') }) });
    expect(fs.readdirSync(path.join(directory, 'xdg', 'wasi-native'))).toHaveLength(1);
  });

  test('is filled by many processes at once', async () => {
    const code = `
      const wn = require(${JSON.stringify(PACKAGE)});
      const module = new wn.Module(Buffer.from(${JSON.stringify(Buffer.from(bytes).toString('base64'))}, 'base64'));
      console.log(new wn.Instance(module).exports.double(21));`;
    const one = () => promisify(execFile)(process.execPath, ['-e', code], { env: env() });
    const all = await Promise.all(Array.from({ length: 8 }, one));
    expect(all.map(({ stdout, stderr }) => stdout + stderr)).toEqual(Array(8).fill('42\n'));
    expect(kept()).toHaveLength(1);
  });

  test('that cannot be written to is no error', () => {
    fs.writeFileSync(path.join(directory, 'cache'), 'a file');
    run(ways['compile()']);
    expect(fs.readFileSync(path.join(directory, 'cache'), 'utf8')).toBe('a file');
  });

  // Windows has no `ulimit`.
  const onUnix = process.platform === 'win32' ? test.skip : test;
  onUnix('on a disk that is full is no error, and no part of a file stays', () => {
    const code = `
      const wn = require(${JSON.stringify(PACKAGE)});
      const module = new wn.Module(Buffer.from('${Buffer.from(bytes).toString('base64')}', 'base64'));
      console.log(new wn.Instance(module).exports.double(21));`;
    // Files may have 4 KiB.
    const shell = ['-c', 'ulimit -f 8 && exec "$0" -e "$1"', process.execPath, code];
    const { stdout, stderr } = spawnSync('sh', shell, { encoding: 'utf8', env: env() });
    expect(stdout + stderr).toBe('42\n');
    expect(all()).toEqual([]);
  });

  // Bun has no permission model; Node 20 has it under another flag.
  const withPermissions =
    isBun || !process.allowedNodeEnvironmentFlags.has('--permission') ? test.skip : test;
  withPermissions('is not used where the permission model withholds its directory', () => {
    run(ways['compile()'], {
      flags: ['--permission', '--allow-fs-read=*', '--allow-addons', '--no-warnings'],
    });
    nothingKept();
    const cache = path.join(directory, 'cache');
    fs.mkdirSync(cache, { mode: 0o700 });
    const allowed = `--allow-fs-write=${path.join(cache, '*')}`;
    run(ways['compile()'], {
      flags: [
        '--permission',
        '--allow-fs-read=*',
        allowed,
        `--allow-fs-write=${cache}`,
        '--allow-addons',
        '--no-warnings',
      ],
    });
    expect(kept()).toHaveLength(1);
  });

  test('is asked for with a word that it knows', () => {
    const { stderr } = child('', { env: env({ WASI_NATIVE_CACHE: 'off' }) });
    expect(stderr).toMatch(/WASI_NATIVE_CACHE is "off"; it can be 0 or 1/);
  });
});

describe('a file', () => {
  const command = (code) =>
    wat(`(module
      (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (memory (export "memory") 1)
      (data (i32.const 0) "${'x'.repeat(20_000)}")
      (func (export "_start") (call $exit (i32.const ${code}))))`);
  const codeOf = (file, options = {}) => {
    const source = `console.log((await new wn.WASI({ version: 'preview1' }).run(${JSON.stringify(file)})).code);`;
    const { stdout, stderr } = child(source, { env: env(), ...options });
    expect(stderr).toBe('');
    return Number(stdout);
  };

  test('that runs again comes from the cache, and what is in it now runs', async () => {
    const file = path.join(directory, 'program.wasm');
    fs.writeFileSync(file, await command(3));
    for (let round = 0; round < 3; round++) {
      // So that the file system's clock tells the states of the file apart.
      await new Promise((resolve) => setTimeout(resolve, 1600));
      expect(codeOf(file)).toBe(3);
    }
    expect(kept()).toHaveLength(1);
    const { mtime } = fs.statSync(file);
    fs.writeFileSync(file, await command(4));
    fs.utimesSync(file, mtime, mtime);
    expect(codeOf(file)).toBe(4);
    fs.writeFileSync(file, await command(5));
    expect(codeOf(file)).toBe(5);
    expect(codeOf(file, { env: env({ WASI_NATIVE_CACHE: '0' }) })).toBe(5);
  });

  test('is a path of the directory that the process is in, or a URL', async () => {
    fs.writeFileSync(path.join(directory, 'program.wasm'), await command(7));
    const code = `
      process.chdir(${JSON.stringify(directory)});
      const wasi = new wn.WASI({ version: 'preview1' });
      const url = require('node:url').pathToFileURL('program.wasm');
      const codes = [];
      for (const source of ['program.wasm', './program.wasm', url, url.href]) codes.push((await wasi.run(source)).code);
      const failed = await wasi.run('missing.wasm').catch(({ code, syscall, path }) => [code, syscall, path]);
      const folder = await wasi.run('.').catch(({ code, message }) => [code, message]);
      console.log(JSON.stringify([codes, failed, folder]));`;
    const { stdout, stderr } = child(code, { env: env() });
    expect(stderr).toBe('');
    const [codes, failed, folder] = JSON.parse(stdout);
    expect(codes).toEqual([7, 7, 7, 7]);
    expect(failed).toEqual(['ENOENT', 'open', 'missing.wasm']);
    expect(folder[0]).toBe('EISDIR');
  });
});

describe('a large module that is kept', () => {
  test('can be posted, and outlives who posted it', async () => {
    const large = await wat(
      TEXT.replace('x'.repeat(20_000), 'x'.repeat(65_000)).replace(
        '(func $divide',
        `${Array.from({ length: 4 }, () => `(data "${'y'.repeat(65_000)}")`).join('')} (func $divide`,
      ),
    );
    const file = path.join(directory, 'large.wasm');
    fs.writeFileSync(file, large);
    const code = `
      const { port1, port2 } = new MessageChannel();
      let module = new wn.Module(require('node:fs').readFileSync(${JSON.stringify(file)}));
      port1.postMessage(module);
      module = undefined;
      for (let round = 0; round < 3; round++) {
        gc();
        await new Promise(setImmediate);
      }
      const { message } = require('node:worker_threads').receiveMessageOnPort(port2);
      let result;
      try {
        result = new wn.Instance(message).exports.double(21);
      } catch (error) {
        result = error.code;
      }
      console.log(result);
      port1.close();`;
    const answer = () => {
      const { stdout, stderr } = child(code, { env: env(), flags: ['--expose-gc'] });
      expect(stderr).toBe('');
      return stdout.trim();
    };
    expect(answer()).toBe('42');
    expect(answer()).toBe('42');
  });
});

describe('serialize()', () => {
  test('gives bytes that are the module in another process', () => {
    const module = new wn.Module(bytes);
    const serialized = module.serialize();
    expect(serialized).toBeInstanceOf(Buffer);
    expect(serialized.equals(new wn.Module(bytes).serialize())).toBe(true);
    const file = path.join(directory, 'module');
    fs.writeFileSync(file, serialized);
    run(
      `const module = wn.Module.deserialize(require('node:fs').readFileSync(${JSON.stringify(file)})); ${USE}`,
      {
        env: env({ WASI_NATIVE_CACHE: '0' }),
      },
    );
  });

  test('keeps what the module declares, and whether it counts its operators', () => {
    const module = wn.Module.deserialize(new wn.Module(bytes, { fuel: true }).serialize());
    expect(module).toBeInstanceOf(wn.Module);
    expect(wn.Module.exports(module)).toEqual(wn.Module.exports(new wn.Module(bytes)));
    expect(wn.Module.customSections(module, 'name')).toHaveLength(1);
    expect(module.serialize()).toEqual(new wn.Module(bytes, { fuel: true }).serialize());
  });

  test('is of a module that can be posted', async () => {
    const module = wn.Module.deserialize(new wn.Module(bytes).serialize());
    const code = `
      const wn = require(${JSON.stringify(PACKAGE)});
      const { parentPort, workerData } = require('node:worker_threads');
      parentPort.postMessage(new wn.Instance(workerData).exports.double(21));`;
    const worker = new Worker(code, { eval: true, workerData: module });
    const [answer] = await require('node:events').once(worker, 'message');
    expect(answer).toBe(42);
    await worker.terminate();
  });

  test('what it did not give is refused', () => {
    const serialized = new wn.Module(bytes).serialize();
    const message = (given) => {
      const error = thrownBy(() => wn.Module.deserialize(given));
      expect(error).toBeInstanceOf(wn.CompileError);
      expect(error.code).toBe('ERR_WASI_COMPILE');
      return error.message;
    };
    expect(message(Buffer.alloc(0))).toMatch(
      /^WebAssembly\.Module\.deserialize\(\): the bytes are no serialized module/,
    );
    expect(message(bytes)).toMatch(/no serialized module/);
    expect(message(serialized.subarray(0, -1))).toMatch(/no serialized module, or not all of one/);
    for (let place = 0; place < serialized.length; place += 4999) {
      const changed = Buffer.from(serialized);
      changed[place] ^= 4;
      message(changed);
    }
    expect(() => wn.Module.deserialize('text')).toThrow(TypeError);
    expect(() => wn.Module.prototype.serialize.call({})).toThrow(TypeError);
  });

  test('what other settings gave is refused, and says what to do', () => {
    const file = path.join(directory, 'module');
    fs.writeFileSync(file, new wn.Module(bytes).serialize());
    const other = process.env.WASI_NATIVE_TRAP_MODE === 'explicit' ? 'signals' : 'explicit';
    const code = `
      try {
        wn.Module.deserialize(require('node:fs').readFileSync(${JSON.stringify(file)}));
      } catch (error) {
        console.log(error.message);
      }`;
    const { stdout } = child(code, { env: env({ WASI_NATIVE_TRAP_MODE: other }) });
    expect(stdout).toMatch(/with other settings: compile it again/);
  });
});
