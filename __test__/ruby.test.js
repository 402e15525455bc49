'use strict';
// CRuby, a large program that nobody here wrote, in the example that runs it.

const { spawnSync } = require('node:child_process');
const path = require('node:path');
const { PACKAGE } = require('./helpers');

test('CRuby runs a script that works in its directory and gets nowhere else', () => {
  const example = path.join(PACKAGE, 'examples', 'ruby.mjs');
  const { status, stdout } = spawnSync(process.execPath, [example], { encoding: 'utf8' });
  expect(status).toBe(0);
  expect(stdout).toMatch(/ruby 3\.4\.\d.*\[wasm32-wasi\]/);
  expect(stdout).toMatch(/wrote \/work\/report\.json, \d+ bytes/);
  expect(stdout.match(/refused: /g)).toHaveLength(6);
  const report = stdout.slice(stdout.lastIndexOf('report.json:') + 'report.json:'.length);
  expect(Object.keys(JSON.parse(report)).length).toBeGreaterThan(0);
}, 300000);
