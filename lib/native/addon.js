'use strict';
// Loads the native addon of this platform: one that was built here, or that of the platform's own package.
//
// Each file and package is named in full, so that bundlers find what to take along.

const PLATFORMS = ['linux-x64-gnu', 'linux-x64-musl', 'linux-arm64-gnu', 'linux-arm64-musl'];

/** The names of this platform: Linux has two C libraries, and only the addon for the right one can be opened. */
function platforms() {
  const system = `${process.platform}-${process.arch}`;
  const abis = { linux: ['-gnu', '-musl'], win32: ['-gnu'] }[process.platform] ?? [''];
  return abis.map((abi) => system + abi);
}

function load() {
  const names = platforms();
  const tried = [];
  let isForbidden = false;
  for (const place of names.flatMap((name) => [`built ${name}`, `package ${name}`])) {
    // What is required inside of `try` need not be there, bundlers know.
    try {
      switch (place) {
        case 'built linux-x64-gnu':
          return require('../../wasi-native.linux-x64-gnu.node');
        case 'package linux-x64-gnu':
          return require('wasi-native-linux-x64-gnu');
        case 'built linux-x64-musl':
          return require('../../wasi-native.linux-x64-musl.node');
        case 'package linux-x64-musl':
          return require('wasi-native-linux-x64-musl');
        case 'built linux-arm64-gnu':
          return require('../../wasi-native.linux-arm64-gnu.node');
        case 'package linux-arm64-gnu':
          return require('wasi-native-linux-arm64-gnu');
        case 'built linux-arm64-musl':
          return require('../../wasi-native.linux-arm64-musl.node');
        case 'package linux-arm64-musl':
          return require('wasi-native-linux-arm64-musl');
        case 'built win32-x64-gnu': // There is no package of it: scripts/test-windows.mjs builds it.
          return require('../../wasi-native.win32-x64-gnu.node');
      }
    } catch (error) {
      isForbidden ||= error.code === 'ERR_DLOPEN_DISABLED';
      tried.push(`  ${error.message.split('\n', 1)[0]}`);
    }
  }
  const text = `wasi-native has no native addon for ${names.join(' or ')} here.`;
  const error = new Error([text, ...tried, advice(names, isForbidden)].join('\n'));
  error.code = 'ERR_WASI_NO_ADDON';
  throw error;
}

function advice(names, isForbidden) {
  if (isForbidden) {
    return 'Node may not load addons: with its permission model it wants --allow-addons, and --no-addons forbids them.';
  }
  if (!names.some((name) => PLATFORMS.includes(name))) {
    return `There is none for this platform. There are addons for ${PLATFORMS.join(', ')}.`;
  }
  return [
    `It is in the package ${names.map((name) => `wasi-native-${name}`).join(' or ')}, an optional dependency:`,
    '- npm leaves out those of other platforms than the one on which a lock file was written (npm/cli#4828):',
    '  remove node_modules and package-lock.json, and run npm install again.',
    '- Optional dependencies may be switched off: npm install wasi-native --include=optional.',
    '- node_modules may be of another machine, such as the host of a container: install where it runs.',
    'In a checkout build it: npm run build.',
  ].join('\n');
}

module.exports = { addon: load() };
