'use strict';
// Before any test, in the process whose environment all others get: what is tested is dist/ as it is published, made
// of lib/ as it is now, and the cache of compiled code is the tests' own, not that of whoever runs them.

const path = require('node:path');

module.exports = async () => {
  const { bundle } = await import('../scripts/bundle.mjs');
  bundle();
  process.env.WASI_NATIVE_CACHE_DIR ??= path.join(__dirname, '..', 'target', 'test-cache');
};
