'use strict';
// The modules of functions that programs import.

/** That of WASI's functions, for each version. */
const MODULES = { preview1: 'wasi_snapshot_preview1', unstable: 'wasi_unstable' };

/** That of functions which WASI does not have. */
const EXTENSIONS = 'wasi_native_ext';

module.exports = { EXTENSIONS, MODULES };
