'use strict';
// Options as users write them: misspelt, in the wrong place, or as other parts of Node take them.

const fs = require('node:fs');
const http = require('node:http');
const { once } = require('node:events');
const os = require('node:os');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const vm = require('node:vm');
const wn = require('..');
const { child, thrownBy, wat } = require('./helpers');
const programs = require('./programs');

const version = 'preview1';
const wasi = (options) => new wn.WASI({ version, ...options });
const rejection = async (promise) =>
  promise.then(
    () => {
      throw new Error('it was resolved');
    },
    (error) => error,
  );

describe('an option that is not known', () => {
  const empty = () => programs.hello();
  const library = () => wat('(module (memory (export "memory") 1) (func (export "run")))');
  test.each([
    ['new WASI', 'options.denny', 'deny', () => wasi({ denny: ['fd_read'] })],
    ['new WASI', 'options.limit', 'limits', () => wasi({ limit: { memory: 5 } })],
    ['new WASI', 'options.preopen', 'preopens', () => wasi({ preopen: {} })],
    ['new WASI', 'options.vesrion', 'version', () => new wn.WASI({ vesrion: version })],
    ['new WASI', 'options.refused', 'onRefused', () => wasi({ refused: 'ENOSYS' })],
    ['new WASI', 'options.returnonexit', 'returnOnExit', () => wasi({ returnonexit: false })],
    ['new WASI', 'options.random-seed', 'randomSeed', () => wasi({ 'random-seed': 1 })],
    ['the limits', 'options.limits.memroy', 'memory', () => wasi({ limits: { memroy: 65536 } })],
    [
      'a directory',
      'options.preopens["/d"].wirte',
      'write',
      () => wasi({ preopens: { '/d': { path: '.', wirte: false } } }),
    ],
    ['a socket', 'options.sockets[0].listne', 'listen', () => wasi({ sockets: [{ listne: { port: 1 } }] })],
    [
      'an address',
      'options.sockets[0].listen.prot',
      'port',
      () => wasi({ sockets: [{ listen: { prot: 1 } }] }),
    ],
    ['input', 'options.stdin.inputs', 'input', () => wasi({ stdin: { input: '', inputs: '' } })],
    ['lines', 'options.stdout.line', 'lines', () => wasi({ stdout: { lines() {}, line() {} } })],
    ['run', 'options.time_out', 'timeout', async () => wasi().run(await empty(), { time_out: 1 })],
    ['run', 'options.stdut', 'stdout', async () => wasi().run(await empty(), { stdut: 'pipe' })],
    ['spawn', 'options.time-out', 'timeout', async () => wasi().spawn(await empty(), {}, { 'time-out': 1 })],
    [
      'a call',
      'options.fule',
      'fuel',
      async () => {
        const { instance } = await wasi().spawn(await library());
        return instance.call('run', [], { fule: 1 }).finally(() => instance.close());
      },
    ],
    [
      'a call on this thread',
      'options.sginal',
      'signal',
      async () => {
        const { instance } = await wasi().instantiate(await library());
        return instance.call('run', [], { sginal: null });
      },
    ],
    ['instantiate', 'options.dta', 'data', async () => wasi().instantiate(await empty(), {}, { dta: true })],
    ['spawn', 'options.singal', 'signal', async () => wasi().spawn(await empty(), {}, { singal: null })],
    ['compile', 'options.fule', 'fuel', async () => wn.compile(await empty(), { fule: true })],
    ['Module', 'options.Fuel', 'fuel', async () => new wn.Module(await empty(), { Fuel: true })],
    ['MemoryFS', 'options.qouta', 'quota', () => new wn.MemoryFS({ qouta: 1 })],
  ])('of %s is refused, with the one that was meant: %s', async (_, name, meant, make) => {
    const error = await rejection((async () => make())());
    expect(error).toBeInstanceOf(TypeError);
    expect(error.code).toBe('ERR_INVALID_ARG_VALUE');
    expect(error.message).toContain(`'${name}' is not known: did you mean "${meant}"?`);
  });

  test.each([
    ['timeout', /wasi\.run\(\)/, () => wasi({ timeout: 1000 })],
    ['signal', /wasi\.run\(\)/, () => wasi({ signal: AbortSignal.abort() })],
    ['encoding', /wasi\.run\(\)/, () => wasi({ encoding: 'utf8' })],
    ['input', /options\.stdin/, () => wasi({ input: 'text' })],
    ['memory', /options\.limits/, () => wasi({ memory: 65536 })],
    ['mode', /options\.preopens/, () => wasi({ mode: 'ro' })],
    ['quota', /new MemoryFS\(\)/, () => wasi({ quota: 5 })],
    ['preopens', /new WASI\(\)/, async () => wasi().run(await empty(), { preopens: {} })],
    ['limits', /new WASI\(\)/, async () => wasi().instantiate(await empty(), {}, { limits: {} })],
    ['timeout', /wasi\.spawn\(\)/, async () => wasi().instantiateSync(await empty(), {}, { timeout: 5 })],
    ['version', /new WASI\(\)/, () => wasi().finalizeBindings({}, { version })],
  ])('but elsewhere is refused with the place that it belongs to: %s', async (key, place, make) => {
    const error = await rejection((async () => make())());
    expect(error.code).toBe('ERR_INVALID_ARG_VALUE');
    expect(error.message).toMatch(
      new RegExp(`'options\\.${key}' is not known: "${key}" is an option of .*${place.source}`),
    );
  });

  test('in place of the imports is refused', async () => {
    const bytes = await empty();
    for (const make of ['instantiate', 'instantiateSync', 'spawn']) {
      const { message } = await rejection((async () => wasi()[make](bytes, { timeout: 5 }))());
      expect(message).toMatch(
        /'imports\.timeout' is no module of imports: "timeout" is an option of wasi\.spawn\(\); options come after the imports/,
      );
      const threaded = await rejection((async () => wasi()[make](bytes, { thread: true }))());
      expect(threaded.message).toMatch(
        /'imports\.thread' is no module of imports: .* is made by wasi\.spawn\(\)/,
      );
    }
    const { instance } = await wasi().instantiate(bytes, { timeout: {}, signal: () => {} });
    expect(instance).toBeInstanceOf(wn.Instance);
  });

  test('and like none is refused with all that there are', () => {
    const { message } = thrownBy(() => new wn.MemoryFS({ whatever: 1 }));
    expect(message).toBe(
      "The property 'options.whatever' is not known: new MemoryFS() has files and quota. Received 1",
    );
  });

  test('counts where an object inherits it, as known ones do; but not from all objects', () => {
    class Defaults {
      version = version;
    }
    const made = Object.create(new Defaults());
    expect(new wn.WASI(made)).toBeInstanceOf(wn.WASI);
    expect(thrownBy(() => new wn.WASI(Object.create({ version, denny: [] }))).message).toMatch(/"deny"/);
    Object.prototype.polluted = 1;
    try {
      expect(wasi()).toBeInstanceOf(wn.WASI);
    } finally {
      delete Object.prototype.polluted;
    }
  });

  test('but not where the interface of WebAssembly has it ignored', async () => {
    const bytes = await empty();
    for (const options of [
      { builtins: ['js-string'], importedStringConstants: 'x', whatever: 1 },
      0,
      null,
      'text',
    ]) {
      expect(await wn.compile(bytes, options)).toBeInstanceOf(wn.Module);
    }
    expect((await rejection(wn.compile(bytes, { limits: {} }))).message).toMatch(/new WASI\(\)/);
  });

  test('and with a value of any length gives a message that is short', () => {
    const { message } = thrownBy(() => wasi({ denny: 'x'.repeat(1 << 20) }));
    expect(message.length).toBeLessThan(400);
    expect(thrownBy(() => wasi({ ['x'.repeat(1 << 20)]: 1 })).message.length).toBeLessThan(400);
  });
});

describe('a standard stream given as a word', () => {
  test.each([
    [{ stdin: 'inhert' }, /did you mean 'inherit'\? Give text that the program reads as \{ input: text \}/],
    [{ stdin: 'some text' }, /must be 'inherit', 'ignore' or 'pipe'.*\{ input: text \}/],
    [{ stdin: '' }, /\{ input: text \}/],
    [{ stdout: 'ignored' }, /did you mean 'ignore'\?/],
    [{ stderr: 'out.log' }, /fs\.createWriteStream/],
  ])('%j is refused: it might be text, or misspelt', (options, text) => {
    expect(thrownBy(() => wasi(options))).toMatchObject({
      code: 'ERR_INVALID_ARG_VALUE',
      message: expect.stringMatching(text),
    });
  });
});

describe('a program', () => {
  let folder;
  let file;
  beforeAll(async () => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'wasi-native-'));
    file = path.join(folder, 'hello world.wasm');
    fs.writeFileSync(file, await programs.hello());
  });
  afterAll(() => fs.rmSync(folder, { recursive: true }));

  /** What other packages have in place of Node's classes. */
  const foreign = (name, object) => Object.assign(object, { [Symbol.toStringTag]: name });

  test.each([
    ['the text of a URL of a file, as import.meta.resolve gives it', () => `${pathToFileURL(file)}`],
    [
      "a URL of another package's class",
      () => foreign('URL', { href: `${pathToFileURL(file)}`, protocol: 'file:' }),
    ],
    ['a Blob', (bytes) => new Blob([bytes])],
    ['a promise of a Response', async (bytes) => new Response(bytes)],
    ['a promise of bytes', async (bytes) => bytes],
    ['a promise of a Module', (bytes) => wn.compile(bytes)],
    [
      "a Response of another package's class",
      (bytes) => foreign('Response', { ok: true, arrayBuffer: async () => new Uint8Array(bytes).buffer }),
    ],
    [
      "another realm's ArrayBuffer",
      (bytes) => {
        const buffer = vm.runInNewContext(`new ArrayBuffer(${bytes.length})`);
        new Uint8Array(buffer).set(bytes);
        return buffer;
      },
    ],
  ])('is taken as %s', async (_, sourceOf) => {
    const program = wasi({ stdout: 'pipe', stderr: 'ignore' });
    const { code } = await program.run(sourceOf(await programs.hello()));
    expect(code).toBe(7);
    const { exports } = await program.instantiate(sourceOf(await programs.hello()));
    expect(exports._start).toBeInstanceOf(Function);
  });

  test.each([
    ['', 'ERR_INVALID_ARG_VALUE', /must not be an empty path/],
    ['https://example.org/a.wasm', 'ERR_INVALID_ARG_VALUE', /new URL/],
    ['file://other.host/a.wasm', 'ERR_INVALID_ARG_VALUE', /no URL of a file/],
    [null, 'ERR_INVALID_ARG_TYPE', /a path, a URL, bytes, a Blob, a Response.*Received null/],
    [
      new Response('', { status: 404 }),
      'ERR_WASI_FETCH',
      /^WASI\.run\(\): the program could not be fetched: the server answered 404$/,
    ],
  ])('that is none is refused with words: %p', async (source, code, message) => {
    expect(await rejection(wasi().run(source))).toMatchObject({
      code,
      message: expect.stringMatching(message),
    });
  });

  test('that cannot be fetched is named, with what the server said', async () => {
    const server = http
      .createServer((_, response) => response.writeHead(404).end('no'))
      .listen(0, '127.0.0.1');
    await once(server, 'listening');
    const url = new URL(`http://127.0.0.1:${server.address().port}/a.wasm`);
    const missing = await rejection(wasi().run(url));
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
    expect(missing).toMatchObject({ name: 'TypeError', code: 'ERR_WASI_FETCH' });
    expect(missing.message).toBe(
      `WASI.run(): the program at ${url} could not be fetched: the server answered 404 Not Found`,
    );
    const unreachable = await rejection(wasi().run(url));
    expect(unreachable.code).toBe('ERR_WASI_FETCH');
    expect(unreachable.message).toMatch(/could not be fetched: .*ECONNREFUSED/);
    expect(unreachable.cause).toBeDefined();
  });

  test('that a server never sends is given up with the run', async () => {
    const server = http.createServer(() => {}).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const closed = new Promise((resolve) => server.on('connection', (socket) => socket.on('close', resolve)));
    const url = new URL(`http://127.0.0.1:${server.address().port}/a.wasm`);
    expect((await rejection(wasi().run(url, { timeout: 50 }))).code).toBe('ERR_WASI_TIMEOUT');
    await closed;
    server.close();
  });

  test('whose promise fails after its options were refused ends nothing', () => {
    const code = `
      const failing = new Promise((_, reject) => setTimeout(reject, 20, new Error('late')));
      const error = await new wn.WASI({ version: 'preview1' }).run(failing, { tiemout: 1 }).catch((error) => error);
      await new Promise((resolve) => setTimeout(resolve, 50));
      console.log(error.code);`;
    expect(child(code)).toMatchObject({ status: 0, stdout: 'ERR_INVALID_ARG_VALUE\n' });
  });
});

// They are loaded when somebody looks at them, and \`Response\` brings all of \`fetch\`: where address
// space is short that fails, with a rejection that nobody can catch.
test('globals that Node loads late are left alone unless an option is one', async () => {
  const code = `
    const touched = [];
    const late = ['fetch', 'Response', 'Request', 'Headers', 'FormData', 'WebSocket', 'Blob', 'ReadableStream', 'WritableStream'];
    for (const name of late) {
      const { get, value } = Object.getOwnPropertyDescriptor(globalThis, name) ?? {};
      const look = () => (touched.push(name), get === undefined ? value : get.call(globalThis));
      Object.defineProperty(globalThis, name, { get: look, configurable: true });
    }
    const wn = require(${JSON.stringify(path.join(__dirname, '..'))});
    const { PassThrough } = require('node:stream');
    const wasi = new wn.WASI({
      version: 'preview1', stdin: new PassThrough().end(), stdout: { lines() {} }, stderr: 'ignore',
      preopens: { '/': '.', '/m': new wn.MemoryFS() }, limits: { fuel: 1e6 },
    });
    await wasi.run(bytes.hello, { timeout: 10000, stdin: { input: 'text' } });
    await wasi.run(wn.compile(bytes.hello, { fuel: true }));
    await wasi.run(null).catch(() => {});
    (await wasi.spawn(bytes.hello, {})).instance.close();
    const other = new wn.WASI({ version: 'preview1', stdout: 'ignore', stderr: 'ignore' });
    other.start((await other.instantiate(bytes.hello)).instance);
    await wn.compileStreaming({}).catch(() => {});
    wn.validate(bytes.hello);
    console.log(JSON.stringify(touched));`;
  expect(child(code, { load: false, modules: { hello: await programs.hello() } })).toMatchObject({
    stderr: '',
    stdout: '[]\n',
  });
});

describe('a signal', () => {
  /** As packages make them for realms that have none. */
  class Signal extends EventTarget {
    aborted = false;
    abort() {
      this.aborted = true;
      this.dispatchEvent(new Event('abort'));
    }
  }

  test("of another package's class ends a program", async () => {
    const program = await programs.endless['a tight loop']();
    const signal = new Signal();
    setTimeout(() => signal.abort(), 20);
    expect(await rejection(wasi().run(program, { signal }))).toMatchObject({
      name: 'AbortError',
      code: 'ABORT_ERR',
    });
    expect(await rejection(wasi().run(program, { signal }))).toMatchObject({ code: 'ABORT_ERR' });
  });

  test('that is none is refused', async () => {
    for (const signal of [null, {}, 5, { aborted: false }, new EventTarget()]) {
      const error = await rejection(wasi().run(await programs.hello(), { signal }));
      expect(error).toMatchObject({
        code: 'ERR_INVALID_ARG_TYPE',
        message: expect.stringMatching(/options\.signal.*AbortSignal/),
      });
    }
  });
});

describe('a directory', () => {
  test('is taken as a URL, as an object and as text, with or without permissions', async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'wasi native-'));
    try {
      const url = pathToFileURL(folder);
      for (const given of [url, url.href, { path: url, mode: 'ro' }, { path: url.href }]) {
        expect(wasi({ preopens: { '/': given } })).toBeInstanceOf(wn.WASI);
      }
    } finally {
      fs.rmSync(folder, { recursive: true });
    }
  });

  test.each([
    [
      null,
      'ERR_INVALID_ARG_TYPE',
      /options\.preopens\["\/d"\]" property must be a path, a file: URL.*Received null/,
    ],
    [undefined, 'ERR_INVALID_ARG_TYPE', /a path.*Received undefined/],
    [5, 'ERR_INVALID_ARG_TYPE', /a path/],
    ['', 'ERR_INVALID_ARG_VALUE', /must not be empty; the working directory is "\."/],
    [{ mode: 'ro' }, 'ERR_INVALID_ARG_TYPE', /\.path" property must be given as a path/],
    [new URL('https://example.org/'), 'ERR_INVALID_ARG_VALUE', /scheme "file:"/],
  ])('that is none is refused with words: %p', (given, code, message) => {
    expect(thrownBy(() => wasi({ preopens: { '/d': given } }))).toMatchObject({
      code,
      message: expect.stringMatching(message),
    });
  });
});
