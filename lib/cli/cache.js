'use strict';
// `wasi-native cache`.

const { readdirSync, rmSync, statSync } = require('node:fs');
const path = require('node:path');

const { native, realm } = require('../native/binding');
const { coded } = require('../util/errors');
const { print, printLines } = require('./print');
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

/** The files of the cache: `{name, size}`. */
function files() {
  let names;
  try {
    names = readdirSync(directory());
  } catch (error) {
    if (error.code === 'ENOENT') return [];
    throw error;
  }
  return names
    .filter((name) => /\.(wncode|wnpart|wnrest|wnnote|tmp)$/.test(name))
    .flatMap((name) => {
      // Another process may have removed it meanwhile.
      const stat = statSync(path.join(directory(), name), { throwIfNoEntry: false });
      return stat === undefined ? [] : [{ name, size: stat.size }];
    });
}

function printPath() {
  print(`${directory()}\n`);
}

function list({ json }) {
  const place = directory();
  const modules = native.cachedModules(realm).map(({ hash, paths, bytes, used, isBegun }) => ({
    module: hash,
    paths,
    size: bytes,
    used: new Date(used),
    complete: !isBegun,
  }));
  if (json) {
    print(`${JSON.stringify(modules, null, 2)}\n`);
    return;
  }
  const lines = modules.flatMap(({ module, paths, size, used, complete }) => {
    const [first, ...others] = paths.length > 0 ? paths : [`${module}, from bytes`];
    const state = complete ? '' : ' (not all of it is compiled yet)';
    return [
      `${shownSize(size).padStart(10)}  ${shownTime(used)}  ${first}${state}`,
      ...others.map((other) => `${' '.repeat(30)}${other}`),
    ];
  });
  const head = lines.length > 0 ? ['      SIZE  LAST USED         MODULE'] : [];
  const all = files();
  printLines([...head, ...lines, `${shownSize(total(all))} in ${all.length} files at ${place}`]);
}

/** `2026-01-31 18:30`, as clocks here show it. */
function shownTime(date) {
  const two = (number) => `${number}`.padStart(2, '0');
  const day = [date.getFullYear(), date.getMonth() + 1, date.getDate()].map(two).join('-');
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}`;
}

function clean() {
  const found = files();
  for (const { name } of found) rmSync(path.join(directory(), name), { force: true });
  print(`removed ${shownSize(total(found))} in ${found.length} files at ${directory()}\n`);
}

const total = (found) => found.reduce((sum, { size }) => sum + size, 0);

module.exports = { clean, list, path: printPath };
