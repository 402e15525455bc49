'use strict';
// The stack of a caller that learns of an error only later: of a program, or of a call on another thread.
// Where such an error is made, the stack has nothing but the event loop.

const path = require('node:path');

/** Where the files of this package are: it runs from dist/. */
const PACKAGE = __dirname + path.sep;

/** Errors that have the lines of their caller. One that rejects several calls has those of the first. */
const placed = new WeakSet();

/** Where a call of `entry` was made. To be asked inside that call, before it awaits anything. */
function callSite(entry) {
  const site = {};
  Error.captureStackTrace(site, entry);
  return site;
}

/** The same promise, with the call's lines on the stack of an error of ours. */
function withSite(site, promise) {
  return promise.catch((error) => {
    throw addSite(error, site);
  });
}

function addSite(error, site) {
  if (!isOurs(error) || placed.has(error)) return error;
  placed.add(error);
  try {
    const lines = linesOf(site.stack);
    const { stack } = error;
    // `Error.prepareStackTrace` has given the stack another form.
    if (lines === undefined || typeof stack !== 'string') return error;
    const first = stack.search(/^ {4}at /m);
    const head = first < 0 ? [stack.trimEnd()] : [stack.slice(0, first).trimEnd()];
    const own = (linesOf(stack) ?? []).filter((line) => !isInternal(line));
    const value = [...head, ...own, ...lines].join('\n');
    Object.defineProperty(error, 'stack', { value, writable: true, configurable: true });
  } catch {
    // A `prepareStackTrace` threw. The error itself says more than that.
  }
  return error;
}

function isOurs(error) {
  return error instanceof Error && /^(?:ERR_WASI_|ABORT_ERR$)/.test(error.code);
}

function linesOf(stack) {
  return typeof stack === 'string' ? stack.split('\n').filter((line) => /^ {4}at /.test(line)) : undefined;
}

/** The lines of what made the error: this package, and the event loop. */
function isInternal(line) {
  return line.includes(PACKAGE) || /\(?node:internal\//.test(line) || line.includes('<anonymous>');
}

module.exports = { callSite, withSite };
