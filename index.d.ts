/// <reference types="node" />

/**
 * A WebAssembly engine and WASI host of its own for Node.js.
 *
 * The package is shaped as the global `WebAssembly` namespace, with {@link WASI} beside it:
 *
 * ```js
 * const { WASI, compile, Instance } = require('wasi-native');
 * const wasi = new WASI({ version: 'preview1', preopens: { '/data': './data' } });
 * const module = await compile(fs.readFileSync('program.wasm'));
 * const code = wasi.start(new Instance(module, wasi.getImportObject()));
 * ```
 */

/** Bytes of a module: copied before anything else happens to them. */
export type BufferSource = ArrayBufferView | ArrayBufferLike;

/** What a module imports or exports. */
export type ImportExportKind = 'function' | 'table' | 'memory' | 'global' | 'tag';

/** One of {@link Module.exports}. */
export interface ModuleExportDescriptor {
  /** Its name. */
  name: string;
  /** What it is. */
  kind: ImportExportKind;
}

/** One of {@link Module.imports}. */
export interface ModuleImportDescriptor {
  /** The name of the module that it is wanted of. */
  module: string;
  /** Its name in there. */
  name: string;
  /** What it must be. */
  kind: ImportExportKind;
}

/**
 * What an import may be given as. A plain value stands for an immutable global; a shared memory may
 * be V8's.
 */
export type ImportValue =
  | ((...args: any[]) => any)
  | Memory
  | Table
  | Global
  | Tag
  | number
  | bigint
  | string
  | boolean
  | symbol
  | object
  | null
  | undefined;
/** What a module imports: by the name of a module and the name in it. */
export type Imports = Readonly<Record<string, Readonly<Record<string, ImportValue>>>>;
/** What an instance exports. */
export type ExportValue = Function | Memory | Table | Global | Tag;
/** The exports of an instance by name: {@link ExportValue}s, whose types only the module knows. */
export type Exports = Record<string, any>;

/**
 * A compiled module: immutable, to be instantiated any number of times.
 *
 * ```js
 * const module = new Module(fs.readFileSync('small.wasm'));
 * const wanted = Module.imports(module).map(({ module, name }) => `${module}.${name}`);
 * ```
 *
 * A module can be posted to other threads of the process and is one of these there at once: compiled
 * already, as long as somebody has it, and compiled anew where it is used if nobody has.
 */
export class Module {
  /**
   * Compiles on this thread. For large modules prefer {@link compile}, which leaves the event
   * loop free.
   * @throws {CompileError} with the byte offset in its message
   */
  constructor(bytes: BufferSource, options?: CompileOptions);
  /**
   * The module from what {@link Module.serialize} gave, without compiling it. **The code in it is run as it
   * is**: give it only bytes that nobody could write whom you would not let run code of theirs.
   * @throws {CompileError} for bytes of another version, another kind of machine or other settings, and for those
   *   that were changed by accident: then compile
   */
  static deserialize(bytes: BufferSource): Module;
  /**
   * The module with its code as bytes, for {@link Module.deserialize} in processes of the same version of this
   * package on the same kind of machine.
   *
   * ```js
   * await writeFile('program.bin', (await compile(await readFile('program.wasm'))).serialize());
   * const module = Module.deserialize(await readFile('program.bin'));
   * ```
   */
  serialize(): Buffer;
  /** What the module exports, in its order. */
  static exports(module: Module): ModuleExportDescriptor[];
  /** What the module imports, in its order. */
  static imports(module: Module): ModuleImportDescriptor[];
  /** Copies of the custom sections of this name, in order. */
  static customSections(module: Module, sectionName: string): ArrayBuffer[];
}

/**
 * A {@link Module}, where TypeScript's own `WebAssembly` has a type without members: so that this package stands
 * in for it.
 */
type AnyModule = Module | object;

/**
 * A module linked with its imports, its start function run.
 *
 * ```js
 * const instance = new Instance(module, { env: { log: (n) => console.log(n) } });
 * instance.exports.run(5);
 * ```
 */
export class Instance<E extends object = Exports> {
  /**
   * @throws {LinkError} when an import is missing or does not fit; it names module and field
   * @throws {RuntimeError} when the start function or an active segment traps
   */
  constructor(module: AnyModule, importObject?: Imports);
  /** Frozen, without a prototype. The same function objects each time. */
  readonly exports: E;
  /**
   * Gives the memories that the instance defines back at once, rather than when it is collected. Its
   * exported functions throw `ERR_WASI_CLOSED` from then on. While wasm runs that may use the
   * instance it throws `ERR_WASI_BUSY`.
   */
  close(): void;
  [Symbol.dispose](): void;
}

/** How addresses are told: `'i64'` makes them BigInts. */
export type AddressType = 'i32' | 'i64';

/** How large a memory is, and may become. */
export interface MemoryDescriptor<Address extends number | bigint = number | bigint> {
  /** Pages of 64 KiB to start with. */
  initial: Address;
  /** The most pages that it can grow to. Default: what its addresses reach. */
  maximum?: Address;
  /** Default: `'i32'`. */
  address?: AddressType;
  /**
   * Whether threads can share it; then `maximum` is required. `buffer` is a frozen
   * `SharedArrayBuffer`. Post the memory to a worker and import it there.
   *
   * ```js
   * const memory = new Memory({ initial: 1, maximum: 10, shared: true });
   * new Worker('./worker.js', { workerData: { memory, bytes } });
   * // worker.js, where it arrives as a memory of V8's until it is imported or given to Memory.from
   * const { memory, bytes } = workerData;
   * new Instance(new Module(bytes), { env: { memory } });
   * ```
   *
   * Wasm of ours, wasm of V8's and JavaScript's `Atomics` wait for each other on it. Default: false.
   */
  shared?: boolean;
}

/**
 * The bytes that wasm loads and stores. Numbers of pages are BigInts if the memory has 64-bit
 * addresses.
 *
 * ```js
 * const memory = new Memory({ initial: 1, maximum: 10 });
 * const instance = new Instance(module, { env: { memory } });
 * const text = Buffer.from(memory.buffer, address, length).toString();
 * ```
 */
export class Memory<Address extends number | bigint = number> {
  constructor(descriptor: MemoryDescriptor<Address>);
  /**
   * The memory's bytes, not a copy. Growing, from here or in wasm, detaches the buffer; the next
   * look gives a new one. Of a shared memory it is a `SharedArrayBuffer`, which growing leaves as
   * it is.
   *
   * @throws {Error} `ERR_WASI_NO_BUFFER` of a module's shared memory that V8 has not, such as one with
   * pages of one byte. `instance.memory` reads and writes it.
   */
  readonly buffer: ArrayBuffer;
  /**
   * The memory's bytes in a buffer of one length: `buffer` becomes that. As `toResizableBuffer`, it is
   * there on a Node.js whose own memories have it.
   */
  toFixedLengthBuffer(): ArrayBuffer;
  /**
   * The bytes in a buffer that grows with the memory. Only shared memories that are V8's can have one;
   * of others it is undefined.
   */
  toResizableBuffer(): ArrayBuffer;
  /** Grows by `delta` pages and returns the old number of pages. */
  grow(delta: Address): Address;
  /**
   * The memory for one that was posted from another thread or made by V8: the same object, which
   * becomes one of this class. Of a `SharedArrayBuffer` it makes a memory that cannot grow. Only
   * shared memories can be taken over.
   */
  static from(source: SharedArrayBuffer | object): Memory;
}

/** What a table holds, and how much of it. */
export interface TableDescriptor<Address extends number | bigint = number | bigint> {
  /** Functions of wasm, or any values. */
  element: 'anyfunc' | 'externref';
  /** Elements to start with. */
  initial: Address;
  /** The most elements that it can grow to. Default: what its indices reach. */
  maximum?: Address;
  /** Default: `'i32'`. */
  address?: AddressType;
}

/**
 * References that wasm reaches by an index. Indices are BigInts if the table has 64-bit addresses.
 *
 * ```js
 * const callbacks = new Table({ element: 'anyfunc', initial: 2 });
 * callbacks.set(0, instance.exports.compare);
 * ```
 */
export class Table<Address extends number | bigint = number> {
  /** Each element is `value` to start with, or null. */
  constructor(descriptor: TableDescriptor<Address>, value?: any);
  /** How many elements there are. */
  readonly length: Address;
  /**
   * The element. A function is the same object each time.
   * @throws {RangeError} when there is no such element
   */
  get(index: Address): any;
  /**
   * Puts `value`, or null, there. A function must be one of wasm.
   * @throws {RangeError} when there is no such element
   */
  set(index: Address, value?: any): void;
  /** Grows by `delta` elements and returns the old length. */
  grow(delta: Address, value?: any): Address;
}

/** The type of a value of wasm, by the names that JavaScript has for them. */
export type ValueType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128' | 'anyfunc' | 'externref';

/** What a global holds. */
export interface GlobalDescriptor {
  /** Its type. */
  value: ValueType;
  /** Whether it can be set. Default: false. */
  mutable?: boolean;
}

/**
 * A variable that JavaScript and wasm share.
 *
 * ```js
 * const depth = new Global({ value: 'i32', mutable: true }, 0);
 * const instance = new Instance(module, { env: { depth } });
 * depth.value = 10;
 * ```
 */
export class Global {
  /** Without a value it is 0, or null. */
  constructor(descriptor: GlobalDescriptor, value?: any);
  /** An i64 is a BigInt. */
  value: any;
  /** The value. */
  valueOf(): any;
}

/**
 * What kind of exception it is, and which values it carries.
 *
 * ```js
 * const failed = new Tag({ parameters: ['i32', 'externref'] });
 * const instance = new Instance(module, { env: { failed } });
 * ```
 */
export class Tag {
  /** The types of the values. */
  constructor(type: { parameters: Iterable<ValueType> });
}

/**
 * An exception of wasm: what wasm threw as JavaScript catches it, and what JavaScript throws for
 * wasm to catch by its tag. On its way through wasm it stays the same object.
 *
 * ```js
 * const tag = new Tag({ parameters: ['i32'] });
 * try {
 *   instance.exports.run();
 * } catch (error) {
 *   if (error instanceof Exception && error.is(tag)) console.log(error.getArg(tag, 0));
 * }
 * ```
 */
export class Exception {
  /** `traceStack` notes where the exception was made, at some cost. */
  constructor(exceptionTag: Tag, payload: Iterable<any>, options?: { traceStack?: boolean });
  /** Whether it is one of this tag. */
  is(exceptionTag: Tag): boolean;
  /** A value that the exception carries. The tag must be its own. */
  getArg(exceptionTag: Tag, index: number): any;
  /** Where it was made, if that was noted. */
  readonly stack: string | undefined;
}

/**
 * The tag of whatever else JavaScript throws: wasm that imports it catches the value as an
 * externref. `catch_all` catches it, too. Traps, an exhausted stack and the end of a WASI program
 * are not exceptions: no handler of wasm catches them.
 */
export const JSTag: Tag;

/**
 * The namespace alone, as `globalThis.WebAssembly` has it: what to put in its place. `node --import
 * wasi-native/register/webassembly` does so before a program runs. Its type is that of the global where
 * TypeScript has one (`lib: ["dom"]`, the default), and {@link Namespace} elsewhere.
 *
 * ```js
 * globalThis.WebAssembly = require('wasi-native').WebAssembly;
 * ```
 */
export const WebAssembly: typeof globalThis extends { WebAssembly: infer Replaced } ? Replaced : Namespace;

/** What {@link WebAssembly} has: the classes and functions of this package under their names. */
export interface Namespace {
  /** {@link CompileError}, under its name there. */
  readonly CompileError: typeof CompileError;
  /** {@link Exception}, under its name there. */
  readonly Exception: typeof Exception;
  /** {@link Global}, under its name there. */
  readonly Global: typeof Global;
  /** {@link Instance}, under its name there. */
  readonly Instance: typeof Instance;
  /** {@link JSTag}, under its name there. */
  readonly JSTag: Tag;
  /** {@link LinkError}, under its name there. */
  readonly LinkError: typeof LinkError;
  /** {@link Memory}, under its name there. */
  readonly Memory: typeof Memory;
  /** {@link Module}, under its name there. */
  readonly Module: typeof Module;
  /** {@link RuntimeError}, under its name there. */
  readonly RuntimeError: typeof RuntimeError;
  /** {@link Table}, under its name there. */
  readonly Table: typeof Table;
  /** {@link Tag}, under its name there. */
  readonly Tag: typeof Tag;
  /** {@link compile}, under its name there. */
  readonly compile: typeof compile;
  /** {@link compileStreaming}, under its name there. */
  readonly compileStreaming: typeof compileStreaming;
  /** {@link instantiate}, under its name there. */
  readonly instantiate: typeof instantiate;
  /** {@link instantiateStreaming}, under its name there. */
  readonly instantiateStreaming: typeof instantiateStreaming;
  /** {@link validate}, under its name there. */
  readonly validate: typeof validate;
}

/** The `code` of each error of this package; docs/errors.md tells of all. */
export type ErrorCode =
  | 'ABORT_ERR'
  | 'ERR_ACCESS_DENIED'
  | 'ERR_INVALID_ARG_TYPE'
  | 'ERR_INVALID_ARG_VALUE'
  | 'ERR_MISSING_ARGS'
  | 'ERR_OUT_OF_RANGE'
  | 'ERR_WASI_ALREADY_STARTED'
  | 'ERR_WASI_ASYNC_IMPORT'
  | 'ERR_WASI_BUSY'
  | 'ERR_WASI_CLOSED'
  | 'ERR_WASI_DEAD'
  | 'ERR_WASI_IMPORT'
  | 'ERR_WASI_COMPILE'
  | 'ERR_WASI_EXIT'
  | 'ERR_WASI_FETCH'
  | 'ERR_WASI_INTERNAL'
  | 'ERR_WASI_LIMIT'
  | 'ERR_WASI_LINK'
  | 'ERR_WASI_MODULE_GONE'
  | 'ERR_WASI_NOT_BUILT'
  | 'ERR_WASI_NOT_STARTED'
  | 'ERR_WASI_NO_ADDON'
  | 'ERR_WASI_NO_BUFFER'
  | 'ERR_WASI_NO_COMMAND'
  | 'ERR_WASI_NO_ALLOCATOR'
  | 'ERR_WASI_NO_LIBRARY'
  | 'ERR_WASI_OPTION'
  | 'ERR_WASI_RANGE'
  | 'ERR_WASI_RESOURCE'
  | 'ERR_WASI_SIGNATURE'
  | 'ERR_WASI_TIMEOUT'
  | 'ERR_WASI_TRAP'
  | 'ERR_WEBASSEMBLY_RESPONSE';

/**
 * Any error of this package, as a `catch` may look at it. Those of a {@link MemoryFS} have the
 * errno's name as their `code`, such as `ENOENT`.
 *
 * ```ts
 * try {
 *   await wasi.run('./tool.wasm', { timeout: 1000 });
 * } catch (error) {
 *   const { code, stderr } = error as WASIError;
 *   if (code === 'ERR_WASI_TIMEOUT') console.error('too slow', stderr);
 * }
 * ```
 */
export interface WASIError extends Error {
  /** What went wrong. */
  readonly code: ErrorCode | (string & {});
  /** With `ERR_WASI_EXIT`: what the program gave to `proc_exit`. */
  readonly exitCode?: number;
  /** Of {@link WASI.run}: what was captured by then. */
  readonly stdout?: Buffer | string;
  /** Likewise. */
  readonly stderr?: Buffer | string;
  /** With `ERR_ACCESS_DENIED`: Node's name of what it refuses. */
  readonly permission?: string;
  /** With `ERR_ACCESS_DENIED`: what it refuses it for. */
  readonly resource?: string;
}

/**
 * The module is malformed, invalid, or more than the engine can hold. Its `code` is
 * `ERR_WASI_COMPILE`; the message has the byte offset.
 */
export class CompileError extends Error {
  constructor(message?: string, options?: ErrorOptions);
  /** On those that this package throws. */
  readonly code?: 'ERR_WASI_COMPILE';
}
/** Without `new` it makes one, too, as the native errors do. */
export function CompileError(message?: string, options?: ErrorOptions): CompileError;

/**
 * The imports do not fit what the module asks for. Its `code` is `ERR_WASI_LINK`; the message names
 * module and field.
 */
export class LinkError extends Error {
  constructor(message?: string, options?: ErrorOptions);
  /** On those that this package throws. */
  readonly code?: 'ERR_WASI_LINK';
}
/** Without `new` it makes one, too, as the native errors do. */
export function LinkError(message?: string, options?: ErrorOptions): LinkError;

/**
 * Wasm trapped. The message is the specification's text, such as `integer divide by zero`; the
 * stack names the wasm functions, with file and line where the module has debug information.
 *
 * ```js
 * try {
 *   instance.exports.run();
 * } catch (error) {
 *   if (error instanceof RuntimeError) console.error(error.code, error.stack);
 * }
 * ```
 *
 * An exhausted stack is a `RangeError` instead, `Maximum call stack size exceeded`, as when
 * JavaScript exhausts it. Both have the `code` `ERR_WASI_TRAP`.
 */
export class RuntimeError extends Error {
  constructor(message?: string, options?: ErrorOptions);
  /** On those that this package throws. */
  readonly code?: 'ERR_WASI_TRAP' | 'ERR_WASI_LIMIT';
}
/** Without `new` it makes one, too, as the native errors do. */
export function RuntimeError(message?: string, options?: ErrorOptions): RuntimeError;

/** How a module is compiled. */
export interface CompileOptions {
  /**
   * Whether the code may come from this user's cache, and go there, for other processes: see "The cache" in
   * docs/deployment.md. Default: true.
   */
  cache?: boolean;
  /** Has the module count its operators, for `limits.fuel`. It is slower then. Default: false. */
  fuel?: boolean;
  /** Ends a {@link compile}: it rejects with an `AbortError`, and nothing goes on for it. */
  signal?: Signal;
  /**
   * Called while {@link compile} compiles, about ten times a second: how many bytes of function bodies have their best
   * code, of how many. A large module can run before that. Then it goes on being called after the promise is resolved,
   * as long as somebody has the module, until `done` is `total`. It keeps no process alive.
   */
  onProgress?: (progress: { done: number; total: number }) => void;
  /** Taken as the interface has it, but there are none here: a module that imports one does not link. */
  builtins?: readonly string[];
  /** Likewise: such constants are imports like any other. */
  importedStringConstants?: string | null;
}

/**
 * Compiles on other threads.
 *
 * ```js
 * const module = await compile(await readFile('program.wasm'));
 * ```
 * @throws {CompileError} with the byte offset in its message
 */
export function compile(bytes: BufferSource, options?: CompileOptions): Promise<Module>;

/**
 * Compiles on other threads, then instantiates.
 *
 * ```js
 * const { module, instance } = await instantiate(await readFile('library.wasm'), imports);
 * const another = await instantiate<{ add(a: number, b: number): number }>(module, imports);
 * ```
 */
export function instantiate<E extends object = Exports>(
  bytes: BufferSource,
  importObject?: Imports,
): Promise<{ module: Module; instance: Instance<E> }>;
/** Instantiates a module that is compiled already. */
export function instantiate<E extends object = Exports>(
  module: AnyModule,
  importObject?: Imports,
): Promise<Instance<E>>;

/** A `Response`, of `fetch` or of any package. */
export interface ResponseLike {
  /** Where its MIME type stands. */
  readonly headers: { get(name: string): string | null };
  /** Whether the status is one of success. */
  readonly ok: boolean;
  /** Whether somebody has read the body already. */
  readonly bodyUsed: boolean;
  /** The body. */
  arrayBuffer(): Promise<ArrayBuffer>;
}

/**
 * Compiles the body of a `Response`, whose MIME type must be `application/wasm`. It is compiled once
 * all of it is there.
 *
 * ```js
 * const module = await compileStreaming(fetch('https://example.org/program.wasm'));
 * ```
 */
export function compileStreaming(source: ResponseLike | PromiseLike<ResponseLike>): Promise<Module>;

/**
 * {@link compileStreaming}, then instantiates.
 *
 * ```js
 * const { instance } = await instantiateStreaming(fetch(url), imports);
 * ```
 */
export function instantiateStreaming<E extends object = Exports>(
  source: ResponseLike | PromiseLike<ResponseLike>,
  importObject?: Imports,
): Promise<{ module: Module; instance: Instance<E> }>;

/**
 * Whether the bytes are a module that this engine accepts. Compiles nothing.
 *
 * ```js
 * const hasSimd = validate(aSmallModuleThatUsesIt);
 * ```
 */
export function validate(bytes: BufferSource): boolean;

/** The options of {@link WASI}: those of node:wasi, and more. */
export interface WASIOptions {
  /** The WASI version that the program was built for. */
  version: 'preview1' | 'unstable';
  /** The program's arguments; the first is its own name. Default: none. */
  args?: readonly string[];
  /** The program's environment. Default: empty; nothing of `process.env` leaks in. */
  env?: Readonly<Record<string, string | undefined>>;
  /**
   * The directories that the program can reach: path in the program to directory here. Default:
   * none. A path, a `file:` URL or a {@link MemoryFS} alone may be read and changed. Where Node's permission model is
   * on, a directory that it refuses to this process is refused.
   *
   * ```js
   * {
   *   '/data': './data',
   *   '/input': { path: './input', mode: 'ro' },
   *   '/log': { path: './log', read: false, remove: false, symlinks: false },
   *   '/tmp': new MemoryFS(),
   * }
   * ```
   */
  preopens?: Readonly<Record<string, string | URL | MemoryFS | Preopen>>;
  /**
   * Sockets that the program starts with: to accept from, or to receive from and send to. It cannot
   * make others. They have the descriptors behind the directories, in order: the first is 3 plus the
   * number of `preopens`. Default: none.
   *
   * Of a `net.Server`, a `net.Socket` or a descriptor of this process the program gets a duplicate,
   * and each side closes its own. Node goes on with its side, too, until it is closed: call
   * `server.close()` lest it accepts what is meant for the program; hand a `net.Socket` in paused
   * (`pauseOnConnect`) and then `destroy()` it, which does not shut the connection down. Each
   * program that {@link WASI.run} starts gets the listeners; connections are the first one's.
   *
   * A listener is non-blocking at first, as other hosts hand them in: programs by Go serve on no
   * other. `{ nonblock: false }` beside `listen` or `socket` lets `sock_accept` wait. Connections,
   * accepted ones too, are blocking unless the program asks for something else.
   *
   * ```js
   * const server = net.createServer().listen(8080);
   * await once(server, 'listening');
   * const wasi = new WASI({ version: 'preview1', sockets: [server] });
   * server.close();
   * ```
   */
  sockets?: readonly (
    | NodeSocket
    | number
    | { listen: SocketAddress; nonblock?: boolean }
    | { connect: SocketAddress; nonblock?: boolean }
    | { socket: NodeSocket | number; nonblock?: boolean }
  )[];
  /**
   * The functions that the program gets. `*` in a pattern stands for any characters, `?` for one.
   * A pattern without a dot means functions of WASI; `'wasi_native_ext.*'` means the module's, too,
   * and only such a pattern reaches an extension. One that matches nothing is an error. Default:
   * all of WASI and no extension.
   *
   * A module that imports what is refused does not link; the `LinkError` names it.
   */
  allow?: readonly string[];
  /**
   * Functions, in the same words, that it does not get although `allow` has them. So `'*'` and
   * `'fd_*'` take away functions of WASI and leave an extension that `allow` grants: that takes
   * `'wasi_native_ext.*'`, or `'*.*'` for all there is. Default: none.
   */
  deny?: readonly string[];
  /**
   * Makes stubs of the functions that are refused: a module that imports them links, and they do
   * nothing but return this errno. Default: no stubs.
   */
  onRefused?: 'ENOTCAPABLE' | 'ENOSYS';
  /**
   * Fixes the clocks, for runs that are the same each time: the realtime clock begins here, in
   * milliseconds as of `Date.now()`. Time moves a microsecond with each look at a clock, and a
   * sleep ends at once, with the clock at its end. Files have real times all the same. Default: the
   * clocks of the host.
   */
  now?: Date | number;
  /**
   * Makes `random_get` give the same bytes each time; nothing secret may come of them. An integer
   * of up to 64 bits. Default: the random numbers of the host.
   */
  randomSeed?: number | bigint;
  /** How much the program may ask for at once. */
  limits?: WASILimits;
  /**
   * Is called after each WASI call that the program makes, with a line such as
   * `path_open(fd: 3, ..., path: "file", ...) = ESUCCESS, opened_fd: 4`. What it throws comes out
   * of the program and ends it, in place of what the call returned.
   *
   * With a callback the WASI functions are JavaScript functions also for our instances: slower,
   * and only to be called once {@link WASI.start} or {@link WASI.initialize} has told the memory.
   * Without one, the environment variable `WASI_NATIVE_TRACE=1` prints the lines to standard error,
   * by native code. A `proc_exit` that ends this process (`returnOnExit: false`) is not shown.
   */
  trace?: (line: string) => void;
  /**
   * Whether lines of a trace are as long as they get. Otherwise they have at most 200 characters: long
   * arguments and results are cut, the outcome never. Default: false, or what `WASI_NATIVE_TRACE=full` in
   * the environment says.
   */
  traceFull?: boolean;
  /**
   * A file that gets a core dump when a program of {@link WASI.run} or an instance of {@link WASI.spawn} traps: its
   * frames, memories and globals, for debuggers that read wasm core dumps. The last one stays. It holds whatever was in
   * the program's memory, and only this user can read it. Default: none.
   */
  coredump?: string | URL;
  /** Whether {@link WASI.metrics} counts the calls of WASI functions, which then take longer. Default: false. */
  metrics?: boolean;
  /**
   * Whether `proc_exit` returns from {@link WASI.start} with the exit code. If false it ends this
   * process. Default: true.
   */
  returnOnExit?: boolean;
  /**
   * The program's standard input: a descriptor of this process, `'inherit'` (0), `'ignore'` (there is
   * nothing to read), `'pipe'` (what is written to {@link WASI.stdin}), bytes, `{ input: 'text' }`, a
   * readable stream, or a `Blob`. Default: 0.
   *
   * Streams, `'pipe'` and a `Blob` are for {@link WASI.run} and for instances with a thread of their own. They
   * are read no faster than the program reads.
   */
  stdin?:
    | number
    | 'inherit'
    | 'ignore'
    | 'pipe'
    | BufferSource
    | { input: string | BufferSource }
    | NodeJS.ReadableStream
    | ReadableStream
    | Blob;
  /** The program's standard output. Default: 1. */
  stdout?: Output;
  /** The program's standard error. Default: 2. */
  stderr?: Output;
}

/**
 * Where a program's output goes: a descriptor of this process, `'inherit'`, `'ignore'`, or `'pipe'`,
 * which is the result of {@link WASI.run} or {@link WASI.takeOutput}. Or a function that gets each
 * chunk, or each line without its end; what it throws ends the program. Or, for {@link WASI.run} and
 * for instances with a thread of their own, a writable stream, which is not ended. Such a program
 * waits for a stream that is full, and for the promise of a function; a closed stream gives it
 * `EPIPE`.
 *
 * ```js
 * await new WASI({ version: 'preview1', stdout: { lines: (line) => log(line) } }).run('tool.wasm');
 * ```
 */
export type Output =
  | number
  | 'inherit'
  | 'ignore'
  | 'pipe'
  | NodeJS.WritableStream
  | WritableStream
  | ((chunk: Buffer) => void | Promise<void>)
  | { lines: (line: string) => void | Promise<void> };

/** A `net.Server` that listens, or a `net.Socket` that is connected. TLS is refused. */
export type NodeSocket = { address(): unknown; ref(): unknown; unref(): unknown };

/** Where to listen or connect, by TCP and before the constructor returns. */
export interface SocketAddress {
  /** Default: `'127.0.0.1'`. */
  host?: string;
  /** From 1 on. */
  port: number;
}

/** A preopened directory and what the program may do beneath it. */
export interface Preopen {
  /** The directory here: a path, a `file:` URL or the text of one, or a file system in memory. */
  path: string | URL | MemoryFS;
  /** Short for all permissions, or for `read` alone. Not to be given beside them. Default: `'rw'`. */
  mode?: 'rw' | 'ro';
  /** Read files and links, list directories. Default: true. */
  read?: boolean;
  /** Change contents, size and times of files that exist. Default: true. */
  write?: boolean;
  /** Make files, directories and links, and rename to a new name. Default: what `write` is. */
  create?: boolean;
  /** Remove and rename files and directories. Default: what `write` is. */
  remove?: boolean;
  /** Make symbolic links. Those that exist are followed anyhow. Default: what `write` is. */
  symlinks?: boolean;
}

/** What {@link WASI.metrics} tells. Times are in milliseconds, sizes in bytes. */
export interface WASIMetrics {
  /**
   * Modules of this process that were compiled, their bytes, and the time until they could run. Functions that a
   * large module compiles later are not in it.
   */
  compile: { modules: number; bytes: number; time: number };
  /** Modules of this process whose code the cache had, and where the cache is: null for nowhere. */
  cache: { hits: number; directory: string | null };
  /**
   * Programs and instances of this object that got threads of their own, those of them that are there, and the time of
   * their calls that have ended, what these waited for included.
   */
  programs: { started: number; running: number; time: number };
  /** What the memories, tables and exceptions of this object's programs have, and the most that they had at a time. */
  memory: { bytes: number; peak: number };
  /**
   * For each WASI function that was called, such as `'wasi_snapshot_preview1.fd_write'`: how often, how often it
   * returned an errno, and how long that took, waiting included. Null without the option `metrics`.
   */
  calls: Record<string, { count: number; errors: number; time: number }> | null;
}

/** How much a program may ask for. Integers. Those without a default are not limited. */
export interface WASILimits {
  /**
   * Bytes of each memory. A module that begins with more is refused with `ERR_WASI_LIMIT`; one that
   * grows beyond gets -1.
   */
  memory?: number;
  /** Elements of each table; the same. Default: 10,000,000. */
  table?: number;
  /**
   * Bytes of all memories and tables that the program defines together, with the exceptions that are
   * alive. The program is one {@link WASI.run}, or all instances of this thread that are linked with
   * the `WASI` object. A module that begins with more, and an exception too much, is refused with
   * `ERR_WASI_LIMIT`; what grows beyond gets -1. Default: 64 MiB more than `memory`, or no limit if
   * that is not given.
   */
  total?: number;
  /**
   * Bytes of stack that wasm may use, from 64 KiB to 1 GiB. Only for {@link WASI.run} and instances
   * with a thread of their own. Default: 8 MiB. Elsewhere it is the thread's own stack.
   */
  stack?: number;
  /**
   * Operators that the program may pass, whatever the machine: then it ends with `ERR_WASI_LIMIT`.
   * Only on threads, like `stack`, and only for modules that are compiled with `{ fuel: true }`;
   * those given as bytes are.
   */
  fuel?: number;
  /**
   * Threads that a program of `wasm32-wasip1-threads` may have at a time, beside its first. It gets `EAGAIN`
   * for one more. `memory` and `total` hold for all its threads together, and so does `fuel`; `stack` holds for
   * each. Default: 256.
   */
  threads?: number;
  /**
   * Bytes of standard output, and again of standard error, that `'pipe'` keeps. Who writes more is
   * ended with `ERR_WASI_LIMIT`. Default: 16 MiB.
   */
  output?: number;
  /** Open descriptors, the three standard streams included; beyond them `EMFILE`. Default: 4096. */
  descriptors?: number;
  /**
   * Buffers that one vectored read or write moves; those beyond are left, as by a short one. A file
   * or socket of the host takes 1024 at once whatever is given. Default: 1024.
   */
  buffers?: number;
  /** Bytes of a path; beyond them `ENAMETOOLONG`. Default: 4096. */
  path?: number;
  /** Subscriptions of one `poll_oneoff`; beyond them `EINVAL`. Default: 4096. */
  subscriptions?: number;
  /**
   * Bytes of all arguments, and again of the environment, with a NUL each. More of them is an
   * error of the constructor. Default: 2 MiB.
   */
  strings?: number;
}

/** The options of {@link MemoryFS}. */
export interface MemoryFSOptions {
  /** The files to begin with, by path. Default: none. */
  files?: Readonly<Record<string, string | BufferSource>>;
  /**
   * How many bytes it takes: contents, names, and a few hundred bytes for each file. Beyond them a
   * program gets `ENOSPC`. Default: 64 MiB.
   */
  quota?: number;
}

/**
 * A file system in memory, to be preopened by any number of `WASI` objects of this thread. Its
 * paths start at its root, with or without a slash in front. Errors carry the errno's name as
 * their `code`, such as `ENOENT`.
 *
 * ```js
 * const tmp = new MemoryFS({ files: { 'in.txt': 'some text' } });
 * const wasi = new WASI({ version: 'preview1', preopens: { '/tmp': tmp } });
 * wasi.start(new Instance(module, wasi.getImportObject()));
 * console.log(tmp.readFile('out.txt').toString());
 * ```
 */
export class MemoryFS {
  /** @throws an error that names the file, when the files do not fit the quota */
  constructor(options?: MemoryFSOptions);
  /** Bytes taken out of the quota. */
  readonly used: number;
  /**
   * The paths of everything there is, sorted; those of directories end in a slash.
   * @throws `EOVERFLOW`, if all together are longer than 128 MiB: a program may nest directories
   */
  paths(): string[];
  /** A copy of the file's bytes; with an encoding, their text. */
  readFile(path: string, options?: { encoding?: null } | null): Buffer;
  readFile(path: string, options: BufferEncoding | { encoding: BufferEncoding }): string;
  /** Puts a file there, in place of one that is, with the directories above it. */
  writeFile(path: string, data: string | BufferSource): void;
  /** Takes a file or a symbolic link away. */
  remove(path: string): void;
}

/**
 * What a module imports, each function as `module.name`: what it is granted, what it would not link
 * for, what would be a stub, and what the `WASI` object does not have: somebody else has to provide
 * that.
 */
export interface Capabilities {
  /** It works. */
  granted: string[];
  /** The module does not link. */
  refused: string[];
  /** It links, and the call returns the errno of the option `onRefused`. */
  stubbed: string[];
  /** Not a function of WASI. */
  unknown: string[];
}

/**
 * What a program is made of: a path, a URL (of a file also as text), bytes, a `Blob`, a response of
 * `fetch`, a compiled module, or a promise of one of these.
 */
export type Source = ReadySource | PromiseLike<ReadySource>;
/** {@link Source}, when it is there. */
export type ReadySource =
  string | URL | BufferSource | Blob | { readonly ok: boolean; arrayBuffer(): Promise<ArrayBuffer> } | Module;

/** An `AbortSignal`, of Node or of a package. */
export interface Signal {
  /** Whether it has fired. */
  readonly aborted: boolean;
  /** Why: the `cause` of the `AbortError`. */
  readonly reason?: any;
  /** How to learn that it fires. */
  addEventListener(type: 'abort', listener: () => void, options?: { once: boolean }): void;
}

/** How {@link WASI.run} runs a program. */
export interface RunOptions {
  /** Ends the program when it fires: `run()` rejects with an `AbortError`. */
  signal?: Signal;
  /** Ends the program after so many milliseconds: `run()` rejects with `ERR_WASI_TIMEOUT`. */
  timeout?: number;
  /**
   * Further imports. Functions run here, on the thread that called `run()`, and may be asynchronous:
   * the program waits for what they return. What they throw comes out of `run()`.
   */
  imports?: Imports;
  /** In place of those of the {@link WASI} object, for this run. */
  args?: readonly string[];
  /** In place of that of the {@link WASI} object, for this run. */
  env?: Readonly<Record<string, string | undefined>>;
  /** In place of that of the {@link WASI} object, for this run; but for `'pipe'`. */
  stdin?: WASIOptions['stdin'];
  /** In place of that of the {@link WASI} object, for this run. */
  stdout?: Output;
  /** In place of that of the {@link WASI} object, for this run. */
  stderr?: Output;
  /** Makes strings of the captured output. Default: `Buffer`s. */
  encoding?: BufferEncoding;
}

/** What a program that ended came to. */
export interface RunResult<T = Buffer> {
  /** What the program gave to `proc_exit`; 0 if it returned. */
  code: number;
  /** What it wrote, if `stdout` is `'pipe'`; otherwise null. */
  stdout: T | null;
  /** Likewise for `stderr`. */
  stderr: T | null;
}

/** How {@link WASI.instantiate} makes an instance. */
export interface InstantiateOptions<Data = any> {
  /** What `instance.data` is, for imports that ask {@link caller}. Default: undefined. */
  data?: Data;
}

/** How {@link WASI.spawn} makes an instance. */
export interface SpawnOptions<Data = any> extends InstantiateOptions<Data> {
  /** Ends the instance when it fires. */
  signal?: Signal;
  /** Ends the instance after so many milliseconds. */
  timeout?: number;
}

/** What one call may take: see {@link LibraryInstance.call}. */
export interface CallOptions {
  /** Milliseconds; then the call is ended and fails with `ERR_WASI_TIMEOUT`. */
  timeout?: number;
  /** Ends the call when it fires, with an `AbortError`. */
  signal?: Signal;
  /**
   * Operators that the call may pass; then it fails with `ERR_WASI_LIMIT`. The module has to be compiled
   * with `{ fuel: true }`.
   */
  fuel?: number;
}

/** An instance on this thread. */
export interface Instantiated<E extends object = Exports, Data = any> {
  /** What was compiled, to make more of it. */
  module: Module;
  /** The instance. */
  instance: LibraryInstance<E, Data>;
  /** Those of the instance. */
  exports: E;
}

/** An instance with a thread of its own. */
export interface Spawned<E extends object = Exports, Data = any> {
  /** What was compiled, to make more of it. */
  module: Module;
  /** The instance. */
  instance: ThreadInstance<E, Data>;
  /** Those of the instance. */
  exports: ThreadExports<E>;
}

/** The arguments of an export. */
export type ArgumentsOf<T> = 0 extends 1 & T ? any[] : T extends (...args: infer Args) => any ? Args : never;
/** The result of an export. */
export type ResultOf<T> = 0 extends 1 & T ? any : T extends (...args: any[]) => infer Result ? Result : never;

/** What {@link WASI.instantiate} makes: an {@link Instance} with more for hosts of plugins. */
export interface LibraryInstance<E extends object = Exports, Data = any> extends Instance<E> {
  /** Whatever the host wants to know of it. */
  data: Data;
  /** The memory that it exports as `memory`, or the only one. */
  readonly memory: MemoryAccess | undefined;
  /**
   * Calls an export by its name. A call that is ended by its time, its signal or its fuel stops at a
   * loop or function call of wasm, or where it waits in a WASI call of this instance. An import in
   * JavaScript is not stopped: the call ends when that returns. The instance can be used after it, with
   * its memory as the call left it; {@link reset} brings a known state back.
   *
   * ```js
   * const sum = instance.call('add', [1, 2], { timeout: 50, fuel: 1e6 });
   * ```
   */
  call<Name extends keyof E & string>(
    name: Name,
    args?: Readonly<ArgumentsOf<E[Name]>>,
    options?: CallOptions,
  ): ResultOf<E[Name]>;
  /**
   * Has the instance be as it was when it was made, after its start function and `_initialize`, which do
   * not run again: the bytes and sizes of the memories that it defines, the elements and sizes of its
   * tables, its globals, and which segments are dropped. What it imports stays as it is, and so do
   * descriptors, which are those of the {@link WASI} object. The buffer of a memory that had grown is
   * detached. An instance that defines a shared memory cannot be reset.
   *
   * @throws an error with the code `ERR_WASI_BUSY` while wasm runs on this thread
   */
  reset(): void;
}

/**
 * The exports of an instance with a thread of its own: functions that return promises, and memories.
 * What else the module exports is not there.
 */
export type ThreadExports<E extends object = Exports> = {
  readonly [Name in keyof E as E[Name] extends Function | Memory ? Name : never]: OnThread<E[Name]>;
};
/** What an export is, seen from another thread. */
export type OnThread<T> = 0 extends 1 & T
  ? any
  : T extends (...args: infer Args) => infer Result
    ? (...args: Args) => Promise<Awaited<Result>>
    : ThreadMemory;

/** What {@link WASI.spawn} makes: an instance with a thread of its own. */
export interface ThreadInstance<E extends object = Exports, Data = any> {
  /** Its functions, which return promises, and its memories. */
  readonly exports: ThreadExports<E>;
  /** Whatever the host wants to know of it. */
  data: Data;
  /** The memory that it exports as `memory`, or the only one. */
  readonly memory: ThreadMemory | undefined;
  /**
   * Calls an export by its name. A call that is ended by its time, its signal or its fuel stops
   * whatever it does: loops, recursion, waiting for input, a clock or an import. Time counts from the
   * call on, with the time that it waits for its turn. The instance can be used after it, with its
   * memory as the call left it; {@link reset} brings a known state back.
   *
   * ```js
   * const sum = await instance.call('add', [1, 2], { timeout: 50, fuel: 1e6 });
   * ```
   */
  call<Name extends keyof E & string>(
    name: Name,
    args?: Readonly<ArgumentsOf<E[Name]>>,
    options?: CallOptions,
  ): Promise<Awaited<ResultOf<E[Name]>>>;
  /**
   * Has the instance be as it was when it could first be called, when the calls asked for before are
   * done: as {@link LibraryInstance.reset}. As it has descriptors of its own, those that it has opened
   * since are closed, and those that it has closed are open again; positions in files stay.
   */
  reset(): Promise<void>;
  /**
   * The operators that it may still pass, all calls together: `limits.fuel` at first, Infinity if that is
   * not given. What it is set to holds from the next call on.
   */
  fuel: number;
  /** What it has written to `'pipe'` since the last time. */
  takeOutput(): { stdout: Buffer | null; stderr: Buffer | null };
  /** Ends it, whatever it does. Calls that are not done are rejected with `ERR_WASI_CLOSED`. */
  close(): void;
  [Symbol.dispose](): void;
}

/** The bytes of an instance's memory, in copies. An address from wasm is signed: `pointer >>> 0`. */
export interface MemoryAccess {
  /** Bytes. */
  readonly size: number;
  /** A copy of the bytes. */
  read(offset: number | bigint, length: number | bigint): Buffer;
  /** So many bytes as text, or those up to the next NUL. Default: `'utf8'`. */
  readString(offset: number | bigint, length?: number | bigint, encoding?: BufferEncoding): string;
  /** Copies a text there, and returns its bytes. No NUL ends it, unless the text has one. Default: `'utf8'`. */
  writeString(offset: number | bigint, text: string, encoding?: BufferEncoding): number;
  /** Copies bytes there; a string as UTF-8. Returns how many. */
  write(offset: number | bigint, bytes: string | ArrayBufferView): number;
}

/**
 * A memory of an instance with a thread of its own. It can be looked at while the instance rests: no
 * call is under way, or the instance waits for an import. Otherwise `ERR_WASI_BUSY` is thrown. It has no
 * `buffer`, as its bytes are another thread's.
 */
export interface ThreadMemory extends MemoryAccess {}

/** What {@link load} takes: of {@link WASIOptions} all that says what the module may reach. */
export interface LoadOptions extends Omit<WASIOptions, 'version' | 'returnOnExit'> {
  /**
   * Functions and objects that a library imports beside those of WASI. A native module, which imports Node-API, gets
   * none: `ERR_INVALID_ARG_VALUE`, as with `alloc` and `free`.
   */
  imports?: Imports;
  /**
   * The export that allocates memory for arguments: `(size)`, `(size, alignment)`, or
   * `(0, 0, alignment, size)`. Default: one of `malloc`, `alloc`, `allocate`, `__wbindgen_malloc`,
   * `cabi_realloc`.
   */
  alloc?: string;
  /**
   * The export that frees it: `(address)`, `(address, size)`, `(address, size, alignment)`, or
   * `(address, size, alignment, 0)`. Default: what belongs to the one that allocates; nothing if `alloc` is
   * given.
   */
  free?: string;
  /** Whether its code may come from the cache, and go there. Default: true. */
  cache?: boolean;
  /**
   * Threads that a native module may have at a time that it starts itself. Default: `limits.threads`, so 256.
   */
  threads?: number;
  /**
   * Threads that do the asynchronous work of a native module. They start when there is some. With 0 it is done on this
   * thread, in turns of its own. Default: `UV_THREADPOOL_SIZE`, or 4.
   */
  asyncWorkPoolSize?: number;
}

/** What {@link loadAsync} takes. */
export interface LoadAsyncOptions extends LoadOptions {
  /** Ends the loading. */
  signal?: AbortSignal;
}

/** A type of a parameter or result of {@link LibraryHost.fn}. */
export type LibraryType =
  'i32' | 'u32' | 'i64' | 'u64' | 'f32' | 'f64' | 'bool' | 'string' | 'cstring' | 'bytes';

/** What a value of a {@link LibraryType} is as an argument. */
export type LibraryArgument<T extends LibraryType> = T extends 'i64' | 'u64'
  ? bigint | number
  : T extends 'bool'
    ? boolean
    : T extends 'string' | 'cstring'
      ? string
      : T extends 'bytes'
        ? ArrayBufferView | ArrayBufferLike
        : number;

/** What a value of a {@link LibraryType} is as a result: null for the null pointer of a C string. */
export type LibraryResult<T extends LibraryType | 'void'> = T extends 'i64' | 'u64'
  ? bigint
  : T extends 'bool'
    ? boolean
    : T extends 'string'
      ? string
      : T extends 'cstring'
        ? string | null
        : T extends 'bytes'
          ? Buffer
          : T extends 'void'
            ? undefined
            : number;

/** A function of a library as JavaScript calls it. */
export interface LibrarySignature<
  P extends readonly LibraryType[] = readonly LibraryType[],
  R extends LibraryType | 'void' = LibraryType | 'void',
> {
  /** Default: none. */
  params?: P;
  /** Default: none. */
  result?: R;
  /**
   * Whether the host frees what it allocated for strings and bytes. False for a function that takes them
   * over. Default: true.
   */
  freeParams?: boolean;
  /** Whether a string or bytes as the result was allocated for the caller, who frees it. Default: false. */
  freeResult?: boolean;
}

/** What {@link load} adds to the exports of a library. */
export interface LibraryHost<E extends object = Exports> {
  /** The exports alone. */
  readonly exports: E;
  /** The memory that it exports as `memory`, or the only one. */
  readonly memory: MemoryAccess | undefined;
  /**
   * An export as a function with strings and bytes. The type of the export says how they are passed: a
   * string or bytes as address and length (`i32 i32`, or an `i64` with the address in its high half), a
   * string also as the address of a text that ends with NUL. A result may also be stored as address and
   * length where the first parameter says, as C returns a struct. Results are copied.
   *
   * ```js
   * const greet = load('greet.wasm').fn('greet', { params: ['string'], result: 'string' });
   * greet('you'); // 'Hello, you!'
   * ```
   *
   * @throws an error with the code `ERR_WASI_SIGNATURE` if the export cannot be called so
   */
  fn<const P extends readonly LibraryType[] = [], R extends LibraryType | 'void' = 'void'>(
    name: string,
    signature: LibrarySignature<P, R>,
  ): (...args: { [K in keyof P]: LibraryArgument<P[K]> }) => LibraryResult<R>;
  /** The address of so many bytes that the library allocates. */
  alloc(size: number): number;
  /** Frees them. `size` is for libraries that want to be told. */
  free(address: number, size?: number): void;
  /** Closes its descriptors. What {@link fn} made cannot be called any more. */
  close(): void;
  [Symbol.dispose](): void;
}

/** A library: its exports, with {@link LibraryHost} before exports of the same names. */
export type Library<E extends object = Exports> = LibraryHost<E> & Omit<E, keyof LibraryHost>;

/**
 * The library in a file or in bytes, ready to be called. It reaches standard output and standard error, and
 * what its options hand to it: no directory, no environment and no input otherwise.
 *
 * ```js
 * const { add } = load('add.wasm');
 * ```
 *
 * A module that imports Node-API is a native module: `load` gives what it exports, as `require` gives that of a
 * `.node` file. Beside that it has, not enumerable, `close()` and `Symbol.dispose`, unless it exports something
 * of these names. Promises of a closed module that are open fail with `ERR_WASI_CLOSED`. When a call into it ends with a trap, the module runs no more: later calls throw
 * `ERR_WASI_DEAD`. Such a module can use whatever JavaScript gives it, and the global object.
 *
 * @throws an error with the code `ERR_WASI_NO_LIBRARY` for a program, which is for {@link WASI.run}
 */
export function load<E extends object = Exports>(
  source: string | URL | BufferSource | Module,
  options?: LoadOptions,
): Library<E>;

/**
 * The same, compiled beside JavaScript; the source may also be one that takes time to read.
 *
 * ```js
 * const { add } = await loadAsync(fetch('https://example.org/add.wasm'), { signal: AbortSignal.timeout(5000) });
 * ```
 */
export function loadAsync<E extends object = Exports>(
  source: Source,
  options?: LoadAsyncOptions,
): Promise<Library<E>>;

/**
 * The instance whose wasm called the imported function that runs now; undefined outside of one. So many
 * instances can share one object of imports. On the thread of an instance made by {@link WASI.spawn}
 * or by {@link WASI.run} it is known in all that an asynchronous import does; for one on this thread
 * until the import returns. An instance that {@link WASI.instantiate} did not make is an
 * {@link Instance} alone.
 *
 * ```js
 * const env = { log: (pointer) => console.log(caller().data.name, caller().memory.readString(pointer)) };
 * ```
 */
export function caller<E extends object = Exports, Data = any>():
  LibraryInstance<E, Data> | ThreadInstance<E, Data> | undefined;

/** Anything with `exports` such as an `Instance`, of this package or of V8. */
export interface InstanceLike {
  /** What the program exports. */
  readonly exports: object;
}

/** The options of {@link WASI.finalizeBindings}. */
export interface FinalizeBindingsOptions {
  /** A memory of this package or of V8. Default: what the instance exports as `memory`. */
  memory?: Memory | object;
}

/**
 * node:wasi's class over a sandboxed host: a program reaches the directories it was given, by
 * handle, and nothing else.
 *
 * ```js
 * const wasi = new WASI({ version: 'preview1', args: ['program'], preopens: { '/data': './data' } });
 * const code = wasi.start(new Instance(module, wasi.getImportObject()));
 * ```
 */
export class WASI {
  /** @throws an error that names the option, says what is wrong with it and what to do */
  constructor(options: WASIOptions);
  /**
   * The WASI functions. An `Instance` of this package binds them as native calls; called from
   * JavaScript or from an instance of V8's they work on the memory of the instance that was
   * started.
   */
  readonly wasiImport: Record<string, (...args: any[]) => any>;
  /**
   * `{ wasi_snapshot_preview1: wasiImport }`, or `wasi_unstable` by the version. If an extension is
   * granted there is `wasi_native_ext`, too. What is refused is in neither.
   */
  getImportObject(): Record<string, Record<string, (...args: any[]) => any>>;
  /** What this program would get of what a module imports. The module may be one of V8's. */
  capabilities(module: Module | object): Capabilities;
  /**
   * Lets this program hand descriptors to the one of `other`, by `fd_give` of the extension
   * `wasi_native_ext`. It knows the other by `name`.
   *
   * ```js
   * const giver = new WASI({ version: 'preview1', allow: ['*', 'wasi_native_ext.fd_give'] });
   * giver.linkDescriptors('worker', taker);
   * ```
   */
  linkDescriptors(name: string, other: WASI): void;
  /**
   * Runs a command on a thread of its own. Each run is a new program with the options of this
   * object; any number may run at the same time. Compile the program once and share the object: what
   * differs from run to run goes into `options`.
   *
   * ```js
   * const wasi = new WASI({ version: 'preview1', args: ['tool', '-v'], stdout: 'pipe' });
   * const { code, stdout } = await wasi.run('./tool.wasm', { timeout: 1000, encoding: 'utf8' });
   * ```
   *
   * The event loop stays free. A signal or a timeout ends the program within milliseconds, whatever
   * it does: loops, recursion, waiting for input, a clock or an import. Only a single bulk operation
   * on memory, and a call that waits in the kernel for a disk, are finished first. The error has what
   * was captured by then as `stdout` and `stderr`.
   */
  run(source: Source, options: RunOptions & { encoding: BufferEncoding }): Promise<RunResult<string>>;
  run(source: Source, options?: RunOptions): Promise<RunResult>;
  /**
   * An instance with a thread of its own, with the functions of this object among its imports. A
   * reactor is initialized. Each is a new program with the options of this object.
   *
   * Its exports return promises, and calls queue. Imports may be asynchronous; while the instance waits
   * for one, calls that the import makes come in between. What a call has written has gone where
   * it belongs when the call resolves.
   *
   * ```js
   * const { exports, instance } = await wasi.spawn('./lib.wasm', { env });
   * console.log(await exports.add(1, 2));
   * instance.close();
   * ```
   */
  spawn<E extends object = Exports, Data = any>(
    source: Source,
    imports?: Imports,
    options?: SpawnOptions<Data>,
  ): Promise<Spawned<E, Data>>;
  /**
   * An instance on this thread, with the functions of this object among its imports. A reactor is
   * initialized. There can be many of one object: they share its descriptors. An import whose result
   * is a promise throws `ERR_WASI_ASYNC_IMPORT`, as wasm cannot wait for it on this thread.
   */
  instantiate<E extends object = Exports, Data = any>(
    source: Source,
    imports?: Imports,
    options?: InstantiateOptions<Data>,
  ): Promise<Instantiated<E, Data>>;
  /** The same at once. */
  instantiateSync<E extends object = Exports, Data = any>(
    source: BufferSource | Module,
    imports?: Imports,
    options?: InstantiateOptions<Data>,
  ): Instantiated<E, Data>;
  /** With `stdin: 'pipe'` the stream that the program reads; otherwise null. */
  readonly stdin: NodeJS.WritableStream | null;
  /**
   * What the program on this thread has written to `'pipe'` since the last time. Instances made by
   * {@link spawn} have a method of their own.
   */
  takeOutput(): { stdout: Buffer | null; stderr: Buffer | null };
  /** What the programs of this object have taken until now, and what it took to make modules. */
  metrics(): WASIMetrics;
  /**
   * Closes the descriptors of the program on this thread at once, and what others would get: no more
   * can be started. Those that run have descriptors of their own.
   */
  close(): void;
  [Symbol.dispose](): void;
  /**
   * Runs a command and returns its exit code, as the signed 32-bit number that it passed to
   * `proc_exit`, or 0. The instance may also be one of V8's. Each `WASI` object starts once.
   * @throws {RuntimeError} when the program traps
   */
  start(instance: InstanceLike): number;
  /**
   * Starts a reactor, whose exports may be called from then on.
   * @throws an error with the code `ERR_WASI_EXIT` and an `exitCode` when it calls `proc_exit`
   */
  initialize(instance: InstanceLike): void;
  /**
   * Binds the memory that the functions of {@link wasiImport} work on, as `start` and `initialize`
   * do first, and runs nothing: for an instance that shares its memory with others. An instance of
   * this package that imported the functions directly works on its own memory all the same.
   */
  finalizeBindings(instance: InstanceLike, options?: FinalizeBindingsOptions): void;
}
