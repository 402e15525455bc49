'use strict';
// Before any test, in the process whose environment all others get: the cache of compiled code is the tests'
// own, not that of whoever runs them.

const path = require('node:path');

module.exports = () => {
  process.env.WASI_NATIVE_CACHE_DIR ??= path.join(__dirname, '..', 'target', 'test-cache');
};
