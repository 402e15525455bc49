'use strict';
// Objects of the Web among the options: told by what they are, never by a class of this realm.
//
// They may come from another realm or from a package. And Node loads its own classes when somebody
// looks at them: `Response` brings all of `fetch`, which wants memory that may not be there, and fails
// where nobody can catch it. So nothing here looks at a global, nor does its caller.

const { fileURLToPath } = require('node:url');

const check = require('./validate');

/** Whether a value is called so by its class, and has these methods. */
function is(name, methods, value) {
  if (typeof value !== 'object' || value === null || value[Symbol.toStringTag] !== name) return false;
  return methods.every((method) => typeof value[method] === 'function');
}

const isResponse = (value) => is('Response', ['arrayBuffer'], value);
const isBlob = (value) =>
  is('Blob', ['arrayBuffer', 'stream'], value) || is('File', ['arrayBuffer', 'stream'], value);
const isReadableStream = (value) => is('ReadableStream', ['getReader'], value);
const isWritableStream = (value) => is('WritableStream', ['getWriter'], value);

/** As Node tells a URL from the results of its older parser. */
function isURL(value) {
  if (typeof value !== 'object' || value === null) return false;
  return Boolean(value.href && value.protocol) && value.auth === undefined && value.path === undefined;
}

/**
 * The path that a `file:` URL stands for, given as an object or as text (a directory called `file:` is
 * `./file:`); undefined for any other value.
 */
function filePath(value, name) {
  const url = isURL(value) ? value.href : value;
  if (typeof url !== 'string' || !/^file:/i.test(url)) return undefined;
  try {
    return fileURLToPath(url);
  } catch (error) {
    throw check.invalidValue(name, url, `is no URL of a file here (${error.message})`);
  }
}

/** What can fire: with what of AbortSignal is used here. */
function isAbortSignal(value) {
  return (
    typeof value === 'object' &&
    value !== null &&
    'aborted' in value &&
    typeof value.addEventListener === 'function'
  );
}

/** A stream of Node's for one of the Web. */
function fromWeb(stream) {
  try {
    return require('node:stream').Readable.fromWeb(stream);
  } catch (error) {
    // One that Node did not make.
    if (error.code !== 'ERR_INVALID_ARG_TYPE') throw error;
    return require('node:stream').Readable.from(chunksOf(stream), { objectMode: false });
  }
}

async function* chunksOf(stream) {
  const reader = stream.getReader();
  let ended = false;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      ended = done;
      if (done) return;
      yield value;
    }
  } finally {
    if (!ended) await reader.cancel();
    reader.releaseLock();
  }
}

module.exports = {
  filePath,
  fromWeb,
  isAbortSignal,
  isBlob,
  isReadableStream,
  isResponse,
  isURL,
  isWritableStream,
};
