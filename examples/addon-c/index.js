'use strict';

module.exports = require('wasi-native').load(require.resolve('./addon.wasm'));
