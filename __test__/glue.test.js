'use strict';
// `globalThis.WebAssembly = require('wasi-native')`, for packages as they come from npm.

const { execFile } = require('node:child_process');
const { promisify } = require('node:util');
const { packages } = require('./glue');

/** What a program prints with an engine. */
async function output(name, engine) {
  const program = require.resolve('./glue');
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [program, name, engine]);
  // Stacks of JavaScript errors have no frames of our wasm: V8 knows of none.
  return { stdout, stderr: stderr.replace(/^ +at .*\n/gm, '') };
}

test.each(packages)('%s does the same with our engine as with V8', async (name) => {
  const ours = await output(name, 'ours');
  expect(ours).toEqual(await output(name, 'v8'));
  expect(ours.stdout).toMatch(/^\[.{20,}\]\n$/);
});
