'use strict';
// What may stand for a program: a path, a URL, bytes, a Blob, a Response, a Module, or a promise of one.

const { closeSync, openSync, readFileSync } = require('node:fs');
const { resolve } = require('node:path');
const { isAnyArrayBuffer, isPromise } = require('node:util/types');

const { native } = require('../native/binding');
const { coded } = require('../util/errors');
const { compileBytes, compileBytesSync, compileFile, compileFileSync } = require('../webassembly/compiling');
const { checkFile, isOn } = require('./permission');
const check = require('../util/validate');
const { filePath, isBlob, isResponse, isURL } = require('../util/web');

// Loaded where they are used: native code reads most files, and few programs are given as modules, or wanted as such.
const promises = () => require('node:fs/promises');
const modules = () => require('../webassembly/module');

/** Keeps a promise of a program from ending the process if it fails before anybody waits for it. */
function expectLater(source) {
  if (isPromise(source)) source.catch(() => {});
}

/**
 * A module of ours from whatever stands for one: a promise. The options are those of compiling it. What is
 * fetched or compiled for it is given up when `passed` rejects. With `forGuest` its shared memories are ours.
 */
async function moduleOf(given, what, options, passed = undefined) {
  const { module } = await partsOfSource(given, what, options, passed);
  return module();
}

/** The same as `{parts, module()}`: who has no use for a module of JavaScript's need not make one. */
async function partsOfSource(given, what, { fuel = false, cache, forGuest } = {}, passed = undefined) {
  const source = await given;
  if (!isModule(source)) {
    const parts = await compiled(source, what, { fuel, cache }, passed, forGuest);
    return { parts, module: () => modules().moduleFor(parts) };
  }
  const parts = modules().partsOf(source);
  if (fuel && !native.countsFuel(parts.handle)) {
    const text = 'options.limits.fuel is given, but the module does not count its operators: ';
    throw coded(Error, 'ERR_WASI_OPTION', `${text}compile it with compile(bytes, { fuel: true })`);
  }
  return { parts, module: () => source };
}

// Native code need not read a file that an earlier process has read. It does not know Node's permission model. What
// it cannot read is read here, for the error, and for whoever has put something else in the place of `fs`.

async function compiled(source, what, options, passed, forGuest) {
  const compile = (bytes) => compileBytes(bytes, what, options, passed, forGuest);
  const path = pathOf(source);
  if (path === undefined) return compile(await bytesOf(source, what, passed));
  const found = isOn() ? undefined : await compileFile(resolve(path), what, options, passed, forGuest);
  return found ?? compile(await fileBytes(path, what));
}

/** The same at once, from what needs no waiting. */
function moduleOfSync(source, what, { cache, forGuest } = {}) {
  if (isModule(source)) return source;
  const path = pathOf(source);
  const compile = (bytes) => compileBytesSync(bytes, what, { cache }, forGuest);
  if (path === undefined) return modules().moduleFor(compile(bytesOfSync(source)));
  const found = isOn() ? undefined : compileFileSync(resolve(path), what, { cache }, forGuest);
  return modules().moduleFor(found ?? compile(fileBytesSync(path, what)));
}

function isModule(source) {
  return typeof source !== 'string' && modules().isModule(source);
}

function bytesOfSync(source) {
  if (isBytes(source)) return source;
  const isAsync = isURL(source) || isResponse(source) || isBlob(source) || isPromise(source);
  if (isAsync) throw check.invalidValue('source', source, 'takes time to read; give it to loadAsync()');
  throw unknown(source, 'a path, the URL of a file, bytes, or a Module of wasi-native');
}

function isBytes(source) {
  return ArrayBuffer.isView(source) || isAnyArrayBuffer(source);
}

/** The path that stands for a program, undefined if something else does. */
function pathOf(source) {
  const path = filePath(source, 'source');
  if (path !== undefined || typeof source !== 'string') return path;
  if (source === '') throw check.invalidValue('source', source, 'must not be an empty path');
  if (!/^https?:/i.test(source)) return source;
  throw check.invalidValue('source', source, 'is read as a path; to fetch a program give new URL(...)');
}

async function bytesOf(source, what, passed) {
  if (isURL(source)) return bytesOf(await fetched(source.href, what, passed), what);
  if (isResponse(source)) {
    if (source.ok) return source.arrayBuffer();
    throw unfetched(
      what,
      source.url,
      `the server answered ${[source.status, source.statusText].join(' ').trim()}`,
    );
  }
  if (isBlob(source)) return source.arrayBuffer();
  if (isBytes(source)) return source;
  throw unknown(
    source,
    'a path, a URL, bytes, a Blob, a Response, a Module of wasi-native, or a promise of one of these',
  );
}

function unknown(source, expected) {
  if (source?.[Symbol.toStringTag] === 'WebAssembly.Module') {
    return check.invalidValue(
      'source',
      source,
      "is a module of V8's; compile its bytes with compile() of wasi-native",
    );
  }
  return check.invalidType('source', expected, source);
}

/** Reads a file. A permitted path may lead elsewhere, so the place of what was opened must be permitted, too. */
async function read(path, what) {
  if (!isOn()) return promises().readFile(path);
  const file = await promises().open(path);
  try {
    checkFile(what, path, native.descriptorPath(file.fd));
    return await file.readFile();
  } finally {
    await file.close();
  }
}

function readSync(path, what) {
  if (!isOn()) return readFileSync(path);
  const file = openSync(path);
  try {
    checkFile(what, path, native.descriptorPath(file));
    return readFileSync(file);
  } finally {
    closeSync(file);
  }
}

function fileBytesSync(path, what) {
  try {
    return readSync(path, what);
  } catch (error) {
    throw naming(error, path);
  }
}

async function fileBytes(path, what) {
  try {
    return await read(path, what);
  } catch (error) {
    throw naming(error, path);
  }
}

/** The error of a file with its path, which that for a directory lacks. */
function naming(error, path) {
  if (error.path === undefined && typeof error.code === 'string' && !error.code.startsWith('ERR_')) {
    Object.assign(error, { path, message: `${error.message} '${path}'` });
  }
  return error;
}

async function fetched(url, what, passed) {
  const controller = new AbortController();
  passed?.catch(() => controller.abort());
  try {
    return await fetch(url, { signal: controller.signal });
  } catch (error) {
    // The message of fetch's own error says only that it failed.
    throw unfetched(what, url, error.cause?.message || error.cause?.code || error.message, error);
  }
}

function unfetched(what, url, why, cause) {
  const from = url ? `the program at ${url}` : 'the program';
  const error = coded(TypeError, 'ERR_WASI_FETCH', `${what}: ${from} could not be fetched: ${why}`);
  if (cause !== undefined)
    Object.defineProperty(error, 'cause', { value: cause, writable: true, configurable: true });
  return error;
}

module.exports = { expectLater, moduleOf, moduleOfSync, partsOfSource };
