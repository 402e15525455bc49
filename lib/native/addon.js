'use strict';
// Loads the native addon of this platform.

const fs = require('node:fs');
const path = require('node:path');

const ROOT = path.join(__dirname, '..', '..');

const ABIS = { linux: ['gnu', 'musl'], win32: ['msvc'] };

/** The platform names under which an addon may be there, the likelier first. */
function platforms() {
  const base = `${process.platform}-${process.arch}`;
  const abis = ABIS[process.platform];
  return abis ? abis.map((abi) => `${base}-${abi}`) : [base];
}

function load() {
  const tried = [];
  let forbidden = false;
  for (const platform of platforms()) {
    const file = path.join(ROOT, `wasi-native.${platform}.node`);
    const candidates = fs.existsSync(file) ? [file] : [`wasi-native-${platform}`];
    for (const candidate of candidates) {
      try {
        return require(candidate);
      } catch (error) {
        forbidden ||= error.code === 'ERR_DLOPEN_DISABLED';
        tried.push(`  ${candidate}: ${error.message.split('\n', 1)[0]}`);
      }
    }
  }
  const error = new Error(
    `wasi-native has no native addon for ${process.platform}-${process.arch} here. Tried:\n` +
      `${tried.join('\n')}\n` +
      (forbidden
        ? 'Node may not load addons: with its permission model it wants --allow-addons, and --no-addons forbids them'
        : 'Reinstall it with optional dependencies (npm install wasi-native --include=optional), ' +
          'or in a checkout build it with: npm run build'),
  );
  error.code = 'ERR_WASI_NO_ADDON';
  throw error;
}

module.exports = { addon: load() };
