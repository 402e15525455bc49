'use strict';
// `wasi-native run`.

const { existsSync, statSync } = require('node:fs');
const { constants } = require('node:os');
const path = require('node:path');

const { coded } = require('../util/errors');
const { moduleOf } = require('../wasi/source');
const { WASI } = require('../wasi/wasi');
const { Module, partsOf } = require('../webassembly/module');
const { MODULES } = require('../native/wasi-modules');
const { about, bytesOf } = require('./file');
const { print } = require('./print');
const { announced } = require('./progress');
const { inWords } = require('./words');

// Loaded where they are used: few people ask for them.
const memories = () => require('../wasi/memoryfs');
const profiles = () => require('./profile');
const valueTypes = () => require('../native/types');

/** How the process ends when the program does not end by itself: as shells and `timeout` have it. */
const TRAPPED = 128 + constants.signals.SIGABRT;
const TIMED_OUT = 124;

/** Files that are older are of an earlier run. */
const START = Date.now() - 2000;

const STOPPING = ['SIGINT', 'SIGTERM', 'SIGHUP'];

async function run(file, given, options) {
  const args = given[0] === '--' ? given.slice(1) : given;
  const module = await load(file, options);
  checkProgram(file, module);
  const stopping = new AbortController();
  let signalled;
  const stop = (signal) => {
    // Who asks a second time does not want to wait for the program's end.
    if (signalled !== undefined) process.exit(128 + constants.signals[signal]);
    signalled = signal;
    stopping.abort();
  };
  STOPPING.forEach((signal) => process.on(signal, stop));
  try {
    const wasi = new WASI(settings(module, path.basename(file), args, options));
    const { timeout, invoke, profile } = options;
    const limits = { signal: stopping.signal, ...(timeout === undefined ? {} : { timeout }) };
    const running = async () => {
      if (invoke !== undefined) await call(wasi, module, invoke, args, limits);
      else process.exitCode = (await wasi.run(module, limits)).code;
    };
    await (profile === undefined ? running() : profiles().profiled(profile, running));
  } catch (error) {
    if (signalled !== undefined) process.exitCode = 128 + constants.signals[signalled];
    else if (!ended(error, options)) throw error;
  } finally {
    STOPPING.forEach((signal) => process.off(signal, stop));
  }
}

/** Tells how the program ended, if that is what the error says. */
function ended(error, { coredump }) {
  if (error?.code === 'ERR_WASI_TIMEOUT') process.exitCode = TIMED_OUT;
  else if (error?.code === 'ERR_WASI_TRAP' || error?.code === 'ERR_WASI_LIMIT') process.exitCode = TRAPPED;
  else if (error?.code === 'ERR_WASI_EXIT') process.exitCode = error.exitCode;
  else return false;
  if (error.code !== 'ERR_WASI_EXIT') console.error(`wasi-native: ${inWords(told(error))}`);
  if (error.code === 'ERR_WASI_TRAP' && coredump !== undefined) {
    const isThere = existsSync(coredump) && statSync(coredump).mtimeMs >= START;
    console.error(
      `wasi-native: ${isThere ? 'core dumped:' : 'no core dump could be written to'} ${coredump}`,
    );
  }
  return true;
}

/** The message, with the functions of wasm that the stack has. */
function told(error) {
  const frames = `${error.stack}`.split('\n').filter((line) => /^ {4}at /.test(line));
  const isJavaScript = (line) => /node:|\.[cm]?js:\d+:\d+\)?$/.test(line);
  return [error.message, ...frames.filter((line) => !isJavaScript(line))].join('\n');
}

async function load(file, { cache, fuel, allowPrecompiled }) {
  try {
    const bytes = allowPrecompiled ? bytesOf(file) : undefined;
    if (bytes !== undefined && !isModule(bytes)) return Module.deserialize(bytes);
    // Nobody but the program gets a memory for it.
    const options = { fuel: fuel !== undefined, cache, forGuest: true };
    const loading = moduleOf(file, 'wasi-native run', options);
    return await announced(`compiling ${path.basename(file)}`, loading);
  } catch (error) {
    throw about(file, error);
  }
}

/** Whether bytes begin as those of a module do, not as what was compiled of one. */
const isModule = (bytes) => bytes.subarray(0, 4).equals(Buffer.from('\0asm'));

/** A native addon has nothing that a command line could call. */
function checkProgram(file, module) {
  if (!Module.exports(module).some(({ name }) => name === 'napi_register_wasm_v1')) return;
  const text = `${file} is a native addon, which JavaScript loads: require('wasi-native').load('${file}')`;
  throw coded(Error, 'ERR_WASI_OPTION', text);
}

/** The options of the `WASI` object. */
function settings(module, name, args, options) {
  const { dir, mapdir, mem = [], env = {}, listen = [], allow = [], deny = [] } = options;
  const { maxMemory, fuel, trace, traceFull, coredump, invoke } = options;
  const wanted = new Set(Module.imports(module).map((each) => each.module));
  const limits = {
    ...(maxMemory === undefined ? {} : { memory: maxMemory }),
    ...(fuel === undefined ? {} : { fuel }),
  };
  const inMemory = Object.fromEntries(mem.map((guest) => [guest, new (memories().MemoryFS)()]));
  return {
    version: wanted.has(MODULES.unstable) ? 'unstable' : 'preview1',
    args: invoke === undefined ? [name, ...args] : [name],
    env,
    preopens: { ...dir, ...mapdir, ...inMemory },
    sockets: listen,
    limits,
    ...(coredump === undefined ? {} : { coredump }),
    ...(allow.length > 0 ? { allow } : {}),
    ...(deny.length > 0 ? { deny } : {}),
    ...(trace || traceFull ? { trace: (line) => console.error(line), traceFull: traceFull === true } : {}),
  };
}

/** Calls an export of a library, and prints what it returns: a line for each value. */
async function call(wasi, module, name, args, limits) {
  const { params, results: types } = valueTypes().signatureOf(exportOf(module, name, args));
  const { exports, instance } = await wasi.spawn(module, {}, limits);
  try {
    const results = await exports[name](...args.map((text, index) => number(text, params[index].name, name)));
    for (const [index, { name: type }] of types.entries()) {
      const result = Array.isArray(results) ? results[index] : results;
      print(`${shown(result, type)}\n`);
    }
  } finally {
    await instance.close();
  }
}

/** A value that a function returned. An f32 is shown by the shortest number that it is: 0.1, not 0.10000000149011612. */
function shown(value, type) {
  if (Object.is(value, -0)) return '-0';
  for (let digits = 1; type === 'f32' && digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return `${short}`;
  }
  return `${value}`;
}

/** The type of an exported function that takes so many arguments. */
function exportOf(module, name, args) {
  const functions = partsOf(module)
    .exports()
    .filter(({ kind }) => kind === 'function');
  const found = functions.find((each) => each.name === name);
  if (found === undefined) {
    const names = functions.map((each) => each.name).join(', ') || 'none';
    throw coded(
      Error,
      'ERR_WASI_OPTION',
      `--invoke: the module exports no function "${name}"; it exports ${names}`,
    );
  }
  const { params } = valueTypes().signatureOf(found.type);
  if (params.length === args.length) return found.type;
  const types = params.map((type) => type.name).join(', ');
  const text = `--invoke: ${name}(${types}) takes ${params.length} arguments, not ${args.length}`;
  throw coded(Error, 'ERR_WASI_OPTION', text);
}

function number(text, type, name) {
  try {
    const value = type === 'i64' ? BigInt(text) : Number(text);
    if (text.trim() !== '' && isOf(type, value)) return value;
  } catch {
    // Told below.
  }
  throw coded(Error, 'ERR_WASI_OPTION', `--invoke: "${text}" is no ${type}, which ${name} takes`);
}

/** Whether a value is of a type, be it meant with a sign or without. */
function isOf(type, value) {
  if (type === 'i32') return Number.isInteger(value) && value >= -(2 ** 31) && value < 2 ** 32;
  if (type === 'i64') return value >= -(2n ** 63n) && value < 2n ** 64n;
  return /^f(32|64)$/.test(type) && !Number.isNaN(value);
}

module.exports = { run };
