// The hooks of lib/load/import.js for versions of Node that run them on a thread of their own: the thread loads the
// module only for the names of its exports.

import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);
const part = require('../dist/native.js');
const { isWasm, sourceFor } = part('load/import');
const { registerRequire } = part('load/require');

registerRequire();

export async function load(url, context, next) {
  return isWasm(url) ? sourceFor(url, Object.keys(require(fileURLToPath(url)))) : next(url, context);
}
