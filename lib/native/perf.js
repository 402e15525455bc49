'use strict';
// Whether Linux's `perf` is to know the names of guests' functions: because the environment says so, or because V8
// was told the same about its own.

const KINDS = ['map', 'dump'];

/** What `WASI_NATIVE_PERF` or V8's flags ask for: one of `KINDS`, or undefined. */
function asked() {
  const given = process.env.WASI_NATIVE_PERF;
  if (given !== undefined && given !== '' && given !== '0') return given;
  const flags = [...process.execArgv, ...(process.env.NODE_OPTIONS ?? '').split(/\s+/)];
  const named = flags.map((flag) => flag.replaceAll('_', '-'));
  if (named.includes('--perf-prof')) return 'dump';
  return named.some((flag) => flag.startsWith('--perf-basic-prof')) ? 'map' : undefined;
}

/** Has native code tell of all code from now on, if somebody asks for it. A run is worth more than its log. */
function logCode(addon) {
  const kind = asked();
  if (kind === undefined) return;
  try {
    if (!KINDS.includes(kind))
      throw new Error(`WASI_NATIVE_PERF is "${kind}"; it can be ${KINDS.join(' or ')}`);
    addon.logCode(kind);
    // `perf record` sets it, and then Cranelift writes names of its own for the same addresses.
    delete process.env.PERF_BUILDID_DIR;
  } catch (error) {
    process.emitWarning(
      `perf does not learn the names of wasm functions: ${error.message}`,
      'WasiNativeWarning',
    );
  }
}

module.exports = { logCode };
