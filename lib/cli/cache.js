'use strict';
// `wasi-native cache`.

const { readdirSync, rmSync, statSync } = require('node:fs');
const path = require('node:path');

const { native, realm } = require('../native/binding');
const { coded } = require('../util/errors');
const { shownSize } = require('./values');

function directory() {
  const found = native.cacheDirectory(realm);
  if (found !== null) return found;
  throw coded(
    Error,
    'ERR_WASI_OPTION',
    'there is no cache here: WASI_NATIVE_CACHE is 0, or no home directory',
  );
}

/** The files of compiled code: `{name, size, used}`, the most recently used first. */
function entries() {
  let names;
  try {
    names = readdirSync(directory());
  } catch (error) {
    if (error.code === 'ENOENT') return [];
    throw error;
  }
  const found = names
    .filter((name) => /\.(wncode|wnpart|wnnote|tmp)$/.test(name))
    .flatMap((name) => {
      // Another process may have removed it meanwhile.
      const stat = statSync(path.join(directory(), name), { throwIfNoEntry: false });
      return stat === undefined ? [] : [{ name, size: stat.size, used: stat.mtime }];
    });
  return found.sort((a, b) => b.used - a.used);
}

function printPath() {
  console.log(directory());
}

function list({ json }) {
  const found = entries();
  if (json) {
    console.log(JSON.stringify(found, null, 2));
    return;
  }
  for (const { name, size, used } of found) {
    console.log(
      `${shownSize(size).padStart(10)}  ${used.toISOString().slice(0, 16).replace('T', ' ')}  ${name}`,
    );
  }
  console.log(`${shownSize(total(found))} in ${found.length} files at ${directory()}`);
}

function clean() {
  const found = entries();
  for (const { name } of found) rmSync(path.join(directory(), name), { force: true });
  console.log(`removed ${shownSize(total(found))} in ${found.length} files at ${directory()}`);
}

const total = (found) => found.reduce((sum, { size }) => sum + size, 0);

module.exports = { clean, list, path: printPath };
