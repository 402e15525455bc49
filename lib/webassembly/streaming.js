'use strict';
// The bytes of a Response, as the WebAssembly Web API wants it.

const { coded } = require('../util/errors');
const { isObject } = require('../util/webidl');

/** The bytes of a Response or of the promise of one, checked as Node checks it. */
async function responseBytes(source, what) {
  const response = await source;
  // Of whichever realm or package the class is.
  if (!isObject(response) || response[Symbol.toStringTag] !== 'Response') {
    const text = `${what}: Argument 0 must be a Response or a promise of one`;
    throw coded(TypeError, 'ERR_INVALID_ARG_TYPE', text);
  }
  const type = response.headers.get('content-type');
  if (type === null || type.replace(/^[\t ]+|[\t ]+$/g, '').toLowerCase() !== 'application/wasm') {
    const given = type === null || type === '' ? 'has none' : `has '${type}'`;
    throw refused(what, `must have the MIME type 'application/wasm', and ${given}`);
  }
  if (!response.ok) throw refused(what, `has status code ${response.status}`);
  if (response.bodyUsed) throw refused(what, 'has a body that has been read already');
  return response.arrayBuffer();
}

function refused(what, why) {
  return coded(TypeError, 'ERR_WEBASSEMBLY_RESPONSE', `${what}: the response ${why}`);
}

module.exports = { responseBytes };
