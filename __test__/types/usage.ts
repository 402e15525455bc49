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
  compile,
  compileStreaming,
  instantiate,
  instantiateStreaming,
  validate,
} from 'wasi-native';
import type { Capabilities, Imports, WASIOptions } from 'wasi-native';
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
  const theirs = new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(bytes)), {
    ...(program.getImportObject() as WebAssembly.Imports),
  });
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
  const threaded = await program.instantiate(bytes, imports, { thread: true });
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

// The whole package under one name, as a program that replaces the global has it.
const replaced: typeof wasiNative = wasiNative;
export { errors, namespace, objects, programs, replaced, wasi };
