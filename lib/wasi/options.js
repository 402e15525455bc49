'use strict';
// The options of `WASI`: checked in node:wasi's order, and in the form that native code takes.

const path = require('node:path');

const { checkKeys } = require('../util/keys');
const { MODULES } = require('../native/wasi-modules');
const { checkDirectory, checkSymlinks, checkWritten, maySymlink } = require('./permission');
const { parseStdio } = require('./stdio');
const check = require('../util/validate');
const { filePath, isURL } = require('../util/web');

// Loaded where they are used: most programs have neither.
const memories = () => require('./memoryfs');
const network = () => require('./sockets');

function parse(options) {
  checkKeys('wasi', options, 'options');
  const { version } = options;
  check.isOfType('string', version, 'options.version');
  if (!Object.hasOwn(MODULES, version)) {
    throw check.invalidValue('options.version', version, 'unsupported WASI version');
  }
  const args = parseArgs(options);
  const env = parseEnv(options);
  const mounts = [];
  if (options.preopens !== undefined) {
    check.isObject(options.preopens, 'options.preopens');
    for (const [guest, value] of Object.entries(options.preopens)) {
      if (guest.includes('\0'))
        throw check.invalidValue('options.preopens', guest, 'has a path with a NUL byte');
      mounts.push(mount(guest, value, `options.preopens[${JSON.stringify(guest)}]`));
    }
  }
  const stdio = parseStreams(options, [0, 1, 2]);
  const { returnOnExit = true } = options;
  check.isOfType('boolean', returnOnExit, 'options.returnOnExit');
  const { allow, deny = [], onRefused, now, randomSeed, limits = {}, sockets } = options;
  const { trace, traceFull = process.env.WASI_NATIVE_TRACE === 'full', metrics = false } = options;
  if (allow !== undefined) check.isStrings(allow, 'options.allow');
  check.isStrings(deny, 'options.deny');
  if (onRefused !== undefined && !['ENOTCAPABLE', 'ENOSYS'].includes(onRefused)) {
    throw check.invalidValue('options.onRefused', onRefused, "must be 'ENOTCAPABLE' or 'ENOSYS'");
  }
  checkLimits(limits);
  const {
    memory,
    table,
    total,
    stack,
    fuel,
    threads = DEFAULT_THREADS,
    output = DEFAULT_OUTPUT,
    ...ofWasi
  } = limits;
  if (trace !== undefined) check.isOfType('function', trace, 'options.trace');
  check.isOfType('boolean', traceFull, 'options.traceFull');
  check.isOfType('boolean', metrics, 'options.metrics');
  const coredump = parseCoredump(options);
  return {
    returnOnExit,
    trace,
    /** What `run` may give for one program. */
    program: { args, env, stdio },
    outputLimit: output,
    /** Where a core dump goes. */
    coredump,
    /** What the engine limits, rather than WASI. */
    threadLimits: { memory, table, total, stack, fuel, threads },
    memories: mounts.map(({ memory }) => memory).filter((memory) => memory !== undefined),
    native: {
      preopens: mounts.map(({ preopen }) => preopen),
      sockets: sockets === undefined ? [] : network().parseSockets(sockets),
      allow,
      deny,
      onRefused,
      now: now === undefined ? undefined : nanoseconds(now),
      randomSeed: randomSeed === undefined ? undefined : seed(randomSeed),
      limits: { ...ofWasi, output },
      traceToStderr: trace === undefined && ['1', 'full'].includes(process.env.WASI_NATIVE_TRACE),
      fullTrace: traceFull,
      countCalls: metrics,
    },
  };
}

/** The path of the file that core dumps go to. */
function parseCoredump({ coredump }) {
  if (coredump === undefined) return undefined;
  const file = filePath(coredump, 'options.coredump') ?? coredump;
  if (typeof file !== 'string' || file === '' || file.includes('\0')) {
    throw check.invalidType('options.coredump', 'the path of a file, or a file: URL', coredump);
  }
  const place = path.resolve(file);
  checkWritten('options.coredump', place);
  return place;
}

/** The options of one run, where they differ from those of its `WASI` object: see `parse`. */
function parseProgram(options, { args, env, stdio }) {
  return {
    args: options.args === undefined ? args : parseArgs(options),
    env: options.env === undefined ? env : parseEnv(options),
    stdio: parseStreams(options, stdio),
  };
}

function parseArgs({ args = [] }) {
  check.isArray(args, 'options.args');
  return Array.from(args, String);
}

/** Name, value, name, value. */
function parseEnv({ env = {} }) {
  check.isObject(env, 'options.env');
  const given = Object.entries(env).filter(([, value]) => value !== undefined);
  return given.flatMap(([name, value]) => [name, `${value}`]);
}

/** The standard streams; `otherwise` has those that are not given, as descriptors or parsed. */
function parseStreams(options, otherwise) {
  return ['stdin', 'stdout', 'stderr'].map((name, number) => {
    const value = options[name];
    if (value !== undefined) return parseStdio(value, number, `options.${name}`);
    const missing = otherwise[number];
    return typeof missing === 'number' ? parseStdio(missing, number) : missing;
  });
}

/** What a value of `preopens` means: `{preopen, memory}`. */
function mount(guest, value, name) {
  const plain =
    typeof value !== 'object' ||
    value === null ||
    isURL(value) ||
    memories().memoryFsHandle(value) !== undefined;
  const { path, mode, ...given } = plain ? { path: value } : value;
  if (!plain) checkKeys('preopen', value, name);
  for (const [key, permission] of Object.entries(given)) {
    if (permission !== undefined) check.isOfType('boolean', permission, `${name}.${key}`);
  }
  if (mode !== undefined) {
    if (mode !== 'ro' && mode !== 'rw') {
      throw check.invalidValue(`${name}.mode`, mode, "must be 'ro' or 'rw'");
    }
    const both = Object.keys(given).find((key) => given[key] !== undefined);
    if (both !== undefined) {
      const reason = 'cannot be given beside "mode"; leave one of them out';
      throw check.invalidValue(`${name}.${both}`, given[both], reason);
    }
  }
  // Without `write` nothing may change, so the other permissions go with it.
  const { read = true, write = mode !== 'ro' } = given;
  const memory = memories().memoryFsHandle(path);
  const mayLink = write && (memory !== undefined || maySymlink());
  const { create = write, remove = write, symlinks = mayLink } = given;
  const host = memory === undefined ? directory(path, plain ? name : `${name}.path`, plain) : undefined;
  const permissions = { read, write, create, remove, symlinks };
  if (host !== undefined) {
    checkDirectory(name, host, permissions);
    if (symlinks) checkSymlinks(`${name}.symlinks`);
  }
  return { preopen: { guest, host, ...permissions }, memory };
}

/** The path of a directory, given as node:wasi takes it or as a URL. */
function directory(path, name, plain) {
  const host = filePath(path, name) ?? path;
  if (typeof host === 'string') {
    if (host === '') throw check.invalidValue(name, host, 'must not be empty; the working directory is "."');
    return host;
  }
  if (isURL(path)) throw check.invalidValue(name, path.href, 'must be a URL with the scheme "file:"');
  const kinds = 'a path, a file: URL or an instance of MemoryFS';
  const expected = plain ? `${kinds}, or an object with a path and permissions` : `given as ${kinds}`;
  throw check.invalidType(name, expected, path);
}

/** Bytes of each captured stream. */
const DEFAULT_OUTPUT = 16 * 1024 * 1024;

/** Threads that a program may have at a time, beside its first. */
const DEFAULT_THREADS = 256;

/** What can be limited, from and to how much. */
const LIMITS = {
  // A program has three standard streams.
  descriptors: [3, 0xffffffff],
  buffers: [0, 0xffffffff],
  path: [0, 0xffffffff],
  subscriptions: [0, 0xffffffff],
  strings: [0, 0xffffffff],
  output: [0, Number.MAX_SAFE_INTEGER],
  memory: [0, Number.MAX_SAFE_INTEGER],
  table: [0, 0xffffffff],
  total: [0, Number.MAX_SAFE_INTEGER],
  stack: [64 * 1024, 1024 * 1024 * 1024],
  fuel: [0, Number.MAX_SAFE_INTEGER],
  threads: [0, 65535],
};

function checkLimits(limits) {
  check.isObject(limits, 'options.limits');
  checkKeys('limits', limits, 'options.limits');
  for (const [key, limit] of Object.entries(limits)) {
    if (limit !== undefined) check.isInteger(limit, `options.limits.${key}`, ...LIMITS[key]);
  }
}

/** A Date, or milliseconds as Date.now() has them, in nanoseconds. */
function nanoseconds(now) {
  const milliseconds = now instanceof Date ? now.getTime() : now;
  if (typeof milliseconds !== 'number') {
    throw check.invalidType('options.now', 'of type number or an instance of Date', now);
  }
  // 64 bits of nanoseconds end in the year 2554.
  if (!(milliseconds >= 0 && milliseconds <= 18e12)) {
    throw check.outOfRange('options.now', '>= 0 && <= 18e12, in milliseconds', milliseconds);
  }
  return BigInt(Math.round(milliseconds * 1000)) * 1000n;
}

function seed(value) {
  if (typeof value === 'bigint') {
    if (value === BigInt.asUintN(64, value)) return value;
    throw check.outOfRange('options.randomSeed', '>= 0n && < 2n ** 64n', value);
  }
  check.isInteger(value, 'options.randomSeed', 0, Number.MAX_SAFE_INTEGER);
  return BigInt(value);
}

module.exports = { parse, parseProgram };
