'use strict';
// As glue.test.js, with packages that take many seconds to compile: under one runtime alone.

const { large } = require('./glue');
const { outputOfPackage } = require('./helpers');

test.each(large)(
  '%s recurses through JavaScript as deep as with V8',
  async (name) => {
    const ours = await outputOfPackage(name, 'ours');
    expect(ours).toEqual(await outputOfPackage(name, 'v8'));
    expect(ours.stdout).toMatch(/^[[{].{20,}[\]}]\n$/);
  },
  600_000,
);
