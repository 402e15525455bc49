'use strict';
// Ours in the place of `globalThis.WebAssembly` and of node:wasi, for packages as they come from npm.

const { packages } = require('./glue');
const { outputOfPackage } = require('./helpers');

test.each(packages)(
  '%s does the same with our engine as with V8',
  async (name) => {
    const ours = await outputOfPackage(name, 'ours');
    expect(ours).toEqual(await outputOfPackage(name, 'v8'));
    expect(ours.stdout).toMatch(/^\[.{20,}\]\n$/);
  },
  600_000,
);
