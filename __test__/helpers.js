'use strict';

const { execFile, spawnSync } = require('node:child_process');
const path = require('node:path');
const { promisify } = require('node:util');
const wabt = require('wabt')();

const PACKAGE = path.join(__dirname, '..');

/** The bytes of a module in the text format. */
async function wat(text) {
  const features = {
    multi_value: true,
    bulk_memory: true,
    reference_types: true,
    simd: true,
    exceptions: true,
    threads: true,
    memory64: true,
  };
  const parsed = (await wabt).parseWat('test.wat', text, features);
  try {
    return parsed.toBinary({ write_debug_names: true }).buffer;
  } finally {
    parsed.destroy();
  }
}

/** An instance of a module in the text format, made by our engine. */
async function instance(text, imports) {
  const { Instance, Module } = require(PACKAGE);
  return new Instance(new Module(await wat(text)), imports);
}

/**
 * Runs JavaScript in a process of its own. `wn` is the package, unless it is not to `load` it;
 * `bytes` has the modules by name.
 */
function child(code, { flags = [], modules = {}, env = process.env, load = true } = {}) {
  const encoded = Object.entries(modules).map(([name, bytes]) => [
    name,
    Buffer.from(bytes).toString('base64'),
  ]);
  const text = `
    ${load ? `const wn = require(${JSON.stringify(PACKAGE)});` : ''}
    const bytes = Object.fromEntries(
      ${JSON.stringify(encoded)}.map(([name, text]) => [name, Buffer.from(text, 'base64')])
    );
    (async () => { ${code} })().catch((error) => {
      console.error(error);
      process.exit(99);
    });`;
  // One that hangs must not go on beside the tests after it.
  const guard = { timeout: 50_000, killSignal: 'SIGKILL' };
  return spawnSync(process.execPath, [...flags, '-e', text], { encoding: 'utf8', env, ...guard });
}

/** What a program of glue.js prints with an engine: `ours` or `v8`. */
async function outputOfPackage(name, engine) {
  const preload = engine === 'ours' ? ['--require', require.resolve('./glue-ours')] : [];
  const program = [...preload, require.resolve('./glue'), name];
  const options = { maxBuffer: 1 << 28, timeout: 280_000, killSignal: 'SIGKILL' };
  const { stdout, stderr } = await promisify(execFile)(process.execPath, program, options);
  // Stacks of JavaScript errors have no frames of our wasm: V8 knows of none.
  // And Node warns of its own WASI.
  return {
    stdout,
    stderr: stderr.replace(/^ +at .*\n|^\(.*\) ExperimentalWarning: WASI .*\n\(Use .*\n/gm, ''),
  };
}

/** What `run` throws. */
function thrownBy(run) {
  try {
    run();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

module.exports = { PACKAGE, child, instance, outputOfPackage, thrownBy, wat };
