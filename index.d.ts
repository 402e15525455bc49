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

export type ImportExportKind = 'function' | 'table' | 'memory' | 'global' | 'tag';

export interface ModuleExportDescriptor {
  name: string;
  kind: ImportExportKind;
}

export interface ModuleImportDescriptor {
  module: string;
  name: string;
  kind: ImportExportKind;
}

/** What an import may be given as. A plain value stands for an immutable global. */
export type ImportValue = Function | Memory | Table | Global | number | bigint | null | unknown;
export type Imports = Record<string, Record<string, ImportValue>>;
export type ExportValue = Function | Memory | Table | Global;
export type Exports = Record<string, any>;

/** A compiled module: immutable, to be instantiated any number of times. */
export class Module {
  /**
   * Compiles on this thread. For large modules prefer {@link compile}, which leaves the event
   * loop free.
   * @throws {CompileError} with the byte offset in its message
   */
  constructor(bytes: BufferSource);
  static exports(module: Module): ModuleExportDescriptor[];
  static imports(module: Module): ModuleImportDescriptor[];
  /** Copies of the custom sections of this name, in order. */
  static customSections(module: Module, sectionName: string): ArrayBuffer[];
}

/** A module linked with its imports, its start function run. */
export class Instance {
  /**
   * @throws {LinkError} when an import is missing or does not fit; it names module and field
   * @throws {RuntimeError} when the start function or an active segment traps
   */
  constructor(module: Module, importObject?: Imports);
  /** Frozen, without a prototype. The same function objects each time. */
  readonly exports: Exports;
}

export interface MemoryDescriptor {
  /** Pages of 64 KiB to start with. */
  initial: number;
  maximum?: number;
}

export class Memory {
  constructor(descriptor: MemoryDescriptor);
  /**
   * The memory's bytes, not a copy. Growing, from here or in wasm, detaches the buffer; the next
   * look gives a new one.
   */
  readonly buffer: ArrayBuffer;
  /** Grows by `delta` pages and returns the old number of pages. */
  grow(delta: number): number;
}

export interface TableDescriptor {
  element: 'anyfunc' | 'externref';
  initial: number;
  maximum?: number;
}

export class Table {
  constructor(descriptor: TableDescriptor, value?: any);
  readonly length: number;
  get(index: number): any;
  set(index: number, value?: any): void;
  /** Grows by `delta` elements and returns the old length. */
  grow(delta: number, value?: any): number;
}

export type ValueType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128' | 'anyfunc' | 'externref';

export interface GlobalDescriptor {
  value: ValueType;
  mutable?: boolean;
}

export class Global {
  constructor(descriptor: GlobalDescriptor, value?: any);
  /** An i64 is a BigInt. */
  value: any;
  valueOf(): any;
}

/** The module is malformed, invalid, or more than the engine can hold. */
export class CompileError extends Error {
  constructor(message?: string, options?: ErrorOptions);
}

/** The imports do not fit what the module asks for. */
export class LinkError extends Error {
  constructor(message?: string, options?: ErrorOptions);
}

/**
 * Wasm trapped. The message is the specification's text, such as `integer divide by zero`; the
 * stack names the wasm functions.
 */
export class RuntimeError extends Error {
  constructor(message?: string, options?: ErrorOptions);
}

/** Compiles on other threads. */
export function compile(bytes: BufferSource): Promise<Module>;

/** Compiles on other threads, then instantiates. */
export function instantiate(
  bytes: BufferSource,
  importObject?: Imports
): Promise<{ module: Module; instance: Instance }>;
export function instantiate(module: Module, importObject?: Imports): Promise<Instance>;

/** Whether the bytes are a module that this engine accepts. Compiles nothing. */
export function validate(bytes: BufferSource): boolean;

export interface WASIOptions {
  /** The WASI version that the program was built for. */
  version: 'preview1' | 'unstable';
  /** The program's arguments; the first is its own name. Default: none. */
  args?: string[];
  /** The program's environment. Default: empty; nothing of `process.env` leaks in. */
  env?: Record<string, string | undefined>;
  /**
   * The directories that the program can reach: path in the program to directory here. Default:
   * none. `{ '/data': './data' }`
   */
  preopens?: Record<string, string>;
  /**
   * Whether `proc_exit` returns from {@link WASI.start} with the exit code. If false it ends this
   * process. Default: true.
   */
  returnOnExit?: boolean;
  /** The descriptor of this process that is the program's standard input. Default: 0. */
  stdin?: number;
  /** Default: 1. */
  stdout?: number;
  /** Default: 2. */
  stderr?: number;
}

/** Anything with `exports` such as an `Instance`, of this package or of V8. */
export interface InstanceLike {
  readonly exports: Record<string, any>;
}

/**
 * node:wasi's class over a sandboxed host: a program reaches the directories it was given, by
 * handle, and nothing else.
 */
export class WASI {
  constructor(options: WASIOptions);
  /**
   * The WASI functions. An `Instance` of this package binds them as native calls; called from
   * JavaScript or from an instance of V8's they work on the memory of the instance that was
   * started.
   */
  readonly wasiImport: Record<string, (...args: any[]) => any>;
  /** `{ wasi_snapshot_preview1: wasiImport }` */
  getImportObject(): Imports;
  /** Runs a command and returns its exit code. The instance may also be one of V8's. */
  start(instance: InstanceLike): number;
  /** Starts a reactor, whose exports may be called from then on. */
  initialize(instance: InstanceLike): void;
}
