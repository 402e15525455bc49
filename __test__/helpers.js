'use strict';

const { spawnSync } = require('node:child_process');
const path = require('node:path');
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
  return spawnSync(process.execPath, [...flags, '-e', text], { encoding: 'utf8', env });
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

module.exports = { PACKAGE, child, instance, thrownBy, wat };
