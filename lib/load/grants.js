'use strict';
// What a module gets that a program requires or imports by its file, where nobody can pass options: nothing,
// unless a package.json says more, in the field "wasi-native":
//
//     "wasi-native": {
//       "./lib/addon.wasm": { "preopens": { "/data": "./data" } },
//       "@some/package": { "env": { "LEVEL": "2" } }
//     }
//
// A path is of a file of the package itself. The name of a package is of all its modules, and counts in the
// application's package.json alone: a dependency grants nothing to others.

const { existsSync, readFileSync } = require('node:fs');
const path = require('node:path');

const { coded } = require('../util/errors');
const { LOAD } = require('../util/keys');
const check = require('../util/validate');

const FIELD = 'wasi-native';

/** The options of `load` for the module in a file, and the files that they stand in. */
function grantsFor(file) {
  const own = packageOf(path.dirname(file));
  const application = packageOf(path.dirname(entryPoint()));
  const relative = own && `./${path.relative(own.folder, file).split(path.sep).join('/')}`;
  const grants = [grant(own, relative)];
  if (own?.folder !== application?.folder) grants.push(grant(application, own?.name));
  const given = grants.filter((options) => options !== undefined);
  return {
    options: Object.assign({}, ...given.map(({ options }) => options)),
    files: given.map(({ file }) => file),
  };
}

/** The file with which the process began, or a name in its folder. */
function entryPoint() {
  return process.argv[1] ?? path.join(process.cwd(), 'program');
}

const packages = new Map();

/** The package that a folder belongs to: `{file, folder, name, grants}`; undefined if it is of none. */
function packageOf(folder) {
  if (packages.has(folder)) return packages.get(folder);
  const file = path.join(folder, 'package.json');
  const above = path.dirname(folder);
  let found;
  if (path.basename(folder) !== 'node_modules') {
    if (existsSync(file)) found = read(file, folder);
    // A package.json without a name says only of which kind the files beside it are.
    if (found?.name === undefined && found?.grants === undefined && above !== folder)
      found = packageOf(above);
  }
  packages.set(folder, found);
  return found;
}

function read(file, folder) {
  try {
    const { name, [FIELD]: grants, ...rest } = JSON.parse(readFileSync(file, 'utf8'));
    const lists = [rest.dependencies, rest.devDependencies, rest.optionalDependencies, rest.peerDependencies];
    return { file, folder, name, grants, uses: Object.assign({}, ...lists) };
  } catch (error) {
    throw coded(Error, 'ERR_WASI_OPTION', `${file}: ${error.message}`);
  }
}

/** What a package grants to this file or package: `{options, file}`; undefined if it says nothing. */
function grant(owner, key) {
  if (owner?.grants === undefined || key === undefined) return undefined;
  const { file, folder, grants, uses } = owner;
  const name = `${file}: "${FIELD}"`;
  check.isObject(grants, name);
  for (const each of Object.keys(grants)) checkName(each, name, uses);
  if (!Object.hasOwn(grants, key)) return undefined;
  const options = grants[key];
  check.isObject(options, `${name}["${key}"]`);
  const { preopens, ...others } = options;
  if (preopens === undefined) return { options: others, file };
  check.isObject(preopens, `${name}["${key}"].preopens`);
  const from = (place) => (typeof place === 'string' ? path.resolve(folder, place) : place);
  const resolve = (place) =>
    typeof place === 'object' && place !== null ? { ...place, path: from(place.path) } : from(place);
  const entries = Object.entries(preopens).map(([guest, place]) => [guest, resolve(place)]);
  return { options: { ...others, preopens: Object.fromEntries(entries) }, file };
}

/** Refuses what is neither a path nor a package's name: an option in the place of a module would grant nothing. */
function checkName(name, of, uses) {
  if (LOAD.includes(name) && !Object.hasOwn(uses, name)) {
    const place = `{ "./addon.wasm": { ${JSON.stringify(name)}: ... } }`;
    throw check.invalidValue(of, name, `must say for which module the option is, as in ${place}`);
  }
  if (name.startsWith('./') || /^(@[^/]+\/)?(?!.*\.wasm$)[^/.][^/]*$/.test(name)) return;
  throw check.invalidValue(of, name, 'must have paths that begin with "./", or names of packages');
}

module.exports = { grantsFor };
