// What users write, for types.test.js: it must compile, but where it says that it must not.

import * as fs from 'node:fs';
import {
  CompileError,
  Exception,
  Global,
  Instance,
  JSTag,
  LinkError,
  Memory,
  MemoryFS,
  Module,
  RuntimeError,
  Table,
  Tag,
  WASI,
  WebAssembly as OurWebAssembly,
  caller,
  compile,
  compileStreaming,
  instantiate,
  instantiateStreaming,
  load,
  loadAsync,
  validate,
} from 'wasi-native';
import type {
  Capabilities,
  ErrorCode,
  Imports,
  Signal,
  ThreadMemory,
  WASIError,
  WASIOptions,
} from 'wasi-native';
import wasiNative = require('wasi-native');

const bytes: Buffer = fs.readFileSync('program.wasm');

async function namespace(): Promise<void> {
  const ok: boolean = validate(bytes) && validate(bytes.buffer) && validate(new DataView(bytes.buffer));
  const module: Module = await compile(bytes);
  const imports: Imports = {
    env: { log: (n: number) => console.log(n), memory: new Memory({ initial: 1 }), limit: 5, big: 5n },
  };
  const instance: Instance = await instantiate(module, imports);
  const both: { module: Module; instance: Instance } = await instantiate(bytes, imports);
  new Instance(both.module).exports.run(ok, instance);
  const kinds: string[] = Module.exports(module).map(({ name, kind }) => `${name}: ${kind}`);
  const sections: ArrayBuffer[] = Module.customSections(module, kinds[0] ?? '');
  await compileStreaming(fetch('https://example.org/a.wasm'));
  await instantiateStreaming(new Response(sections[0]), imports);

  // @ts-expect-error a module is not bytes
  await compile(module);
  // @ts-expect-error text is not bytes
  validate('(module)');
  // @ts-expect-error what a module exports cannot be replaced
  instance.exports = {};
  // @ts-expect-error imports are objects of objects
  new Instance(module, { env: 5 });
  // @ts-expect-error the namespace's functions cannot be constructed
  new validate(bytes);
}

function objects(module: Module): void {
  const memory = new Memory({ initial: 1, maximum: 2 });
  const old: number = memory.grow(1);
  const view = new Uint8Array(memory.buffer, old, 10);
  const wide = new Memory({ initial: 1n, address: 'i64' });
  const oldPages: bigint = wide.grow(1n);
  const table = new Table({ element: 'externref', initial: Number(oldPages) }, view);
  table.set(0, { any: 'value' });
  const length: number = table.length;
  const global = new Global({ value: 'i64', mutable: true }, 5n);
  global.value = 6n;
  const tag = new Tag({ parameters: ['i32', 'externref'] });
  try {
    throw new Exception(tag, [length, {}], { traceStack: true });
  } catch (error) {
    if (error instanceof Exception && error.is(tag)) console.log(error.getArg(tag, 0), error.stack);
    if (error instanceof Exception && error.is(JSTag)) console.log(error);
  }

  // @ts-expect-error a memory has a size
  new Memory({});
  // @ts-expect-error pages of a 32-bit memory are numbers
  memory.grow(1n);
  // @ts-expect-error there are no such elements
  new Table({ element: 'i32', initial: 1 });
  // @ts-expect-error a buffer cannot be replaced
  memory.buffer = new ArrayBuffer(1);
  // @ts-expect-error there is no such type
  new Global({ value: 'i128' });
  // @ts-expect-error a module is made with new
  Module(module);
}

function errors(run: () => void): string {
  try {
    run();
  } catch (error) {
    if (error instanceof CompileError || error instanceof LinkError) return error.message;
    if (error instanceof RuntimeError) return error.stack ?? '';
    const made: Error = new RuntimeError('text', { cause: error });
    return made.name;
  }
  return '';
}

function wasi(module: Module): void {
  const files = new MemoryFS({ files: { 'in.txt': 'text', 'in.bin': bytes }, quota: 1 << 20 });
  const options: WASIOptions = {
    version: 'preview1',
    args: ['program', 'argument'],
    env: { LANG: 'C', UNSET: undefined },
    preopens: {
      '/data': './data',
      '/in': { path: './in', mode: 'ro' },
      '/log': { path: files, read: false, remove: false },
      '/tmp': files,
    },
    allow: ['fd_*', 'path_open'],
    deny: ['fd_allocate'],
    onRefused: 'ENOSYS',
    now: new Date(0),
    randomSeed: 5n,
    limits: { descriptors: 10 },
    trace: (line: string) => console.log(line.length),
    returnOnExit: false,
    stdin: 0,
    stdout: 1,
    stderr: 2,
  };
  const program = new WASI(options);
  const { granted }: Capabilities = program.capabilities(module);
  const instance = new Instance(module, program.getImportObject());
  const code: number = program.start(instance);
  program.initialize(instance);
  program.linkDescriptors('other', new WASI({ version: 'unstable' }));
  program.finalizeBindings(instance, { memory: new Memory({ initial: 1 }) });
  program.wasiImport.fd_write?.(1, 2, 3, granted.length + code);
  files.writeFile('out.txt', new Uint8Array(files.readFile('in.txt')));
  files.remove('in.txt');
  const used: number = files.used + files.paths().length;

  // An instance of V8's will do as well.
  const theirs = new WebAssembly.Instance(
    new WebAssembly.Module(new Uint8Array(bytes)),
    program.getImportObject(),
  );
  program.start(theirs);
  program.finalizeBindings(theirs, { memory: new WebAssembly.Memory({ initial: used }) });

  // @ts-expect-error the version is required
  new WASI({});
  // @ts-expect-error there is no such version
  new WASI({ version: 'preview2' });
  // @ts-expect-error an option that does not exist
  new WASI({ version: 'preview1', preopen: {} });
  // @ts-expect-error a permission that does not exist
  new WASI({ version: 'preview1', preopens: { '/': { path: '.', execute: true } } });
  // @ts-expect-error a limit that does not exist
  new WASI({ version: 'preview1', limits: { files: 5 } });
  // @ts-expect-error the errno of stubs is one of two
  new WASI({ version: 'preview1', onRefused: 'EPERM' });
  // @ts-expect-error start takes an instance
  program.start(module);
  // @ts-expect-error the number of bytes used cannot be set
  files.used = 0;
}

async function programs(signal: AbortSignal): Promise<void> {
  const program = new WASI({ version: 'preview1', stdin: 'pipe', stdout: 'pipe', limits: { fuel: 1000 } });
  const { code, stdout } = await program.run('./tool.wasm', { signal, timeout: 1000 });
  const bytesOut: Buffer | null = stdout;
  const text = await program.run(new URL('file:///tool.wasm'), { encoding: 'utf8' });
  const line: string | undefined = text.stdout?.split('\n')[code];
  program.stdin?.write(bytesOut ?? line ?? '');
  const imports: Imports = { env: { later: async (n: number) => n + 1 } };
  const threaded = await program.spawn(bytes, imports);
  await threaded.exports.run(1, 2);
  threaded.instance.close();
  const { exports } = program.instantiateSync(new Module(bytes, { fuel: true }), imports);
  exports.run();
  program.close();

  // @ts-expect-error seconds are not an option
  await program.run('./tool.wasm', { seconds: 1 });
  // @ts-expect-error nothing to run
  await program.run();
  // @ts-expect-error a place for output that does not exist
  new WASI({ version: 'preview1', stdout: 'capture' });
}

/** What glue declares of its module. */
interface Library {
  memory: Memory;
  add(a: number, b: number): number;
  version: Global;
}

async function typed(signal: Signal): Promise<void> {
  const args = ['tool', '-v'] as const;
  const frozen: readonly string[] = Object.freeze(['fd_*']);
  const program = new WASI({
    version: 'preview1',
    args,
    env: process.env,
    allow: frozen,
    deny: frozen,
    preopens: { '/data': new URL('file:///data'), '/ro': { path: new URL('file:///in'), mode: 'ro' } },
    stdin: { input: 'text' },
  } as const);
  await program.run(fetch('https://example.org/tool.wasm'), { signal, args });
  await program.run(new Blob([new Uint8Array(bytes)]), {
    signal: AbortSignal.timeout(5),
    stdin: new Blob(['text']),
  });
  await program.run(compile(bytes), { stdin: { input: bytes } });

  const { exports } = await program.instantiate<Library>('file:///lib.wasm');
  const sum: number = exports.add(1, 2);
  const { instance } = await instantiate<Library>(bytes);
  const view = new Uint8Array(instance.exports.memory.buffer, sum);
  program.start(instance);
  const threaded = await program.spawn<Library, { id: number }>(bytes, {}, { data: { id: 5 } });
  const later: Promise<number> = threaded.exports.add(1, 2);
  const memory: ThreadMemory = threaded.exports.memory;
  const budgeted: Promise<number> = threaded.instance.call('add', [1, 2], { timeout: 5, fuel: 1000 });
  const id: number = threaded.instance.data.id;
  await threaded.instance.reset();
  threaded.instance.fuel += id;
  const here = program.instantiateSync<Library>(bytes);
  const total: number = here.instance.call('add', [1, 2], { signal: AbortSignal.timeout(5) });
  here.instance.reset();
  const told: string | undefined = caller()?.memory?.readString(total >>> 0);
  void [budgeted, told, threaded.instance.takeOutput().stdout];
  // @ts-expect-error a function that the library does not have
  void threaded.instance.call('substract', [1, 2]);
  // @ts-expect-error an argument of the wrong type
  void threaded.instance.call('add', ['1', 2]);
  // @ts-expect-error threads are made by spawn
  void program.instantiate(bytes, {}, { thread: true });
  // Parameters have types from where they are given.
  await program.instantiate(bytes, { env: { log: async (text) => `${text}` } });

  const files = new MemoryFS({ files: { 'a.bin': view.buffer } });
  const text: string = files.readFile('a.bin', 'utf8') + files.readFile('a.bin', { encoding: 'hex' });
  const raw: Buffer = files.readFile('a.bin');
  try {
    await later;
  } catch (error) {
    const { code, stderr } = error as WASIError;
    const timeout: ErrorCode = 'ERR_WASI_TIMEOUT';
    if (code === timeout) console.log(stderr, memory, text, raw);
    if (error instanceof LinkError && error.code === 'ERR_WASI_LINK') console.log(error.message);
  }

  // @ts-expect-error the library has no such function
  exports.subtract(1, 2);
  // @ts-expect-error globals stay behind
  threaded.exports.version.valueOf();
  // @ts-expect-error text is given as { input: text }
  new WASI({ version: 'preview1', stdin: 'some text' });
  // @ts-expect-error there is no such code
  const wrong: ErrorCode = 'ERR_WASI_TIMED_OUT';
  // @ts-expect-error there is no such encoding
  files.readFile('a.bin', 'utf9');
  console.log(wrong);
}

/** A library by its exports, and with strings and bytes. */
async function libraries(): Promise<void> {
  const { add } = load<{ add(a: number, b: number): number }>('add.wasm');
  const sum: number = add(1, 2);
  using library = await loadAsync(fetch('https://example.org/lib.wasm'), {
    preopens: { '/data': './data' },
    alloc: 'give',
    signal: AbortSignal.timeout(1000),
  });
  const greet = library.fn('greet', { params: ['string', 'u64', 'bytes'], result: 'string' });
  const text: string = greet('you', 1n, Buffer.from('a')) + greet('you', 1, new ArrayBuffer(1));
  const find = library.fn('find', { params: ['cstring'], result: 'cstring' });
  const place: string | undefined = find('a')?.toUpperCase();
  const nothing: undefined = library.fn('nothing', {})();
  const bytes: Buffer = library.fn('bytes', { result: 'bytes', freeResult: true })();
  library.memory?.writeString(library.alloc(4), 'abc\0');
  // @ts-expect-error a number is no string
  greet(1, 1n, bytes);
  // @ts-expect-error there is no such type
  library.fn('greet', { params: ['text'] });
  // @ts-expect-error what a library may reach has no version
  load('add.wasm', { version: 'preview1' });
  console.log(sum, text, place, nothing);
}

/** A program that replaces the global. */
async function replace(): Promise<void> {
  globalThis.WebAssembly = OurWebAssembly;
  globalThis.WebAssembly = wasiNative.WebAssembly;
  globalThis.WebAssembly = wasiNative;
  const memory = new OurWebAssembly.Memory({ initial: 1 });
  const { instance } = await OurWebAssembly.instantiate(new Uint8Array(bytes), { env: { memory } });
  console.log(instance.exports);
  await compile(bytes, { builtins: ['js-string'], importedStringConstants: 'strings' });
  // @ts-expect-error a misspelt option
  await compile(bytes, { fule: true });
}

// The whole package under one name.
const replaced: typeof wasiNative = wasiNative;
export { errors, libraries, namespace, objects, programs, replace, replaced, typed, wasi };
